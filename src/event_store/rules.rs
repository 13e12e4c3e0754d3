//! The rules that every adapter holds a commit to before it stores it.

use testledger_schemas::commit::{Commit, CommitId, MAX_COMMIT_BYTES, StreamHead};

use crate::event_store::AppendError;

/// What an adapter does with a commit that it may acknowledge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// It continues its stream: store it.
    New,
    /// It was stored before: acknowledge it and store nothing.
    AlreadyThere,
}

/// Checks a commit by itself.
pub(crate) fn check_alone(commit: &Commit) -> Result<(), AppendError> {
    commit.check().map_err(|fault| invalid(commit.id, fault.to_string()))?;
    if commit.id.number == 0 || commit.first_version == 0 {
        return Err(invalid(commit.id, "numbers and versions begin at 1".to_owned()));
    }
    let bytes = commit.json_bytes();
    if bytes > MAX_COMMIT_BYTES {
        return Err(invalid(commit.id, format!("it has {bytes} bytes and may have {MAX_COMMIT_BYTES}")));
    }
    Ok(())
}

/// Checks a commit against the end of its stream, and against the commit that is stored under its id, if one is.
pub(crate) fn admit(commit: &Commit, head: StreamHead, stored: Option<&Commit>) -> Result<Admission, AppendError> {
    if stored.is_some_and(|stored| stored.is_same_append(commit)) {
        return Ok(Admission::AlreadyThere);
    }
    let (expected, actual) = (commit.first_version - 1, head.version);
    let continues = commit.id.number == head.number + 1;
    if expected != actual {
        return Err(AppendError::Conflict { stream: commit.id.stream, expected, actual });
    }
    if !continues {
        return Err(invalid(commit.id, format!("the stream's next commit is number {}", head.number + 1)));
    }
    if commit.prev_hash != head.hash {
        return Err(invalid(commit.id, format!("the commit before it has the hash {}", head.hash)));
    }
    Ok(Admission::New)
}

/// The refusal of a commit that breaks a rule of the log.
pub(crate) fn invalid(id: CommitId, reason: String) -> AppendError {
    AppendError::Invalid { id, reason }
}
