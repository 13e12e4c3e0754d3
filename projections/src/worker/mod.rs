//! The worker, the only async room: takes a projection from its checkpoint to a position, every event exactly once.
//! [`follow`] does so as long as it may, [`rebuild`] beside the views that are read.
//!
//! One round loads the views a batch touches, folds in memory, and writes views and checkpoint in one transaction that
//! compares the stored checkpoint first. So it may be killed anywhere, and several may run at once: whoever comes
//! second writes nothing and goes on from where the other one came to.
//!
//! A batch that touches more views than [`Projection::BATCH_VIEWS`], or larger ones than [`Projection::BATCH_BYTES`], is
//! read again at half its length, before anything is written: what a transaction holds is bounded, whatever the events
//! are.

mod batch;
mod fold;
pub mod follow;
pub mod rebuild;
mod walk;

use crate::ports::{Checkpoint, Feed, FeedError, Hold, Poison, ViewStore, ViewStoreError};
use crate::projection::{MAX_ECHO_ROUNDS, Projection};
use crate::worker::walk::Walk;

/// About how many events are folded in one transaction.
pub const BATCH_EVENTS: usize = 1000;
/// How often in a row a batch may come second before it is an error (something else than a worker moves the checkpoint).
pub const MAX_OVERTAKEN: u32 = 1000;

/// How far a projection was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The last position that is folded in.
    pub position: u64,
    /// How many events this worker folded.
    pub folded: u64,
    /// The event that the projection waits at, because it cannot be read.
    pub paused: Option<Poison>,
    /// Who holds the projection, if somebody does: then nothing was folded since.
    pub held: Option<Hold>,
}

impl Progress {
    fn at(checkpoint: Checkpoint, folded: u64) -> Self {
        Self { position: checkpoint.position, folded, paused: checkpoint.paused, held: checkpoint.held }
    }
}

/// Why a projection could not be taken further.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// The log gave no events.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The views could not be read or written.
    #[error(transparent)]
    Store(#[from] ViewStoreError),
    /// The checkpoint moved under every attempt.
    #[error("the checkpoint of the views moved {MAX_OVERTAKEN} times in a row while a batch was folded")]
    Contended,
    /// A mistake in the projection: its views tell each other things without end.
    #[error("the views echo the event at position {position} for more than {MAX_ECHO_ROUNDS} rounds")]
    EndlessEcho {
        /// The position of the event.
        position: u64,
    },
}

/// Folds all events up to position `until` (at least; without it, up to the log's head of now) into the views.
/// Stops before an event that cannot be read, and says so in [`Progress::paused`]. Views that were folded from
/// another history are thrown away first.
///
/// # Errors
/// [`CatchUpError`]; what was written before stays, and the next call goes on from there.
pub async fn catch_up<P: Projection>(
    projection: &P,
    feed: &dyn Feed,
    store: &dyn ViewStore<P>,
    until: Option<u64>,
) -> Result<Progress, CatchUpError> {
    let until = match until {
        Some(position) => position,
        None => feed.head().await?,
    };
    let mut walk = Walk::begin(projection, feed, store, BATCH_EVENTS).await?;
    while walk.batch(until).await? {}
    Ok(walk.progress())
}
