//! What the worker needs of the world: a feed of events in order, and a store of views.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use testledger_schemas::Hash;

use crate::projection::{Projection, Recorded};

/// How far a projection has come: kept in the transaction that writes its views.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last position that is folded in; 0 before the first.
    pub position: u64,
    /// The page that gives this position.
    pub page: u64,
    /// The hash of that page: tells the history that was folded from any other one.
    pub page_hash: Hash,
    /// The event that the projection waits at, because it cannot be read.
    pub paused: Option<Poison>,
}

impl Checkpoint {
    /// Before the first event.
    pub const START: Self = Self { position: 0, page: 0, page_hash: Hash::ZERO, paused: None };

    /// Whether both have come equally far in the same history.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.position == other.position && self.page_hash == other.page_hash
    }
}

/// An event that cannot be read. The projection stops before it and says so: nothing is skipped silently. A program
/// that can read it goes on by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Poison {
    /// Its position.
    pub position: u64,
    /// Why it cannot be read.
    pub reason: String,
}

/// Some events in order, and how far they lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The events after the checkpoint asked for, dense and in order.
    pub events: Vec<Recorded>,
    /// The place after the last of them; `paused` where the next event cannot be read.
    pub reached: Checkpoint,
}

/// Why a feed gave no events.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The log is not the one in which the checkpoint was made: views folded from it are worthless.
    #[error("the log has another history than the one the views were folded from")]
    OtherHistory,
    /// The log did not answer as it should.
    #[error("{0}")]
    Failed(String),
}

/// The events of the log, in order.
#[async_trait]
pub trait Feed: Send + Sync {
    /// The last position the log has given.
    ///
    /// # Errors
    /// [`FeedError::Failed`].
    async fn head(&self) -> Result<u64, FeedError>;

    /// The events after a checkpoint, about `limit` (whole commits, at least one if there is one).
    ///
    /// # Errors
    /// [`FeedError`].
    async fn read(&self, after: &Checkpoint, limit: usize) -> Result<Batch, FeedError>;
}

/// Why the store of views did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ViewStoreError {
    /// It is away, locked or full; it may come back.
    #[error("the store of views is unavailable: {0}")]
    Unavailable(String),
    /// What it holds cannot be read as views of this version.
    #[error("a stored view cannot be read: {0}")]
    Unreadable(String),
}

/// What became of a batch of views.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Saved {
    /// Views and checkpoint are written.
    Yes,
    /// Nothing was written: the stored checkpoint is not the one the batch began at. Another worker was faster.
    Overtaken,
}

/// Where the views of one projection are kept.
#[async_trait]
pub trait ViewStore<P: Projection>: Send + Sync {
    /// How far the views have come. Views of another [`Projection::VERSION`] count as none: [`Checkpoint::START`].
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError>;

    /// The views of these keys, in the order asked for; none where there is none yet.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn load(&self, keys: &[P::Key]) -> Result<Vec<Option<P::View>>, ViewStoreError>;

    /// Writes views and checkpoint in one transaction, which first compares the stored checkpoint with `before`.
    /// Where `before` is the start, whatever views there were are thrown away first.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(P::Key, P::View)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError>;

    /// Throws all views and the checkpoint away.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn reset(&self) -> Result<(), ViewStoreError>;
}
