//! The durable part of the log in memory: what every handle on it shares, and what outlives a crash.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use testledger_schemas::Timestamp;
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, StreamId};
use testledger_schemas::page::{Page, PageEntry};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::event_store::rules::{self, Admission};
use crate::event_store::sequencer::{Candidate, Sequenced, head_after};
use crate::event_store::{AppendError, StoreError, StoredArtifact};
use crate::ports::fault::{self, Bug};

/// What all handles share.
pub(super) struct Durable {
    store: Mutex<Store>,
    /// Who is to be told, in the order in which they came. Each has channels of its own: those who wait on one channel are
    /// woken in any order, and a simulation is to be the same every time.
    listeners: Mutex<Vec<Weak<News>>>,
}

/// What a handle hears of the store.
pub(super) struct News {
    /// How many commits the change stream has had.
    pub(super) written: watch::Sender<u64>,
    /// The last position given.
    pub(super) head: watch::Sender<u64>,
}

/// The collections of the log.
pub(super) struct Store {
    /// The commits by their primary key.
    pub(super) commits: BTreeMap<CommitId, Commit>,
    /// The change stream: the commits in the order in which they became durable.
    pub(super) changes: Vec<CommitId>,
    /// The pages; the index is the number.
    pub(super) pages: Vec<Page>,
    /// The unique index on the entries of pages.
    entries: HashSet<CommitId>,
    /// The end of each stream, as far as it stands in pages.
    sequenced: HashMap<StreamId, StreamHead>,
    /// The artifacts by their hash, and when each was put last.
    pub(super) artifacts: BTreeMap<Hash, (Vec<u8>, Instant)>,
    /// Where the clock of the artifacts begins.
    began: Instant,
}

impl Durable {
    /// A log with nothing but its page 0.
    pub(super) fn new(genesis: Page) -> Self {
        let store = Store {
            commits: BTreeMap::new(),
            changes: Vec::new(),
            pages: vec![genesis],
            entries: HashSet::new(),
            sequenced: HashMap::new(),
            artifacts: BTreeMap::new(),
            began: Instant::now(),
        };
        Self { store: Mutex::new(store), listeners: Mutex::default() }
    }

    /// What one more handle hears, until it drops this.
    pub(super) fn listen(&self) -> Arc<News> {
        let store = self.lock();
        let (written, head) = (store.changes.len() as u64, store.last_position());
        let news = Arc::new(News { written: watch::Sender::new(written), head: watch::Sender::new(head) });
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&news));
        news
    }

    /// One atomic look or change.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.lock();
        let answer = act(&mut store);
        let (written, head) = (store.changes.len() as u64, store.last_position());
        // Told while the lock is held: the numbers never go back.
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for news in listeners.iter().filter_map(Weak::upgrade) {
            news.written.send_if_modified(|known| std::mem::replace(known, written) != written);
            news.head.send_if_modified(|known| std::mem::replace(known, head) != head);
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// An artifact as it is listed.
    pub(super) fn listed(&self, hash: Hash) -> Option<StoredArtifact> {
        let (bytes, put_at) = self.artifacts.get(&hash)?;
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Some(StoredArtifact {
            hash,
            bytes: bytes.len() as u64,
            put_at: Timestamp::default().plus_ms(ms(put_at.duration_since(self.began))),
            age_ms: ms(put_at.elapsed()),
        })
    }

    /// The end of a stream, sequenced or not.
    pub(super) fn stream_head(&self, stream: StreamId) -> StreamHead {
        let all = CommitId { stream, number: 0 }..=CommitId { stream, number: u64::MAX };
        self.commits.range(all).next_back().map_or(StreamHead::EMPTY, |(_, commit)| commit.head())
    }

    /// Stores a commit that may be stored; the same one again changes nothing.
    pub(super) fn append(&mut self, commit: Commit) -> Result<(), AppendError> {
        let head = self.stream_head(commit.id.stream);
        match rules::admit(&commit, head, self.commits.get(&commit.id))? {
            Admission::AlreadyThere => {}
            Admission::New => {
                self.changes.push(commit.id);
                self.commits.insert(commit.id, commit);
            }
        }
        Ok(())
    }

    /// Inserts a page, unless its number is taken or one of its commits has its place already.
    pub(super) fn insert_page(&mut self, page: Page) -> bool {
        let is_next = page.number == self.pages.len() as u64;
        let has_place = |entry: &PageEntry| self.entries.contains(&entry.commit);
        if !is_next || (page.entries.iter().any(has_place) && !fault::is_planted(Bug::SequencedTwice)) {
            return false;
        }
        for entry in &page.entries {
            self.entries.insert(entry.commit);
            if let Some(commit) = self.commits.get(&entry.commit) {
                let stream = entry.commit.stream;
                let head = self.sequenced.get(&stream).copied().unwrap_or(StreamHead::EMPTY);
                self.sequenced.insert(stream, head_after(&Candidate::trusted(commit), head));
            }
        }
        self.pages.push(page);
        true
    }

    /// What the pages say of a commit.
    pub(super) fn sequenced(&self, id: CommitId) -> Sequenced {
        let head = self.sequenced.get(&id.stream).copied().unwrap_or(StreamHead::EMPTY);
        let commit = self.entries.contains(&id) && !fault::is_planted(Bug::SequencedTwice);
        Sequenced { commit, head }
    }

    /// Takes content and nonce away and keeps the hashes.
    pub(super) fn erase(&mut self, id: CommitId, events: &[EventId]) -> Result<(), StoreError> {
        let commit =
            self.commits.get_mut(&id).ok_or_else(|| StoreError::Refused(format!("there is no commit {id}")))?;
        let named = commit.events.iter_mut().filter(|event| events.contains(&event.event_id));
        named.for_each(|event| event.content = None);
        Ok(())
    }

    /// The last page. Page 0 is made with the store and never taken away.
    pub(super) fn last_page(&self) -> &Page {
        &self.pages[self.pages.len() - 1]
    }

    fn last_position(&self) -> u64 {
        self.last_page().last_position()
    }
}
