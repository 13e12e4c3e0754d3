//! What the worker needs of the world: a feed of events in order, a store of views, and leases.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use testledger_schemas::{Hash, Timestamp};

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
    /// The projector's epoch: it grows whenever a worker takes the projection over, and whenever somebody holds or
    /// releases it. What was folded under an earlier epoch is not written any more (fencing).
    #[serde(default)]
    pub epoch: u64,
    /// Who holds the projection, if somebody does: then nobody folds it.
    #[serde(default)]
    pub held: Option<Hold>,
    /// The setting that the views were begun with ([`Projection::setting`]).
    #[serde(default)]
    pub setting: u64,
}

impl Checkpoint {
    /// Before the first event.
    pub const START: Self =
        Self { position: 0, page: 0, page_hash: Hash::ZERO, paused: None, epoch: 0, held: None, setting: 0 };

    /// Whether both have come equally far in the same history, in the same epoch.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.position == other.position && self.page_hash == other.page_hash && self.epoch == other.epoch
    }

    /// The fold of the views that have come so far: as it was set when they were begun. Where there are none yet, as it is
    /// set now, which is written down.
    pub fn settle<P: Projection>(&mut self, projection: &P) -> P {
        if self.position == 0 {
            self.setting = projection.setting();
        }
        projection.as_set(self.setting)
    }

    /// Back before the first event, in the same epoch, held by whoever holds it.
    #[must_use]
    pub fn at_start(self) -> Self {
        Self { epoch: self.epoch, held: self.held, ..Self::START }
    }

    /// The same in a new epoch: who loaded views before they were thrown away writes nothing, even where the next fold
    /// has come to the same place.
    #[must_use]
    pub fn thrown_away(self) -> Self {
        Self { epoch: self.epoch + 1, ..self.at_start() }
    }
}

/// A projection that somebody holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// Who.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
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

    /// Waits until there are events after a position. Also returns when there will never be any more.
    async fn more(&self, position: u64);
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

    /// Throws all views away and goes back before the first event, in a new epoch. A hold stays.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn reset(&self) -> Result<(), ViewStoreError>;
}

/// The key of a stored view as text, and the view, or what is wrong with it.
pub type StoredView<P> = (String, Result<<P as Projection>::View, String>);

/// What became of a switch from the views that are read to those that were folded beside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switched {
    /// The views beside are the ones that are read now.
    Yes,
    /// They have not come as far as those that are read: nothing changed.
    Behind,
    /// There are none beside: somebody else has switched, or given them up.
    Nothing,
}

/// A store of views that several workers share, and in which views can be folded anew beside those that are read (blue and
/// green).
#[async_trait]
pub trait ManagedStore<P: Projection>: ViewStore<P> {
    /// Begins a new epoch: whoever folds under the one before is [`Saved::Overtaken`]. Returns the checkpoint of now.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn fence(&self) -> Result<Checkpoint, ViewStoreError>;

    /// Holds the projection, or releases it; begins a new epoch.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn hold(&self, hold: Option<Hold>) -> Result<(), ViewStoreError>;

    /// What is stored, in the order of the keys' text: keys after `after`, at most `limit`. In the place of a view that is
    /// not as this program writes it stands what is wrong with it.
    ///
    /// # Errors
    /// [`ViewStoreError::Unavailable`].
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredView<P>>, ViewStoreError>;

    /// The store of the views beside. Its checkpoint is its own, so a fold that was broken off goes on.
    fn beside(&self) -> Arc<dyn ViewStore<P>>;

    /// Puts the views beside in the place of those that are read, in one transaction that begins a new epoch. Readers see
    /// the old ones or the new ones, never a mix.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn switch(&self) -> Result<Switched, ViewStoreError>;
}

/// Who may fold a projection for now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// Who has it.
    pub holder: String,
    /// Until when, by the clock of the store; renewed before that.
    pub until: Timestamp,
}

/// Leases on projections: so that several workers share the work. What makes a second one harmless is the epoch.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease of a projection, or renews it. False while somebody else has it.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn take(&self, projection: &str, holder: &str, duration: Duration) -> Result<bool, ViewStoreError>;

    /// Gives the lease up, if this holder has it.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn give_up(&self, projection: &str, holder: &str) -> Result<(), ViewStoreError>;

    /// The lease of a projection, if somebody has it now.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn current(&self, projection: &str) -> Result<Option<Lease>, ViewStoreError>;
}
