//! What all parts of one open log share: the collections, the last position known, and what still has no place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mongodb::Collection;
use mongodb::bson::{RawDocument, RawDocumentBuf};
use testledger_schemas::commit::{Commit, CommitId};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event_store::StoreError;
use crate::event_store::mongodb::connect::MongoStore;
use crate::event_store::sequencer::Candidate;

/// One document for each append.
pub(super) const COMMITS: &str = "commits";
/// The total order.
pub(super) const PAGES: &str = "pages";
/// Bytes under their hash, in pieces.
pub(super) const ARTIFACTS: &str = "artifacts";
/// How far the change stream was read while nothing came.
pub(super) const STATE: &str = "log_state";

/// The parts of one open log.
pub(super) struct Shared {
    pub(super) store: MongoStore,
    pub(super) commits: Collection<RawDocumentBuf>,
    pub(super) pages: Collection<RawDocumentBuf>,
    pub(super) artifacts: Collection<RawDocumentBuf>,
    pub(super) state: Collection<RawDocumentBuf>,
    pub(super) head: Head,
    pub(super) unplaced: Unplaced,
    /// Whether somebody dropped the commits, and nobody has restored them yet.
    pub(super) gone: AtomicBool,
    /// How many groups of appends were sent.
    pub(super) batches: AtomicU64,
    /// Fires when the log is closed.
    pub(super) closed: CancellationToken,
}

impl Shared {
    pub(super) fn new(store: MongoStore, last_position: u64) -> Arc<Self> {
        Arc::new(Self {
            commits: store.collection(COMMITS),
            pages: store.collection(PAGES),
            artifacts: store.collection(ARTIFACTS),
            state: store.collection(STATE),
            head: Head::at(last_position),
            unplaced: Unplaced::default(),
            gone: AtomicBool::new(false),
            batches: AtomicU64::new(0),
            closed: CancellationToken::new(),
            store,
        })
    }

    /// Asks the database; refused once the log is closed.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.closed.is_cancelled() {
            return Err(self.store.errors.closed());
        }
        self.store.ask(work).await
    }

    /// Refuses to append where the commits were dropped: what was acknowledged before must come back first.
    pub(super) fn check_there(&self) -> Result<(), StoreError> {
        if self.gone.load(Ordering::Acquire) {
            return Err(self
                .store
                .errors
                .unavailable("the collection of commits was dropped; restore it from a backup"));
        }
        Ok(())
    }
}

/// The last position known to this process, and when it last changed.
pub(super) struct Head {
    position: watch::Sender<u64>,
    moved: Mutex<Instant>,
}

impl Head {
    fn at(position: u64) -> Self {
        Self { position: watch::Sender::new(position), moved: Mutex::new(Instant::now()) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.position.subscribe()
    }

    /// Moves on to a position; never back.
    pub(super) fn advance(&self, position: u64) {
        let moved = self.position.send_if_modified(|head| {
            let forward = position > *head;
            *head = position.max(*head);
            forward
        });
        if moved {
            *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    /// How long nothing was given a position.
    pub(super) fn quiet_for(&self) -> Duration {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// The commits of this process that no page is known to have, as they were sent. Bounded by the writer's queue and by what
/// a stalled sequencer leaves, up to [`MAX_UNPLACED`].
#[derive(Default)]
pub(super) struct Unplaced {
    open: Mutex<HashMap<CommitId, Sent>>,
    none_left: Notify,
}

/// More are not remembered: their places come all the same.
const MAX_UNPLACED: usize = 16_384;

struct Sent {
    candidate: Candidate,
    document: Arc<RawDocumentBuf>,
    /// When it was acknowledged, once it was.
    since: Option<Instant>,
}

impl Unplaced {
    /// A commit is on its way.
    pub(super) fn sent(&self, commit: &Commit, document: &Arc<RawDocumentBuf>) {
        let mut open = self.open();
        if open.len() < MAX_UNPLACED {
            let sent = Sent { candidate: Candidate::trusted(commit), document: Arc::clone(document), since: None };
            open.insert(commit.id, sent);
        }
    }

    /// The commit in a document, if it is byte by byte one that this process sent: that one was checked before.
    pub(super) fn candidate_in(&self, document: &RawDocument) -> Option<Candidate> {
        let open = self.open();
        if open.is_empty() {
            return None;
        }
        let sent = open.get(&document.get_str("_id").ok()?.parse().ok()?)?;
        (sent.document.as_bytes() == document.as_bytes()).then(|| sent.candidate.clone())
    }

    /// It is durable. Its page may have come before: then nothing is open.
    pub(super) fn acknowledged(&self, id: CommitId) {
        if let Some(sent) = self.open().get_mut(&id) {
            sent.since = Some(Instant::now());
        }
    }

    /// It has its place, or was refused, or nobody knows: whoever sends it again says so again.
    pub(super) fn forget<'a>(&self, ids: impl IntoIterator<Item = &'a CommitId>) {
        let mut open = self.open();
        if open.is_empty() {
            return;
        }
        for id in ids {
            open.remove(id);
        }
        if open.is_empty() {
            self.none_left.notify_waiters();
        }
    }

    /// How long the oldest acknowledged one has waited for its place.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        self.open().values().filter_map(|sent| sent.since).min().map(|since| since.elapsed())
    }

    /// Those that wait.
    pub(super) fn ids(&self) -> Vec<CommitId> {
        self.open().keys().copied().collect()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.open().is_empty()
    }

    /// Waits until there is none.
    pub(super) async fn until_none_left(&self) {
        loop {
            let told = self.none_left.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.is_empty() {
                return;
            }
            told.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<CommitId, Sent>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
