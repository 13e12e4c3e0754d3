//! The promise of the event log: what every adapter keeps, and the contract suite (`tests/contract`) holds it to.
//!
//! 1. Acknowledged means durable, and atomic: all events of a commit or none.
//! 2. A commit that does not continue its stream's end is a [`AppendError::Conflict`] with the actual version; the
//!    same commit again (same events) is success.
//! 3. Positions are dense, keep each stream's order, and are given exactly once; what a reader has seen stays.
//! 4. Every prefix of a stream is a state that recovery can finish: an append never splits what belongs together.
//! 5. Tampering is evident: commits are chained by stream, pages by number.
//! 6. `data` is never erased; `content` may be, and its hash stays.

pub mod faults;
pub mod leases;
pub mod memory;
pub mod mongodb;
pub mod patient;
mod queue;
mod rules;
pub mod sequencer;
pub mod sqlite;
pub mod subscription;

use std::sync::Arc;

use async_trait::async_trait;
use testledger_schemas::Timestamp;
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, StreamId};
use testledger_schemas::page::Page;
use tokio::sync::watch;

/// A log that is shared by everything in this process.
pub type SharedLog = Arc<dyn EventLog>;

/// Why an append was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended to the stream: decide anew, never send again.
    #[error("{stream} is at version {actual}, not {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The version the writer decided on.
        expected: u64,
        /// The version the stream has.
        actual: u64,
    },
    /// The commit breaks a rule of the log (its hash, its size, its chain). A bug of the writer.
    #[error("the commit {id} cannot be appended: {reason}")]
    Invalid {
        /// The commit.
        id: CommitId,
        /// What is wrong with it.
        reason: String,
    },
    /// The store did not answer as it should.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the store could not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// It is away, locked or full; it may come back.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What it holds cannot be what this program wrote.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// This program must not use it: a newer format, another program's file, missing rights. The text has the mend.
    #[error("{0}")]
    Refused(String),
}

/// An event log with its artifacts.
///
/// All methods may be called from many tasks at once. Futures may be dropped at any time: what was begun goes on.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends one sealed commit and waits until it is durable.
    ///
    /// # Errors
    /// [`AppendError`]; after an `Unavailable` the outcome is unknown, and the same commit may be sent again.
    async fn append(&self, commit: Commit) -> Result<(), AppendError>;

    /// The commits of a stream with a number above `after`, in order, at most `limit`. Sequenced or not.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn read_stream(&self, stream: StreamId, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError>;

    /// The end of a stream.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn stream_head(&self, stream: StreamId) -> Result<StreamHead, StoreError>;

    /// The pages from number `from` on, in order, at most `limit`. Page 0 is always there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn read_pages(&self, from: u64, limit: usize) -> Result<Vec<Page>, StoreError>;

    /// The last page.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn last_page(&self) -> Result<Page, StoreError>;

    /// The page that gives this position; none if the position is not given yet.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn page_of(&self, position: u64) -> Result<Option<Page>, StoreError>;

    /// The commits with these ids, in the order asked for; `None` for each that is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn read_commits(&self, ids: &[CommitId]) -> Result<Vec<Option<Commit>>, StoreError>;

    /// The ids and hashes of all commits by id, from after `after` on, at most `limit`: what an audit compares with
    /// the pages.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn scan_commits(&self, after: Option<CommitId>, limit: usize) -> Result<Vec<RawCommit>, StoreError>;

    /// The last position known to this process. Changes wake readers up, whoever appended; it never goes back.
    fn head(&self) -> watch::Receiver<u64>;

    /// Takes the content of these events away, everywhere in the log, and keeps the hashes. The caller has appended
    /// `DataErased` before. Doing it again is success.
    ///
    /// # Errors
    /// [`StoreError`]; `Refused` if the commit is not there.
    async fn erase_content(&self, commit: CommitId, events: &[EventId]) -> Result<(), StoreError>;

    /// Keeps bytes under their hash and waits until they are durable. The same bytes again are success.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn put_artifact(&self, bytes: Vec<u8>) -> Result<Hash, StoreError>;

    /// The bytes with this hash; none if there are none (or they were erased).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn get_artifact(&self, hash: Hash) -> Result<Option<Vec<u8>>, StoreError>;

    /// Takes artifacts away. Those that are not there are passed over.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn erase_artifacts(&self, hashes: &[Hash]) -> Result<(), StoreError>;

    /// The artifacts by hash, from after `after` on, at most `limit` (at least one if there is one); also those of which
    /// only a part is there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_artifacts(&self, after: Option<Hash>, limit: usize) -> Result<Vec<StoredArtifact>, StoreError>;

    /// Takes these artifacts away, but none that was put again after it was listed.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn remove_artifacts(&self, artifacts: &[StoredArtifact]) -> Result<(), StoreError>;

    /// Ends the log's own tasks after all that was begun is done.
    async fn close(&self);
}

/// An artifact as it was listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredArtifact {
    /// The hash of its bytes.
    pub hash: Hash,
    /// How many there are.
    pub bytes: u64,
    /// When it was put last, by the clock of the store; 1970 where an older program put it.
    pub put_at: Timestamp,
    /// How long ago that was, by the same clock, in milliseconds.
    pub age_ms: u64,
}

/// A stored commit as an audit sees it: perhaps not readable at all.
#[derive(Clone, Debug)]
pub struct RawCommit {
    /// The primary key as it is stored.
    pub id: String,
    /// The commit, or why it cannot be read.
    pub commit: Result<Commit, String>,
}
