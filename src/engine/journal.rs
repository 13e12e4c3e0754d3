//! The only place that appends: seals commits, waits until they are durable, tells the bus.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use testledger_schemas::commit::{Commit, Envelope, RecordedEvent, StreamHead};
use testledger_schemas::ids::{EventId, ExecutionId, StreamId, WorkerId};
use testledger_schemas::{Event, Hash, Page, Timestamp};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::{Acknowledged, Bus, Update};
use crate::engine::error::ExecutionError;
use crate::engine::overhead::Durations;
use crate::event_store::{AppendError, SharedLog};
use crate::ports::clock::SharedClock;
use crate::ports::fault::{self, Bug, Point};
use crate::ports::ids::SharedIds;

/// Everything an append needs besides the events.
pub struct Journal {
    /// The log; patient with its store.
    pub log: SharedLog,
    /// The time of day.
    pub clock: SharedClock,
    /// New ids.
    pub ids: SharedIds,
    /// Who causes what is appended.
    pub actor: String,
    /// The engine that appends; none where a person acts through a command.
    pub worker: Option<WorkerId>,
    /// Who hears of it.
    pub bus: Bus,
    /// How long a page may be waited for.
    pub store_patience: Duration,
    /// What this engine wrote.
    pub own: OwnCommits,
    /// How long its appends took until they were durable.
    pub latencies: AppendLatencies,
    /// Fires when this engine may not work any more: nothing about executions is appended then.
    pub lost: CancellationToken,
}

/// A journal that is shared by everything in this process.
pub type SharedJournal = Arc<Journal>;

/// How long appends took until they were durable, the waiting in every queue included.
#[derive(Default)]
pub struct AppendLatencies {
    /// All of them.
    pub all: Durations,
    /// Those that turned an execution from one status to another.
    pub transitions: Durations,
}

/// What an append has led to.
pub struct Appended {
    /// The end of the stream.
    pub head: StreamHead,
    /// The last event.
    pub last_event: Option<EventId>,
    /// The events.
    pub events: Arc<Vec<Event>>,
    /// How long it took until they were durable.
    pub took: Duration,
}

/// The commits this engine wrote and has not yet met again when following the log: it need not read its own. They are
/// known by their hash: the same place in a stream may go to somebody else who is first.
#[derive(Default)]
pub struct OwnCommits {
    open: Mutex<BTreeSet<Hash>>,
    /// Told when the last one was met.
    none_left: Notify,
}

impl OwnCommits {
    fn add(&self, commit: Hash) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(commit);
    }

    /// Whether this is one of them; it is forgotten then.
    pub fn take(&self, commit: Hash) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let was_own = open.remove(&commit);
        if was_own && open.is_empty() {
            self.none_left.notify_waiters();
        }
        was_own
    }

    async fn until_none_left(&self) {
        loop {
            let told = self.none_left.notified();
            if self.open.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return;
            }
            told.await;
        }
    }
}

/// Why an append was given up.
#[derive(Debug)]
pub enum AppendRefused {
    /// Somebody else was first: decide anew.
    Conflict,
    /// Everything else.
    Error(ExecutionError),
}

impl From<AppendError> for AppendRefused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict { .. } => Self::Conflict,
            AppendError::Invalid { .. } => Self::Error(ExecutionError::Internal(error.to_string())),
            AppendError::Store(error) => Self::Error(error.into()),
        }
    }
}

impl From<ExecutionError> for AppendRefused {
    fn from(error: ExecutionError) -> Self {
        Self::Error(error)
    }
}

/// Where and under what an append is made.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The stream.
    pub stream: StreamId,
    /// Its end.
    pub head: StreamHead,
    /// The claim under which it is written.
    pub claim_epoch: Option<u64>,
    /// The root execution.
    pub correlation_id: Option<ExecutionId>,
    /// The event that led to it.
    pub causation_id: Option<EventId>,
}

impl Journal {
    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Appends events as one commit, and waits until they are durable.
    ///
    /// # Errors
    /// A conflict, or [`ExecutionError`] once the store's patience is used up.
    pub async fn append(&self, place: Place, events: Vec<Event>) -> Result<Appended, AppendRefused> {
        if self.lost.is_cancelled() && place.stream.execution().is_some() {
            return Err(ExecutionError::LeaseLost.into());
        }
        let commit = self.seal(place, &events)?;
        let (head, recorded_at) = (commit.head(), commit.recorded_at);
        let last_event = commit.events.last().map(|event| event.event_id);
        let hash = commit.hash;
        self.own.add(hash);
        fault::reached(Point::BeforeAppend, self.worker).await;
        let began = Instant::now();
        if let Err(error) = self.send(commit).await {
            self.own.take(hash);
            return Err(error.into());
        }
        fault::reached(Point::AfterAppend, self.worker).await;
        let took = began.elapsed();
        self.latencies.all.add(took);
        let events = Arc::new(events);
        if let Some(execution) = place.stream.execution() {
            let acknowledged = Acknowledged { execution, recorded_at, events: Arc::clone(&events) };
            self.bus.publish(Update::Acknowledged(acknowledged));
        }
        Ok(Appended { head, last_event, events, took })
    }

    async fn send(&self, commit: Commit) -> Result<(), AppendError> {
        if fault::is_planted(Bug::AcknowledgedBeforeDurable) {
            let log = Arc::clone(&self.log);
            drop(tokio::spawn(async move { log.append(commit).await }));
            return Ok(());
        }
        self.log.append(commit).await
    }

    fn seal(&self, place: Place, events: &[Event]) -> Result<Commit, ExecutionError> {
        let recorded: Result<Vec<_>, _> =
            events.iter().map(|event| RecordedEvent::write(self.ids.event_id(), self.ids.nonce(), event)).collect();
        let recorded = recorded.map_err(|error| ExecutionError::Internal(error.to_string()))?;
        let envelope = Envelope {
            recorded_at: self.now(),
            actor: self.actor.clone(),
            worker: self.worker,
            claim_epoch: place.claim_epoch,
            correlation_id: place.correlation_id,
            causation_id: place.causation_id,
        };
        Ok(Commit::seal(place.stream, place.head, envelope, recorded)?)
    }

    /// Waits until everything this engine has appended stands in pages, and gives the last page then.
    ///
    /// # Errors
    /// [`ExecutionError`] if the log cannot be read, or the pages do not come within the store's patience.
    pub async fn settled(&self) -> Result<Page, ExecutionError> {
        if tokio::time::timeout(self.store_patience, self.own.until_none_left()).await.is_err() {
            let waited_ms = crate::ports::clock::ms(self.store_patience);
            return Err(ExecutionError::Timeout { what: "a position for what was appended".to_owned(), waited_ms });
        }
        Ok(self.log.last_page().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_of_somebody_who_was_first_is_not_our_own() {
        let own = OwnCommits::default();
        let (ours, theirs) = (Hash::of(b"ours"), Hash::of(b"theirs"));
        own.add(ours);
        assert!(!own.take(theirs));
        assert!(own.take(ours) && !own.take(ours));
    }
}
