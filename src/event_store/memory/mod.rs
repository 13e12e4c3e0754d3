//! The event log in memory, for tests and simulations: made like the one on MongoDB, with seeded faults.
//!
//! Commits become durable in a map; a sequencer gives them their positions a little later. All waiting goes through
//! `tokio::time`, so a simulation runs it on virtual time, and all chance comes from one seed.

mod follow;
mod handle;
pub mod leases;
mod store;

use std::future::pending;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, LogId, StreamId};
use testledger_schemas::page::Page;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::event_store::faults::{CrashPoint, Faults};
use crate::event_store::memory::handle::{Handle, NoAnswer};
use crate::event_store::memory::store::{Durable, Store};
use crate::event_store::{AppendError, EventLog, RawCommit, StoreError, StoredArtifact, rules};
use crate::ports::ids::{Ids, SeededIds};

/// How long closing waits for the sequencer to catch up.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// One process's handle on a log in memory. Dropping it ends its sequencer; the data live as long as any handle.
pub struct MemoryLog {
    handle: Arc<Handle>,
}

impl MemoryLog {
    /// A new, empty log without faults.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with_faults(Faults::none())
    }

    /// A new, empty log whose handle has these faults. Its id follows from the seed.
    #[must_use]
    pub fn with_faults(faults: Faults) -> Arc<Self> {
        let id = LogId(SeededIds::new(faults.seed).time_ordered());
        Self::handle(Arc::new(Durable::new(Page::genesis(id, None))), faults)
    }

    /// Another process's handle on the same durable data, without faults.
    #[must_use]
    pub fn reopen(&self) -> Arc<Self> {
        self.reopen_with_faults(Faults::none())
    }

    /// Another process's handle on the same durable data, with faults of its own.
    #[must_use]
    pub fn reopen_with_faults(&self, faults: Faults) -> Arc<Self> {
        Self::handle(Arc::clone(&self.handle.durable), faults)
    }

    /// Lets the process of this handle die at its n-th append, counted from 1. From then on no call on this handle
    /// ever returns. Only the first call of this function counts.
    pub fn crash_at(&self, append_number: u64, point: CrashPoint) {
        self.handle.crash_at(append_number, point);
    }

    /// Lets the process of this handle die now.
    pub fn kill(&self) {
        self.handle.kill();
    }

    /// Cuts the network between this handle and the store, or mends it: what is sent meanwhile arrives afterwards.
    pub fn cut(&self, is_cut: bool) {
        self.handle.cut(is_cut);
    }

    /// Resolves when the process of this handle has died: the time to drop whatever uses it.
    pub async fn crashed(&self) {
        self.handle.dead.cancelled().await;
    }

    /// How many appends have reached the store through this handle, refused and repeated ones included.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.handle.appends.load(Ordering::SeqCst)
    }

    fn handle(durable: Arc<Durable>, faults: Faults) -> Arc<Self> {
        Arc::new(Self { handle: Arc::new(Handle::new(durable, faults)) })
    }

    /// One call of the store that changes nothing but what `act` changes.
    async fn call<T>(&self, act: impl FnOnce(&mut Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.handle.reach().await {
            Ok(()) => self.handle.durable.with(act),
            Err(NoAnswer::Store(error)) => Err(error),
            Err(NoAnswer::Dead) => pending().await,
        }
    }
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        self.handle.stop.cancel();
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, commit: Commit) -> Result<(), AppendError> {
        rules::check_alone(&commit)?;
        let handle = Arc::clone(&self.handle);
        // A task of its own: what was begun goes on when nobody waits for it any more.
        let task = tokio::spawn(async move { handle.append(commit).await });
        match task.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(NoAnswer::Store(error))) => Err(error.into()),
            Ok(Err(NoAnswer::Dead)) => pending().await,
            Err(error) => Err(StoreError::Unavailable(format!("an append did not end: {error}")).into()),
        }
    }

    async fn read_stream(&self, stream: StreamId, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let end = CommitId { stream, number: u64::MAX };
        let Some(number) = after.checked_add(1) else { return self.call(|_| Ok(Vec::new())).await };
        let range = CommitId { stream, number }..=end;
        self.call(|store| Ok(store.commits.range(range).take(limit).map(|(_, commit)| commit.clone()).collect())).await
    }

    async fn stream_head(&self, stream: StreamId) -> Result<StreamHead, StoreError> {
        self.call(|store| Ok(store.stream_head(stream))).await
    }

    async fn read_pages(&self, from: u64, limit: usize) -> Result<Vec<Page>, StoreError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        self.call(|store| Ok(store.pages.iter().skip(from).take(limit).cloned().collect())).await
    }

    async fn last_page(&self) -> Result<Page, StoreError> {
        self.call(|store| Ok(store.last_page().clone())).await
    }

    async fn page_of(&self, position: u64) -> Result<Option<Page>, StoreError> {
        self.call(|store| {
            let before = store.pages.partition_point(|page| page.next_position() <= position);
            Ok(store.pages.get(before).filter(|page| page.first_position <= position).cloned())
        })
        .await
    }

    async fn read_commits(&self, ids: &[CommitId]) -> Result<Vec<Option<Commit>>, StoreError> {
        self.call(|store| Ok(ids.iter().map(|id| store.commits.get(id).cloned()).collect())).await
    }

    async fn scan_commits(&self, after: Option<CommitId>, limit: usize) -> Result<Vec<RawCommit>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.call(|store| {
            let commits = store.commits.range((from, Unbounded)).take(limit);
            Ok(commits.map(|(id, commit)| RawCommit { id: id.to_string(), commit: Ok(commit.clone()) }).collect())
        })
        .await
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.handle.news.head.subscribe()
    }

    async fn erase_content(&self, commit: CommitId, events: &[EventId]) -> Result<(), StoreError> {
        self.call(|store| store.erase(commit, events)).await
    }

    async fn put_artifact(&self, bytes: Vec<u8>) -> Result<Hash, StoreError> {
        let hash = Hash::of(&bytes);
        self.call(|store| {
            store.artifacts.insert(hash, (bytes, Instant::now()));
            Ok(hash)
        })
        .await
    }

    async fn get_artifact(&self, hash: Hash) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(|store| Ok(store.artifacts.get(&hash).map(|(bytes, _)| bytes.clone()))).await
    }

    async fn erase_artifacts(&self, hashes: &[Hash]) -> Result<(), StoreError> {
        self.call(|store| {
            hashes.iter().for_each(|hash| drop(store.artifacts.remove(hash)));
            Ok(())
        })
        .await
    }

    async fn list_artifacts(&self, after: Option<Hash>, limit: usize) -> Result<Vec<StoredArtifact>, StoreError> {
        self.call(|store| {
            let from = after.map_or(Unbounded, Excluded);
            let hashes = store.artifacts.range((from, Unbounded)).take(limit);
            Ok(hashes.filter_map(|(hash, _)| store.listed(*hash)).collect())
        })
        .await
    }

    async fn remove_artifacts(&self, artifacts: &[StoredArtifact]) -> Result<(), StoreError> {
        self.call(|store| {
            for listed in artifacts {
                if store.listed(listed.hash).is_some_and(|now| now.put_at <= listed.put_at) {
                    store.artifacts.remove(&listed.hash);
                }
            }
            Ok(())
        })
        .await
    }

    async fn close(&self) {
        if self.handle.dead.is_cancelled() {
            return pending().await;
        }
        self.handle.start_sequencer().await;
        self.handle.closed.cancel();
        let durable = &self.handle.durable;
        let mut head = self.handle.news.head.subscribe();
        let events = durable.with(|store| store.commits.values().map(|commit| commit.events.len() as u64).sum::<u64>());
        // In vain where another handle's faults keep the sequencers from it: hence the patience.
        drop(tokio::time::timeout(CLOSE_PATIENCE, head.wait_for(|head| *head >= events)).await);
        self.handle.stop.cancel();
    }
}

#[cfg(test)]
mod tests;
