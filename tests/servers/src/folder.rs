//! Folders for the data of servers, gone with their owner: at once when it ends in order, at the next start otherwise.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;
use uuid::Uuid;

use crate::error::{Result, io as io_error};

/// How the folders are called, in the folder for temporary files.
const PREFIX: &str = "testledger-servers-";
/// How they are called until they are claimed.
const UNCLAIMED: &str = ".testledger-servers-";
/// How often a folder is removed whose server has just been killed and may still hold it.
const REMOVALS: u32 = 5;
/// The wait between two removals.
const PAUSE: Duration = Duration::from_millis(50);

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Locked as long as the owner lives; the kernel gives it back, whatever the owner's end.
    _claim: File,
}

impl Folder {
    /// A new, empty folder that nobody else may read. Removes what owners left behind that were killed.
    ///
    /// # Errors
    /// The folder for temporary files (`TMPDIR`) cannot be written.
    pub fn new() -> Result<Self> {
        let base = env::temp_dir();
        sweep(&base);
        let name = Uuid::new_v4().simple().to_string();
        let path = base.join(format!("{PREFIX}{name}"));
        let claim = claim(&base.join(format!("{UNCLAIMED}{name}")), &path);
        let claim = claim.map_err(io_error(format!("create the folder {}", path.display())))?;
        Ok(Self { path, _claim: claim })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for _ in 0..REMOVALS {
            if fs::remove_dir_all(&self.path).is_ok() || !self.path.exists() {
                return;
            }
            thread::sleep(PAUSE);
        }
        eprintln!("the folder {} could not be removed", self.path.display());
    }
}

/// A folder gets its name only once it is locked: who sweeps never meets one that is about to be claimed.
fn claim(unclaimed: &Path, path: &Path) -> io::Result<File> {
    DirBuilder::new().mode(0o700).create(unclaimed)?;
    let claim = File::open(unclaimed)?;
    claim.try_lock()?;
    fs::rename(unclaimed, path)?;
    Ok(claim)
}

/// Removes our folders whose owner is dead. What cannot be removed now is met again at the next start.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let is_folder = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let is_ours = || entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
        if is_folder && is_ours() {
            remove_unowned(&entry.path());
        }
    }
}

fn remove_unowned(path: &Path) {
    let Ok(claim) = File::open(path) else { return };
    if claim.try_lock().is_ok() {
        let _ = fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner_and_not_before() {
        let folder = Folder::new().unwrap();
        fs::write(folder.path().join("data"), "x").unwrap();
        sweep(&env::temp_dir());
        assert!(folder.path().join("data").exists(), "its owner lives");
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_owner_left_is_swept() {
        let base = tempfile::tempdir().unwrap();
        let left = base.path().join(format!("{PREFIX}left"));
        fs::create_dir(&left).unwrap();
        fs::create_dir(base.path().join("another")).unwrap();
        sweep(base.path());
        assert!(!left.exists());
        assert!(base.path().join("another").exists());
    }
}
