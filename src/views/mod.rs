//! The views: where they are kept, how they are brought up to date, and what may be asked of them.
//!
//! [`Views`] is what the rest of the program uses: it takes the executions' views from their checkpoint to the end of
//! the log, and answers questions about them.

pub mod compare;
pub mod events;
pub mod feed;
mod fit;
pub mod flaky;
pub mod flaky_text;
pub mod list;
mod memory;
pub mod mongodb;
pub mod open;
pub mod phrase;
pub mod projections;
pub mod projections_text;
pub mod query;
pub mod replay;
pub mod show;
pub mod show_text;
mod slot;
pub mod sqlite;
pub mod steps;
pub mod trace_text;
pub mod traces;
pub mod words;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{Feed, ViewStoreError};
use testledger_projections::worker::{self, CatchUpError, Progress};
use testledger_schemas::ids::{ExecutionId, StepKey};
use tokio::time::Instant;

use crate::event_store::{SharedLog, StoreError};
use crate::views::feed::LogFeed;
use crate::views::mongodb::{Database, MongoViews};
use crate::views::query::{ExecutionFilter, ExecutionPage, ExecutionStore, MIN_PREFIX};
use crate::views::sqlite::SqliteViews;

/// The wait between two looks at views that somebody has to let go on.
const STOPPED: Duration = Duration::from_millis(100);
/// How many matches an ambiguous prefix lists.
const MAX_MATCHES: usize = 5;

/// Why a question about the views has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The views could not be read or written.
    #[error(transparent)]
    Views(#[from] ViewStoreError),
    /// The views could not be brought up to date.
    #[error(transparent)]
    CatchUp(#[from] CatchUpError),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// No execution has this id, or an id that begins so.
    #[error("no execution `{0}`: `testledger executions list` shows those that are there")]
    NoSuchExecution(String),
    /// More than one execution has an id that begins so.
    #[error("`{prefix}` begins the id of more than one execution: {}", list_ids(.matches))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// Some of the executions.
        matches: Vec<ExecutionId>,
    },
    /// What was given cannot be the beginning of an id.
    #[error("`{0}` is not the id of an execution: give it whole, or its first {MIN_PREFIX} characters or more")]
    NotAnId(String),
    /// Nothing was seen of such a step, or it is not written as one.
    #[error(
        "no step `{0}`: give the beginning of its key ({MIN_PREFIX} characters or more) or SUITE/CASE/STEP, as \
         `testledger flaky --all` shows them"
    )]
    NoSuchStep(String),
    /// More than one step has a key that begins so.
    #[error("`{prefix}` begins the key of more than one step: {}", list_ids(.matches))]
    AmbiguousStep {
        /// What was given.
        prefix: String,
        /// Some of the steps.
        matches: Vec<StepKey>,
    },
    /// The log has not come to this position.
    #[error("the log has not come to position {position}: its last one is {head}")]
    NotThatFar {
        /// What was asked for.
        position: u64,
        /// The last position.
        head: u64,
    },
    /// The views have not come to a position in time.
    #[error("the views have come to position {reached} after {} ms, not to {position}", .patience.as_millis())]
    NotInTime {
        /// What was asked for.
        position: u64,
        /// How far they have come.
        reached: u64,
        /// How long was waited.
        patience: Duration,
    },
}

