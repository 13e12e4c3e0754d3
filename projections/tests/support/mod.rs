//! What the tests of folds share: a feed over a list, stories told event by event, erasure.
#![allow(dead_code, clippy::unwrap_used, missing_docs, reason = "tests, each of which uses a part")]

pub mod story;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{Batch, Checkpoint, Feed, FeedError, Poison};
use testledger_projections::projection::{Projection, Recorded};
use testledger_projections::worker::catch_up;
use testledger_schemas::{Commit, Hash};

/// A feed over a list, which gives batches of the sizes it is told, again and again.
pub struct ListFeed {
    pub events: Vec<Recorded>,
    pub sizes: Vec<usize>,
    pub turn: AtomicUsize,
    pub poison: Option<u64>,
    /// Whether it gives no more than is asked for.
    pub obeys: bool,
}

impl ListFeed {
    pub fn new(commits: &[Commit], sizes: Vec<usize>) -> Self {
        Self::of(recorded(commits), sizes)
    }

    pub fn of(events: Vec<Recorded>, sizes: Vec<usize>) -> Self {
        Self { events, sizes, turn: AtomicUsize::new(0), poison: None, obeys: false }
    }
}

/// The events of commits in this order, each at its position.
pub fn recorded(commits: &[Commit]) -> Vec<Recorded> {
    let all = commits.iter().flat_map(|commit| commit.events.iter().enumerate().map(move |it| (commit, it)));
    let events = (1..).zip(all);
    events.map(|(at, (commit, (index, event)))| Recorded::of(commit, index, event, at).unwrap()).collect()
}

#[async_trait]
impl Feed for ListFeed {
    async fn head(&self) -> Result<u64, FeedError> {
        Ok(self.events.len() as u64)
    }

    async fn read(&self, after: &Checkpoint, limit: usize) -> Result<Batch, FeedError> {
        let size = self.sizes[self.turn.fetch_add(1, Ordering::Relaxed) % self.sizes.len()];
        let size = if self.obeys { size.min(limit) } else { size };
        let readable = self.events.iter().take_while(|it| self.poison.is_none_or(|poison| it.position < poison));
        let events: Vec<Recorded> = readable.skip(after.position as usize).take(size).cloned().collect();
        let position = events.last().map_or(after.position, |last| last.position);
        let paused = self.poison.filter(|poison| position + 1 == *poison);
        let paused = paused.map(|position| Poison { position, reason: "no event is called so".into() });
        let page_hash = Hash::of(&position.to_be_bytes());
        let page_hash = if position == 0 { Hash::ZERO } else { page_hash };
        Ok(Batch { events, reached: Checkpoint { position, page: position, page_hash, paused, ..after.clone() } })
    }

    async fn more(&self, position: u64) {
        if position >= self.events.len() as u64 {
            std::future::pending::<()>().await;
        }
    }
}

pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// The views after these events, folded in batches of these sizes.
pub fn fold_in<P: Projection>(projection: &P, events: &[Recorded], sizes: Vec<usize>) -> BTreeMap<P::Key, P::View> {
    let store = MemoryViews::<P>::default();
    let feed = ListFeed::of(events.to_vec(), sizes);
    let progress = run(catch_up(projection, &feed, &store, None)).unwrap();
    assert_eq!(progress.position, events.len() as u64);
    store.all()
}

/// The views after these events, in batches of a thousand as the worker asks for them.
pub fn fold<P: Projection>(projection: &P, events: &[Recorded]) -> BTreeMap<P::Key, P::View> {
    fold_in(projection, events, vec![1000])
}

/// Whether a document holds no floating-point number anywhere.
pub fn has_whole_numbers_only(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(number) => number.is_u64() || number.is_i64(),
        serde_json::Value::Array(values) => values.iter().all(has_whole_numbers_only),
        serde_json::Value::Object(fields) => fields.values().all(has_whole_numbers_only),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::String(_) => true,
    }
}
