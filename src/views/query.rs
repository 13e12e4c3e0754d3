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
use testledger_schemas::plan::CaseType;
use testledger_schemas::{ExecutionStatus, Timestamp};

use crate::views::words;

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

/// How a case is carried out, as stores hold it: as views do.
pub(super) fn type_text(case_type: CaseType) -> &'static str {
    match case_type {
        CaseType::Generic => "generic",
        CaseType::Bdd => "bdd",
        CaseType::Manual => "manual",
    }
}

/// In which order executions are listed. Equal ones stand in the order of their ids, in the same direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// The latest request first.
    #[default]
    Newest,
    /// The first request first.
    Oldest,
    /// The longest running time first, of all attempts that are over.
    Slowest,
    /// The shortest running time first.
    Fastest,
}

impl Order {
    /// All of them, by their names.
    pub const ALL: [(&str, Self); 4] =
        [("newest", Self::Newest), ("oldest", Self::Oldest), ("slowest", Self::Slowest), ("fastest", Self::Fastest)];

    /// Whether what is largest comes first.
    #[must_use]
    pub fn is_descending(self) -> bool {
        matches!(self, Self::Newest | Self::Slowest)
    }

    /// Whether it is an order by running time.
    #[must_use]
    pub fn is_by_duration(self) -> bool {
        matches!(self, Self::Slowest | Self::Fastest)
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found
            .map(|(_, order)| order)
            .ok_or_else(|| format!("write one of {}", Self::ALL.map(|(name, _)| name).join(", ")))
    }
}

/// Which executions, in which order. Without anything: all of them, the newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecutionFilter {
    /// Only these statuses; empty is all.
    pub statuses: Vec<ExecutionStatus>,
    /// Only suites, or only cases.
    pub kind: Option<ExecutionKind>,
    /// Only cases that are carried out so.
    pub case_type: Option<CaseType>,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those of this suite (its id).
    pub suite: Option<String>,
    /// Only those that tested this revision (the whole commit id).
    pub revision: Option<String>,
    /// Only those that this one asked for.
    pub actor: Option<String>,
    /// Only those with all of these words, as [`words::in_text`] gives them.
    pub words: Vec<String>,
    /// Only those that were asked for at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that were asked for before this time.
    pub until: Option<Timestamp>,
    /// Only those whose attempts took so long together at least, in milliseconds.
    pub min_duration_ms: Option<u64>,
    /// Only those whose attempts took so long together at the most.
    pub max_duration_ms: Option<u64>,
    /// Only those that belong to no suite execution.
    pub roots_only: bool,
    /// In which order.
    pub order: Order,
    /// At most so many; held within [`MAX_LIMIT`].
    pub limit: usize,
    /// Only those that come after this place in the list.
    pub after: Option<Cursor>,
}

impl Default for ExecutionFilter {
    fn default() -> Self {
        Self {
            statuses: vec![],
            kind: None,
            case_type: None,
            tag: None,
            suite: None,
            revision: None,
            actor: None,
            words: vec![],
            since: None,
            until: None,
            min_duration_ms: None,
            max_duration_ms: None,
            roots_only: false,
            order: Order::default(),
            limit: DEFAULT_LIMIT,
            after: None,
        }
    }
}

impl ExecutionFilter {
    /// Whether the filter lets an execution through. The cursor and the limit aside.
    #[must_use]
    pub fn accepts(&self, view: &ExecutionView) -> bool {
        let at = view.requested_at.unwrap_or_default();
        let took = view.total_duration_ms;
        (self.statuses.is_empty() || self.statuses.contains(&view.status))
            && self.kind.is_none_or(|kind| kind == view.kind)
            && (self.case_type.is_none() || self.case_type == view.case_type)
            && self.tag.as_ref().is_none_or(|tag| view.tags.contains(tag))
            && self.suite.as_ref().is_none_or(|suite| *suite == view.suite)
            && (self.revision.is_none() || self.revision.as_deref() == revision_of(view))
            && self.actor.as_ref().is_none_or(|actor| *actor == view.actor)
            && (self.words.is_empty() || self.words.iter().all(|word| words::of(view).contains(word)))
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && self.min_duration_ms.is_none_or(|least| took >= least)
            && self.max_duration_ms.is_none_or(|most| took <= most)
            && !(self.roots_only && view.parent_id.is_some())
    }

    /// How many executions a store looks for: one more than asked for tells whether there is a next page.
    pub(super) fn wanted(&self) -> usize {
        self.limit.min(MAX_LIMIT) + 1
    }
}

/// The revision that was tested, where it is known.
pub(super) fn revision_of(view: &ExecutionView) -> Option<&str> {
    view.revision.as_ref().map(|revision| revision.commit.as_str())
}

/// A place in a list of executions: by what the list is ordered, then by id. Written `MILLISECONDS:ID`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cursor {
    /// When that execution was asked for, in milliseconds since 1970; or how long it took.
    pub ms: i64,
    /// That execution.
    pub id: ExecutionId,
}

impl Cursor {
    /// The place of an execution in a list of this order.
    #[must_use]
    pub fn of(view: &ExecutionView, order: Order) -> Self {
        let ms = if order.is_by_duration() { took(view) } else { view.requested_at.unwrap_or_default().unix_ms() };
        Self { ms, id: view.id }
    }

    /// Whether this place comes after another one in a list of this order.
    #[must_use]
    pub fn is_after(self, other: Self, order: Order) -> bool {
        if order.is_descending() { self < other } else { self > other }
    }
}

/// The running time of an execution, as stores hold it.
pub(super) fn took(view: &ExecutionView) -> i64 {
    whole(view.total_duration_ms)
}

/// A number of milliseconds as stores hold it.
pub(super) fn whole(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ms, self.id)
    }
}

impl FromStr for Cursor {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let read = || {
            let (ms, id) = text.split_once(':')?;
            Some(Self { ms: ms.parse().ok()?, id: id.parse().ok()? })
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
    /// The executions, in the order asked for.
    pub executions: Vec<ExecutionView>,
    /// Where the next page begins (`--after`, with the same order); none at the end.
    #[schemars(with = "Option<String>")]
    pub next: Option<Cursor>,
}

impl ExecutionPage {
    /// A page out of [`ExecutionFilter::wanted`] executions.
    pub(super) fn cut(mut executions: Vec<ExecutionView>, filter: &ExecutionFilter) -> Self {
        let is_more = executions.len() == filter.wanted();
        executions.truncate(filter.wanted() - 1);
        let next = executions.last().filter(|_| is_more).map(|last| Cursor::of(last, filter.order));
        Self { executions, next }
    }
}

/// Questions about the executions' views.
#[async_trait]
pub trait ExecutionQueries: Send + Sync {
    /// Executions that a filter lets through, in its order.
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
