//! The traces: where they are kept, how they are brought up to date, and how one is read, page by page.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{ViewStore, ViewStoreError};
use testledger_projections::traces::{
    MAX_PAGE_ITEMS, TraceHead, TraceItem, TraceKey, TracePage, TraceView, Traces, page, partitions_for,
};
use testledger_projections::worker::{self, CatchUpError, Progress};
use testledger_schemas::ids::ExecutionId;
use testledger_schemas::{ExecutionStatus, StepOutcome};

use crate::event_store::SharedLog;
use crate::views::feed::LogFeed;
use crate::views::mongodb::{Database, MongoViews};
use crate::views::sqlite::SqliteViews;

/// How many items are read of a trace, unless told otherwise.
pub const DEFAULT_ITEMS: u64 = MAX_PAGE_ITEMS;
/// How many items are read of a trace at the most: 40 MB, if each were as large as it may be.
pub const MAX_ITEMS: u64 = 5_000;
/// How often a page is read again, because its documents changed between two reads.
const MAX_READS: usize = 5;

/// Which items of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceQuery {
    /// The number of the first item to look at, from 0.
    pub from: u64,
    /// At most so many; held within [`MAX_ITEMS`].
    pub limit: u64,
    /// Only those that failed.
    pub failed_only: bool,
}

impl Default for TraceQuery {
    fn default() -> Self {
        Self { from: 0, limit: DEFAULT_ITEMS, failed_only: false }
    }
}

/// A piece of a trace: the output of `trace --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct TraceShow {
    /// What the trace is of, and its figures. Its `embedded_steps` are empty here: items stand in `items` alone.
    pub trace: TraceHead,
    /// The items asked for, in order.
    pub items: Vec<TraceItem>,
    /// Where to go on (`--from`); null at the end.
    pub next: Option<u64>,
}

/// Whether something went wrong with an item: a step that did not pass for a reason of its own or was lost, a case that
/// failed or ran out of time. What was cancelled or not run did not fail.
#[must_use]
pub fn is_failed(item: &TraceItem) -> bool {
    let step = item.outcome().is_some_and(|outcome| match outcome {
        StepOutcome::Failed | StepOutcome::Error | StepOutcome::Timeout | StepOutcome::Interrupted => true,
        StepOutcome::Passed | StepOutcome::Cancelled | StepOutcome::Skipped | StepOutcome::Blocked => false,
    });
    step || item.case.as_ref().is_some_and(|case| match case.status {
        ExecutionStatus::Failed | ExecutionStatus::Timeout => true,
        ExecutionStatus::Pending
        | ExecutionStatus::Running
        | ExecutionStatus::Passed
        | ExecutionStatus::Cancelled
        | ExecutionStatus::Retrying
        | ExecutionStatus::Aborted => false,
    })
}

/// The traces of one log.
#[derive(Clone)]
pub struct TraceViews {
    feed: LogFeed,
    store: Arc<dyn ViewStore<Traces>>,
    /// The fold, as it is set.
    set: Traces,
}

impl TraceViews {
    /// Traces beside a log in SQLite, in the same file.
    ///
    /// # Errors
    /// [`ViewStoreError`] where the file cannot be opened or its table not be made.
    pub async fn sqlite(log: SharedLog, path: &Path) -> Result<Self, ViewStoreError> {
        Ok(Self::over(log, SqliteViews::<Traces>::open(path).await?))
    }

    /// Traces beside a log in MongoDB, in the same database.
    ///
    /// # Errors
    /// [`ViewStoreError`] where the database cannot be reached or its collections not be made.
    pub async fn mongodb(log: SharedLog, database: &Database) -> Result<Self, ViewStoreError> {
        Ok(Self::over(log, MongoViews::<Traces>::open(database).await?))
    }

    /// Traces in memory.
    #[must_use]
    pub fn memory(log: SharedLog) -> Self {
        Self::over(log, Arc::new(MemoryViews::<Traces>::default()))
    }

    /// Traces in any store.
    #[must_use]
    pub fn over(log: SharedLog, store: Arc<dyn ViewStore<Traces>>) -> Self {
        Self { feed: LogFeed::new(log), store, set: Traces::default() }
    }

    /// The same, where traces that are begun from now on embed so many items.
    #[must_use]
    pub fn with_threshold(self, items: u64) -> Self {
        Self { set: Traces::with_threshold(items), ..self }
    }

    /// Brings the traces up to the end of the log as it is now. Where an event cannot be read they stay before it, and
    /// [`Progress::paused`] says so.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn catch_up(&self) -> Result<Progress, CatchUpError> {
        worker::catch_up(&self.set, &self.feed, &*self.store, None).await
    }

    /// Takes erased text out of what is stored, where anything is: traces hear of the erasure, and what traces of another
    /// version left behind is thrown away.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn follow_erasure(&self) -> Result<(), CatchUpError> {
        if self.store.checkpoint().await?.position == 0 {
            return Ok(self.store.reset().await?);
        }
        self.catch_up().await.map(|_| ())
    }

    /// A piece of the trace of an execution; none where there is no trace of it.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn read(&self, id: ExecutionId, query: &TraceQuery) -> Result<Option<TraceShow>, ViewStoreError> {
        let limit = query.limit.min(MAX_ITEMS);
        let (mut items, mut from): (Vec<TraceItem>, u64) = (vec![], query.from);
        loop {
            let left = limit.saturating_sub(items.len() as u64);
            // Those that failed are few among many: whole pages are looked through for them.
            let wanted = if query.failed_only { MAX_PAGE_ITEMS } else { left };
            let Some((head, page)) = self.page(id, from, wanted).await? else { return Ok(None) };
            let mut found = page.items.into_iter().filter(|item| !query.failed_only || is_failed(item)).peekable();
            items.extend(found.by_ref().take(usize::try_from(left).unwrap_or(usize::MAX)));
            let next = found.peek().map(|item| item.index).or(page.next);
            let is_full = items.len() as u64 >= limit;
            match next {
                Some(next) if !is_full => from = next,
                Some(_) | None => return Ok(Some(TraceShow { trace: bare(head), items, next })),
            }
        }
    }

    /// A page of items with the head that they belong to, of one state of the store.
    async fn page(
        &self,
        id: ExecutionId,
        from: u64,
        limit: u64,
    ) -> Result<Option<(TraceHead, TracePage)>, ViewStoreError> {
        let mut keys = vec![TraceKey::Head(id)];
        let mut missing = None;
        for _ in 0..MAX_READS {
            let mut views = self.store.load(&keys).await?.into_iter().flatten();
            let Some(TraceView::Head(head)) = views.next() else { return Ok(None) };
            let partitions: Vec<_> = views.filter_map(partition).collect();
            match page(&head, &partitions, from, limit) {
                Ok(page) => return Ok(Some((*head, page))),
                // The first read has the head alone; a later one, if the trace grew in between.
                Err(error) => missing = Some(error),
            }
            keys.truncate(1);
            keys.extend(partitions_for(&head, from, limit));
        }
        Err(ViewStoreError::Unreadable(missing.map(|error| error.to_string()).unwrap_or_default()))
    }
}

fn partition(view: TraceView) -> Option<testledger_projections::traces::TracePartition> {
    match view {
        TraceView::Partition(partition) => Some(partition),
        TraceView::Head(_) | TraceView::TextIndex(_) => None,
    }
}

fn bare(head: TraceHead) -> TraceHead {
    TraceHead { embedded_steps: vec![], ..head }
}
