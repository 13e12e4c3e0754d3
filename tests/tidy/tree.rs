//! The files of this repository.

use std::path::Path;
use std::process::Command;

use crate::source::Source;

/// Everything git tracks, or would track, with its path.
fn tracked() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "the house rules are held over what git tracks: run them in a clone");
    let listed = String::from_utf8(output.stdout).unwrap();
    let files = listed.split_terminator('\0').map(str::to_owned);
    files.filter(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).is_file()).collect()
}

/// The text of a file; empty if there is none.
pub fn read(path: &str) -> String {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All Rust files in these folders.
pub fn sources(folders: &[&str]) -> Vec<Source> {
    let is_in = |path: &str| folders.iter().any(|folder| Path::new(path).starts_with(folder));
    let rust = tracked().into_iter().filter(|path| path.ends_with(".rs") && is_in(path));
    rust.map(|path| Source::new(&path, &read(&path))).collect()
}

/// Every tracked file but the lock file, which names where crates come from.
pub fn texts() -> Vec<(String, String)> {
    let files = tracked().into_iter().filter(|path| path != "Cargo.lock");
    files.map(|path| (path.clone(), read(&path))).collect()
}
