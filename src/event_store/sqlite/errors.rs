//! What SQLite reports, in the words of the port. The one place where this adapter translates errors.

use std::path::{Path, PathBuf};

use rusqlite::{Error, ErrorCode};

use crate::event_store::StoreError;

/// Translates errors of one file, so that every message names it.
#[derive(Clone, Debug)]
pub(super) struct Translator {
    path: PathBuf,
}

impl Translator {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The port's error for what SQLite reported.
    pub(super) fn store(&self, error: Error) -> StoreError {
        let path = self.path.display();
        match error.sqlite_error_code() {
            Some(code) => self.by_code(code, &error),
            None => StoreError::Damaged(format!("{path}: {error}")),
        }
    }

    fn by_code(&self, code: ErrorCode, error: &Error) -> StoreError {
        let path = self.path.display();
        if self.path.is_dir() {
            return StoreError::Refused(format!(
                "{path} is a folder; name a file in it with --store, such as {path}/ledger.db"
            ));
        }
        // SQLite's own enum is open (`non_exhaustive`): the last arm takes what is left.
        match code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                StoreError::Unavailable(format!(
                    "{path} is locked by another process; find it with `fuser {path}`, or try again"
                ))
            }
            ErrorCode::DiskFull => StoreError::Unavailable(format!("the disk of {path} is full; make room")),
            ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted => {
                StoreError::Unavailable(format!("{path}: {error}"))
            }
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => StoreError::Refused(format!(
                "{path} cannot be written ({error}); give this user the right to write the file and its folder, or \
                 name another place with --store"
            )),
            ErrorCode::NotADatabase => StoreError::Refused(format!(
                "{path} is not a SQLite database; move it away, or name another file with --store"
            )),
            ErrorCode::TooBig => StoreError::Refused(format!("too large for {path}: {error}")),
            ErrorCode::DatabaseCorrupt => {
                StoreError::Damaged(format!("{path}: {error}; keep a copy of the file and restore it from a backup"))
            }
            _ => StoreError::Damaged(format!("{path}: {error}")),
        }
    }

    /// A row that cannot be what this program wrote.
    pub(super) fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged(format!("{}: {what}", self.path.display()))
    }

    /// A refusal that names the file.
    pub(super) fn refused(&self, why: &str) -> StoreError {
        StoreError::Refused(format!("{}: {why}", self.path.display()))
    }

    /// The error of whoever comes after the log was closed.
    pub(super) fn closed(&self) -> StoreError {
        StoreError::Unavailable(format!("{} was closed by this process", self.path.display()))
    }
}

/// Whether another process was in the way: the same call may succeed a moment later.
pub(super) fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
