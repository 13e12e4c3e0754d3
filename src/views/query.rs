//! What may be asked of the executions' views, whatever store they are in.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::ports::{ManagedStore, ViewStoreError};
use testledger_schemas::event::ExecutionKind;
use testledger_schemas::ids::{ExecutionId, InvalidId};
use testledger_schemas::{ExecutionStatus, Timestamp};

/// How many characters of an id are enough to look for it.
pub const MIN_PREFIX: usize = 8;
/// How many executions a page of a list has, unless told otherwise.
pub const DEFAULT_LIMIT: usize = 50;
/// How many it has at the most.
pub const MAX_LIMIT: usize = 1_000;

/// The kind as stores hold it.
pub(super) fn kind_text(kind: ExecutionKind) -> &'static str {
    match kind {
        ExecutionKind::Case => "CASE",
        ExecutionKind::Suite => "SUITE",
    }
}

/// Which executions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecutionFilter {
    /// Only these statuses; empty is all.
    pub statuses: Vec<ExecutionStatus>,
    /// Only suites, or only cases.
    pub kind: Option<ExecutionKind>,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those of this suite (its id).
    pub suite: Option<String>,
    /// Only those that belong to no suite execution.
    pub roots_only: bool,
    /// At most so many; held within [`MAX_LIMIT`].
    pub limit: usize,
    /// Only those that come after this place in the list.
    pub before: Option<Cursor>,
}

impl Default for ExecutionFilter {
    fn default() -> Self {
        Self {
            statuses: vec![],
            kind: None,
            tag: None,
            suite: None,
            roots_only: false,
            limit: DEFAULT_LIMIT,
            before: None,
        }
    }
}

impl ExecutionFilter {
    /// Whether the filter lets an execution through. The cursor and the limit aside.
    #[must_use]
    pub fn accepts(&self, view: &ExecutionView) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&view.status))
            && self.kind.is_none_or(|kind| kind == view.kind)
            && self.tag.as_ref().is_none_or(|tag| view.tags.contains(tag))
            && self.suite.as_ref().is_none_or(|suite| *suite == view.suite)
            && !(self.roots_only && view.parent_id.is_some())
    }
}

/// A place in the list of executions: latest request first, then by id. Written `MILLISECONDS:ID`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cursor {
    /// When that execution was asked for.
    pub requested_at: Timestamp,
    /// That execution.
    pub id: ExecutionId,
}

impl Cursor {
    /// The place of an execution.
    #[must_use]
    pub fn of(view: &ExecutionView) -> Self {
        Self { requested_at: view.requested_at.unwrap_or_default(), id: view.id }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.requested_at.unix_ms(), self.id)
    }
}

impl FromStr for Cursor {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let read = || {
            let (at, id) = text.split_once(':')?;
            Some(Self { requested_at: Timestamp::from_unix_ms(at.parse().ok()?), id: id.parse().ok()? })
        };
        read().ok_or_else(|| InvalidId { text: text.to_owned(), expected: "a place in the list, as `next` gives it" })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One page of the list of executions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ExecutionPage {
    /// The executions, the latest request first.
    pub executions: Vec<ExecutionView>,
    /// Where the next page begins (`--before`); none at the end.
    #[schemars(with = "Option<String>")]
    pub next: Option<Cursor>,
}

impl ExecutionPage {
    /// A page of at most `limit` out of one more, which tells whether there is a next one.
    pub(super) fn cut(mut executions: Vec<ExecutionView>, limit: usize) -> Self {
        let is_more = executions.len() > limit;
        executions.truncate(limit);
        let next = executions.last().filter(|_| is_more).map(Cursor::of);
        Self { executions, next }
    }
}

/// Questions about the executions' views.
#[async_trait]
pub trait ExecutionQueries: Send + Sync {
    /// Executions that a filter lets through, the latest request first.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn list(&self, filter: &ExecutionFilter) -> Result<ExecutionPage, ViewStoreError>;

    /// The view of one execution.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn get(&self, id: ExecutionId) -> Result<Option<ExecutionView>, ViewStoreError>;

    /// The views of a suite's cases, in the order of their requests, at most `limit`.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn children(&self, id: ExecutionId, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError>;

    /// Executions whose id begins with this text (lower case), at most `limit`.
    ///
    /// # Errors
    /// [`ViewStoreError`].
    async fn by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError>;
}

/// A store that keeps the executions' views and answers questions about them.
pub trait ExecutionStore: ManagedStore<Executions> + ExecutionQueries + 'static {}

impl<T: ManagedStore<Executions> + ExecutionQueries + 'static> ExecutionStore for T {}
