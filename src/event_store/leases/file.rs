//! Leases of engines on this machine: a file for each, locked as long as the engine lives, or anything that it started.
//!
//! The lock (`flock(2)`) belongs to the open file, which the engine shares with its spawner and the keepers: the kernel lets
//! it go when the last of them is dead. Into the file the keepers write which processes they have started, so that what
//! outlives all three can still be found. Works within one machine, containers that share the folder included.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testledger_schemas::event::WorkerStarted;
use testledger_schemas::ids::WorkerId;

use crate::event_store::StoreError;
use crate::event_store::leases::{Lease, Leases};
use crate::ports::process::{boot_id, started_ticks};

/// A file whose engine has ended so long ago is removed by the next engine.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often left-over processes are killed before they are given up as hanging in the kernel.
const KILL_ROUNDS: usize = 100;
/// The wait between two rounds.
const KILL_PAUSE: Duration = Duration::from_millis(20);

/// The leases in a folder.
pub struct FileLeases {
    folder: PathBuf,
    /// The leases that this process has.
    held: Mutex<HashMap<WorkerId, File>>,
}

impl FileLeases {
    /// The leases in this folder; it is made when the first one is taken.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self { folder: folder.into(), held: Mutex::default() })
    }

    fn path(&self, worker: WorkerId) -> PathBuf {
        self.folder.join(format!("{worker}.lock"))
    }

    fn take_file(&self, worker: WorkerId) -> io::Result<OwnedFd> {
        fs::create_dir_all(&self.folder)?;
        self.remove_old();
        let path = self.path(worker);
        // Other users of the same log look at it, too.
        let file = OpenOptions::new().create(true).append(true).read(true).mode(0o644).open(&path)?;
        match locked(&file) {
            Ok(shared) => {
                self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, file);
                Ok(shared)
            }
            Err(error) => {
                // A file without a lock would say that this engine is dead.
                fs::remove_file(&path)?;
                Err(error)
            }
        }
    }

    /// Whether the file of an engine was made by this machine since it was booted: only then does a free lock prove anything
    /// to who shares the folder with other machines.
    #[must_use]
    pub fn is_of_this_boot(&self, worker: WorkerId) -> bool {
        fs::read_to_string(self.path(worker)).is_ok_and(|text| is_of_this_boot(&text))
    }

    /// Files of engines that ended long ago, and whose executions nobody has asked about since. In vain is no harm.
    fn remove_old(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten().filter(|entry| entry.path().extension().is_some_and(|it| it == "lock")) {
            let touched = entry.metadata().and_then(|metadata| metadata.modified());
            let age = touched.ok().and_then(|touched| SystemTime::now().duration_since(touched).ok());
            if age.is_some_and(|age| age > KEPT) && is_free(&entry.path()).is_ok_and(|free| free) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Locks a file, and then says of which boot it is; what holds the lock together with it.
fn locked(mut file: &File) -> io::Result<OwnedFd> {
    file.try_lock()?;
    file.write_all(format!("boot {}\n", boot_id()).as_bytes())?;
    Ok(OwnedFd::from(file.try_clone()?))
}

fn is_of_this_boot(text: &str) -> bool {
    text.lines().next().and_then(|line| line.strip_prefix("boot ")) == Some(boot_id().as_str())
}

/// Whether nobody holds the lock of a file. To look is to share it for a moment: so two who look do not see each other.
fn is_free(path: &Path) -> io::Result<bool> {
    match File::open(path)?.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("the lease {}: {error}", path.display()))
}

/// The processes that keepers have noted in a file, if they are of this boot, alive, and still the same.
fn left_over(text: &str) -> Vec<Pid> {
    if !is_of_this_boot(text) {
        return vec![];
    }
    let noted = text.lines().skip(1).filter_map(|line| {
        let (pid, ticks) = line.split_once(' ')?;
        Some((pid.parse::<u32>().ok()?, ticks.parse::<u64>().ok()?))
    });
    let same = noted.filter(|(pid, ticks)| started_ticks(*pid) == Some(*ticks));
    same.filter_map(|(pid, _)| i32::try_from(pid).ok().map(Pid::from_raw)).collect()
}

#[async_trait]
impl Leases for FileLeases {
    async fn take(&self, worker: WorkerId, _: &WorkerStarted, _: Duration) -> Result<Option<OwnedFd>, StoreError> {
        let taken = self.take_file(worker).map_err(|error| unavailable(&self.path(worker), &error))?;
        Ok(Some(taken))
    }

    async fn renew(&self, worker: WorkerId) -> Result<bool, StoreError> {
        Ok(self.held.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&worker))
    }

    fn runs_out(&self) -> bool {
        false
    }

    async fn look(&self, worker: WorkerId) -> Result<Lease, StoreError> {
        let path = self.path(worker);
        match is_free(&path) {
            Ok(true) => Ok(Lease::Over),
            Ok(false) => Ok(Lease::Locked),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lease::Unknown),
            Err(error) => Err(unavailable(&path, &error)),
        }
    }

    async fn declare_over(&self, worker: WorkerId, _: u64) -> Result<bool, StoreError> {
        Ok(self.look(worker).await? == Lease::Over)
    }

    async fn end_left_over(&self, worker: WorkerId) -> Result<usize, StoreError> {
        let path = self.path(worker);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(unavailable(&path, &error)),
        };
        let found = left_over(&text);
        for _ in 0..KILL_ROUNDS {
            let alive = left_over(&text);
            if alive.is_empty() {
                break;
            }
            for pid in alive {
                // Each command leads a process group of its own. What has left it, only a keeper could have found.
                let _ = kill(Pid::from_raw(-pid.as_raw()), Signal::SIGKILL);
                if kill(pid, Signal::SIGKILL) == Err(Errno::EPERM) {
                    let whose = format!("its process {pid} is alive, and another user's: recover it as that user");
                    return Err(unavailable(&path, &io::Error::other(whose)));
                }
            }
            tokio::time::sleep(KILL_PAUSE).await;
        }
        Ok(found.len())
    }

    async fn give_up(&self, worker: WorkerId) -> Result<(), StoreError> {
        let path = self.path(worker);
        let own = self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker);
        if own.is_none() && !is_free(&path).unwrap_or(false) {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable(&path, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::process::this_process;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use uuid::Uuid;

    const ADA: WorkerId = WorkerId(Uuid::from_u128(1));

    #[tokio::test]
    async fn a_lease_is_over_when_the_last_who_shares_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (FileLeases::new(folder.path().join("w")), FileLeases::new(folder.path().join("w")));
        assert_eq!(theirs.look(ADA).await.unwrap(), Lease::Unknown);
        let shared = ours.take(ADA, &this_process("here"), Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(theirs.look(ADA).await.unwrap(), Lease::Locked);
        theirs.give_up(ADA).await.unwrap();
        drop(ours);
        assert_eq!(theirs.look(ADA).await.unwrap(), Lease::Locked);
        assert!(!theirs.declare_over(ADA, 0).await.unwrap());
        drop(shared);
        assert_eq!(theirs.look(ADA).await.unwrap(), Lease::Over);
        theirs.give_up(ADA).await.unwrap();
        assert_eq!(theirs.look(ADA).await.unwrap(), Lease::Unknown);
    }

    #[tokio::test]
    async fn only_the_noted_process_itself_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let leases = FileLeases::new(folder.path());
        let shared = leases.take(ADA, &this_process("here"), Duration::ZERO).await.unwrap().unwrap();
        let start = || Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let (mut noted, mut other) = (start(), start());
        let ticks = started_ticks(noted.id()).unwrap();
        let mut file = File::from(shared);
        writeln!(file, "{} {ticks}", noted.id()).unwrap();
        writeln!(file, "{} {}", other.id(), ticks - 1).unwrap();
        // It is a zombie until it is waited for, and that counts as gone.
        assert_eq!(leases.end_left_over(ADA).await.unwrap(), 1);
        assert!(!noted.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