fn list_ids(ids: &[impl std::fmt::Display]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The executions' views of one log.
#[derive(Clone)]
pub struct Views {
    log: SharedLog,
    feed: LogFeed,
    store: Arc<dyn ExecutionStore>,
}

impl Views {
    /// Views beside a log in SQLite, in the same file. Open the log first: it creates the file.
    ///
    /// # Errors
    /// [`ViewStoreError`] where the file cannot be opened or its tables not be made.
    pub async fn sqlite(log: SharedLog, path: &Path) -> Result<Self, ViewStoreError> {
        Ok(Self::over(log, SqliteViews::<Executions>::open(path).await?))
    }

    /// Views beside a log in MongoDB, in the same database.
    ///
    /// # Errors
    /// [`ViewStoreError`] where the database cannot be reached or its collections not be made.
    pub async fn mongodb(log: SharedLog, database: &Database) -> Result<Self, ViewStoreError> {
        Ok(Self::over(log, MongoViews::<Executions>::open(database).await?))
    }

    /// Views in memory: begun at the start of the log whenever the process begins.
    #[must_use]
    pub fn memory(log: SharedLog) -> Self {
        Self::over(log, Arc::new(MemoryViews::<Executions>::default()))
    }

    /// Views in any store.
    #[must_use]
    pub fn over(log: SharedLog, store: Arc<dyn ExecutionStore>) -> Self {
        Self { feed: LogFeed::new(log.clone()), log, store }
    }

    /// The log they are folded from.
    #[must_use]
    pub fn log(&self) -> &SharedLog {
        &self.log
    }

    /// Brings the views up to a position (without one: to the end of the log as it is now). Where an event cannot be
    /// read, the views stay before it, and [`Progress::paused`] says so.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn catch_up(&self, until: Option<u64>) -> Result<Progress, CatchUpError> {
        worker::catch_up(&Executions, &self.feed, &*self.store, until).await
    }

    /// Brings the views up to the end of the log, again and again until they have come to this position: whoever was told
    /// of a position reads what he wrote.
    ///
    /// # Errors
    /// [`ViewError::NotInTime`] where they have not within `patience`; [`ViewError::CatchUp`].
    pub async fn reach(&self, position: u64, patience: Duration) -> Result<Progress, ViewError> {
        let deadline = Instant::now() + patience;
        loop {
            let progress = self.catch_up(None).await?;
            let reached = progress.position;
            if reached >= position {
                return Ok(progress);
            }
            let is_stopped = progress.paused.is_some() || progress.held.is_some();
            let more = async {
                if is_stopped {
                    // The log has more already: somebody has to mend the event, or to resume the projection.
                    tokio::time::sleep(STOPPED).await;
                } else {
                    self.feed.more(reached).await;
                }
            };
            if tokio::time::timeout_at(deadline, more).await.is_err() {
                return Err(ViewError::NotInTime { position, reached, patience });
            }
        }
    }

    /// Executions that a filter lets through, in its order.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn list(&self, filter: &ExecutionFilter) -> Result<ExecutionPage, ViewStoreError> {
        self.store.list(filter).await
    }

    /// The view of one execution.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn get(&self, id: ExecutionId) -> Result<Option<ExecutionView>, ViewStoreError> {
        self.store.get(id).await
    }

    /// The views of a suite's cases, in the order of their requests, at most `limit`.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    pub async fn children(&self, id: ExecutionId, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        self.store.children(id, limit).await
    }

    /// The view of the execution that a person means: its whole id, or the beginning of it where that is enough.
    ///
    /// # Errors
    /// [`ViewError::NoSuchExecution`], [`ViewError::Ambiguous`], [`ViewError::NotAnId`], or the store's.
    pub async fn resolve(&self, text: &str) -> Result<ExecutionView, ViewError> {
        let prefix = text.trim().to_ascii_lowercase();
        let is_hex = prefix.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if prefix.len() < MIN_PREFIX || !is_hex {
            return Err(ViewError::NotAnId(text.to_owned()));
        }
        let mut matches = self.store.by_prefix(&prefix, MAX_MATCHES).await?;
        match (matches.pop(), matches.is_empty()) {
            (Some(view), true) => Ok(view),
            (Some(last), false) => {
                let matches = matches.iter().chain([&last]).map(|view| view.id).collect();
                Err(ViewError::Ambiguous { prefix, matches })
            }
            (None, _) => Err(ViewError::NoSuchExecution(text.to_owned())),
        }
    }
}
