//! What a projection is: a pure fold over the log, one view for each key.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use testledger_schemas::commit::{Commit, CommitId, RecordedEvent};
use testledger_schemas::upcast::UnreadableEvent;
use testledger_schemas::{Event, EventId, StreamId, Timestamp, WorkerId};

/// One event at its place in the log, readable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Its 1-based index in the whole log.
    pub position: u64,
    /// Whose event it is.
    pub stream: StreamId,
    /// Its 1-based index in its stream.
    pub version: u64,
    /// The commit it was written with.
    pub commit: CommitId,
    /// Its id.
    pub event_id: EventId,
    /// When it was written, by the writer's clock.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: Arc<str>,
    /// The engine that wrote it, if one did.
    pub worker: Option<WorkerId>,
    /// The claim under which it was written, if under one.
    pub claim_epoch: Option<u64>,
    /// The fact.
    pub event: Event,
}

impl Recorded {
    /// The event of a commit at `index` (from 0), which stands at `position` in the log.
    ///
    /// # Errors
    /// [`UnreadableEvent`], as [`RecordedEvent::read`].
    pub fn of(commit: &Commit, index: usize, event: &RecordedEvent, position: u64) -> Result<Self, UnreadableEvent> {
        Ok(Self {
            position,
            stream: commit.id.stream,
            version: commit.first_version.saturating_add(index as u64),
            commit: commit.id,
            event_id: event.event_id,
            recorded_at: commit.recorded_at,
            actor: commit.actor.as_str().into(),
            worker: commit.worker,
            claim_epoch: commit.claim_epoch,
            event: event.read()?,
        })
    }
}

/// How many rounds the echoes of one event may go from view to view. More is a mistake in the projection.
pub const MAX_ECHO_ROUNDS: usize = 4;
/// How many views a batch may touch.
pub const BATCH_VIEWS: usize = 10_000;
/// What a view has without parts whose number grows, in bytes.
const VIEW_BYTES: usize = 4 << 10;
/// How many bytes the views of a batch may have, by [`Projection::weight`]: 64 MiB.
pub const BATCH_BYTES: usize = 64 << 20;

/// A fold over the log: pure, so that a replay of the same events gives the same views, whatever the batches were.
pub trait Projection: Clone + Send + Sync + 'static {
    /// The name under which views and checkpoint are kept.
    const NAME: &'static str;
    /// The version of the fold and of its views. Views of another version are thrown away and folded anew.
    const VERSION: u32;
    /// How many views one batch may touch. A commit that touches more is a batch of its own.
    const BATCH_VIEWS: usize = BATCH_VIEWS;
    /// How many bytes they may have, by [`Projection::weight`]. All of them are in memory and in one transaction at a
    /// time.
    const BATCH_BYTES: usize = BATCH_BYTES;

    /// What names a view.
    type Key: Clone + Ord + Hash + Debug + Display + Send + Sync + 'static;
    /// What the events of one key add up to.
    type View: Clone + PartialEq + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What one view tells another when it changes (a case its suite).
    type Echo: Send + 'static;

    /// What a setting says of this fold. The views keep to the one they were begun with: see [`Projection::as_set`].
    fn setting(&self) -> u64 {
        0
    }

    /// This fold under another setting. Views that were begun with one go on with it, whatever a worker is set to: so
    /// workers that are set differently do not throw each other's views away, and a replay gives what is stored. A rebuild
    /// begins with the setting of whoever rebuilds.
    fn as_set(&self, _setting: u64) -> Self {
        self.clone()
    }

    /// The views this event belongs to; none if the projection passes it over.
    fn keys(&self, recorded: &Recorded) -> Vec<Self::Key>;

    /// The view before its first event.
    fn initial(&self, key: &Self::Key) -> Self::View;

    /// About how many bytes a view has at the most, by the number of its parts. It is asked after every change, so it is
    /// found without a walk over them.
    fn weight(&self, _view: &Self::View) -> usize {
        VIEW_BYTES
    }

    /// Folds one event into one of its views. Returns what other views have to hear of it, to be folded at once.
    fn apply(&self, key: &Self::Key, view: &mut Self::View, recorded: &Recorded) -> Vec<(Self::Key, Self::Echo)>;

    /// Folds what another view told, because of the event at `position`. Returns what further views have to hear of it:
    /// only the view that hears may know where a thing belongs (the head of a trace knows the partition, an index knows
    /// the place of a text). Echoes go [`MAX_ECHO_ROUNDS`] rounds at the most.
    fn hear(&self, view: &mut Self::View, echo: &Self::Echo, position: u64) -> Vec<(Self::Key, Self::Echo)>;
}
