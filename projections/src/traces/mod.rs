//! The projection `traces`: every step of an execution, every case of a suite, in full; embedded while they are few, in
//! partitions from then on.
//!
//! A trace has one *head* ([`TraceHead`]). Up to a threshold of items it holds them itself; above it they are in
//! *partitions* of fifty ([`TracePartition`]), and the change from the one to the other happens in the fold, in the
//! middle of an execution. Item `n` is in partition `n / 50`, always: no index is needed to find it, and the head stays
//! as small at the 100,000th item as at the 51st. [`page`] reads both ways alike.
//!
//! An event comes to the head, which knows the numbers; the head tells the partition. So an event touches the head and
//! the one partition (or, of a report, the few) that it is about. Erasure is as direct: an index says which partitions
//! have texts of a commit.
//!
//! The items of a suite are its cases. The head of the suite gives each case its place when it is requested, and tells
//! it; from then on the case tells the suite what changed.

mod around;
mod build;

mod facts;
mod fold;
mod head;
mod item;
mod key;
mod place;
mod reader;
mod view;

use testledger_schemas::{Event, EventId};

use crate::projection::{Projection, Recorded};

pub use around::{HookTrace, MAX_SURROUNDINGS, ServiceTrace, Surrounding};
pub use facts::{Excerpt, FailedStep, InputTexts, ItemArtifact, OutputTexts, Told, UsageTotals};
pub use head::{AttemptTrace, MAX_ATTEMPTS, OpenStep, RequestTexts, TraceHead};
pub use item::{CaseFacts, ItemChange, ItemEnd, ItemKind, MAX_ITEM_ARTIFACTS, TraceItem};
pub use key::TraceKey;
pub use reader::{MAX_PAGE_ITEMS, PartitionMissing, TracePage, page, partitions_for};
pub use view::{
    CommitTexts, EMBEDDING_THRESHOLD, ITEMS_PER_PARTITION, MAX_DOCUMENT_BYTES, MAX_ITEM_BYTES, Span, TextIndex,
    TracePartition, TraceView,
};

/// The fold of traces.
#[derive(Clone, Copy, Debug)]
pub struct Traces {
    threshold: u64,
}

impl Default for Traces {
    fn default() -> Self {
        Self { threshold: EMBEDDING_THRESHOLD }
    }
}

impl Traces {
    /// Traces that embed at most so many items, and never more than [`EMBEDDING_THRESHOLD`]: that many are sure to fit
    /// into a document. A trace that went to partitions stays there whatever the threshold is later.
    #[must_use]
    pub fn with_threshold(items: u64) -> Self {
        Self { threshold: items.min(EMBEDDING_THRESHOLD) }
    }
}

/// What the documents of traces tell each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TraceEcho {
    /// To a partition: these items are yours.
    Items(Vec<TraceItem>),
    /// To a partition: an item of yours changed. To the head of a suite: so did this case.
    Change {
        /// The number of the item.
        index: u64,
        /// What changed.
        change: ItemChange,
    },
    /// To the head of a suite: a case cost this on top of what it had cost.
    Usage(UsageTotals),
    /// To the head of a case: its place in the trace of its suite.
    Placed(u64),
    /// To the index: these items have texts of this commit.
    Remember(CommitTexts),
    /// To the index: the texts of an event were erased, find them.
    FindTexts {
        /// The number of the event's commit.
        commit: u64,
        /// The event.
        event: EventId,
    },
    /// To a partition: the texts of this event were erased.
    Erase(EventId),
}

/// What a document has to tell others.
type Echoes = Vec<(TraceKey, TraceEcho)>;

impl Projection for Traces {
    const NAME: &'static str = "traces";
    /// 2: the threshold is in the checkpoint.
    const VERSION: u32 = 2;
    type Key = TraceKey;
    type View = TraceView;
    type Echo = TraceEcho;

    /// The request of a case comes to its suite first, so that the case knows its place.
    fn keys(&self, recorded: &Recorded) -> Vec<TraceKey> {
        let Some(execution) = recorded.stream.execution() else { return vec![] };
        let request = if let Event::ExecutionRequested(event) = &recorded.event { Some(event) } else { None };
        let parent = request.and_then(|request| request.parent_id).filter(|parent| *parent != execution);
        parent.into_iter().chain([execution]).map(TraceKey::Head).collect()
    }

    fn initial(&self, key: &TraceKey) -> TraceView {
        TraceView::initial(key)
    }

    fn setting(&self) -> u64 {
        self.threshold
    }

    fn as_set(&self, setting: u64) -> Self {
        Self::with_threshold(setting)
    }

    fn weight(&self, view: &TraceView) -> usize {
        view.weight()
    }

    fn apply(&self, key: &TraceKey, view: &mut TraceView, recorded: &Recorded) -> Echoes {
        let TraceView::Head(head) = view else { return vec![] };
        if recorded.stream.execution() == Some(key.execution()) {
            return fold::apply(head, recorded, self.threshold);
        }
        let Event::ExecutionRequested(event) = &recorded.event else { return vec![] };
        fold::case_requested(head, event, recorded, self.threshold)
    }

    fn hear(&self, view: &mut TraceView, echo: &TraceEcho, position: u64) -> Echoes {
        match view {
            TraceView::Head(head) => hear_as_head(head, echo, position),
            TraceView::Partition(partition) => hear_as_partition(partition, echo, position),
            TraceView::TextIndex(index) => hear_as_index(index, echo),
        }
    }
}

fn hear_as_head(head: &mut TraceHead, echo: &TraceEcho, position: u64) -> Echoes {
    let mut echoes = vec![];
    match echo {
        TraceEcho::Placed(index) => head.place = Some(*index),
        TraceEcho::Usage(added) => head.resource_usage.add(added),
        TraceEcho::Change { index, change } => head.change(*index, change.clone(), &mut echoes),
        TraceEcho::Items(_) | TraceEcho::Remember(_) | TraceEcho::FindTexts { .. } | TraceEcho::Erase(_) => {}
    }
    head.last_position = position;
    echoes
}

fn hear_as_partition(partition: &mut TracePartition, echo: &TraceEcho, position: u64) -> Echoes {
    match echo {
        TraceEcho::Items(items) => partition.put(items),
        TraceEcho::Change { index, change } => partition.change(*index, change),
        TraceEcho::Erase(event) => partition.erase(*event),
        TraceEcho::Usage(_) | TraceEcho::Placed(_) | TraceEcho::Remember(_) | TraceEcho::FindTexts { .. } => {}
    }
    partition.last_position = position;
    vec![]
}

fn hear_as_index(index: &mut TextIndex, echo: &TraceEcho) -> Echoes {
    match echo {
        TraceEcho::Remember(texts) => index.remember(texts),
        TraceEcho::FindTexts { commit, event } => {
            return index.partitions(*commit).into_iter().map(|key| (key, TraceEcho::Erase(*event))).collect();
        }
        TraceEcho::Items(_)
        | TraceEcho::Change { .. }
        | TraceEcho::Usage(_)
        | TraceEcho::Placed(_)
        | TraceEcho::Erase(_) => {}
    }
    vec![]
}
