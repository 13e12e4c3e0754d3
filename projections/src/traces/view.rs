//! The documents of a trace: its head, the partitions of its items, the index of its texts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::ExecutionId;

use super::head::TraceHead;
use super::item::TraceItem;
use super::key::TraceKey;

/// How many items a trace may have in its head, unless a setting says less.
pub const EMBEDDING_THRESHOLD: u64 = 50;
/// How many items a partition holds.
pub const ITEMS_PER_PARTITION: u64 = 50;
/// The most an item has as JSON: fifty of them fit into a document together with a head.
///
/// Sizes decide nothing in this fold, because erasure changes them: a document that were split by its size would be
/// split elsewhere when the log is folded anew. So each item is bounded, and with it every document.
pub const MAX_ITEM_BYTES: usize = 8 << 10;
/// The most a document has: 512 KiB.
pub const MAX_DOCUMENT_BYTES: usize = 512 << 10;
/// About the most that a document has beside its items; a head with all the attempts and surroundings it can list has
/// several times that.
const HEAD_BYTES: usize = 4 << 10;
/// The most that an index has for a commit.
const COMMIT_BYTES: usize = 128;
/// The commits of how many numbers share an index of texts.
pub(super) const COMMITS_PER_INDEX: u64 = 200;

/// One document of a trace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TraceView {
    /// The head.
    Head(Box<TraceHead>),
    /// Fifty of the items.
    Partition(TracePartition),
    /// Where texts went.
    TextIndex(TextIndex),
}

/// Up to fifty items of a trace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TracePartition {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The number of this partition, from 0.
    pub number: u64,
    /// The items, in order.
    pub items: Vec<TraceItem>,
    /// The position of the last event that changed this document.
    pub last_position: u64,
}

/// Where the texts of some commits of an execution went. Only a trace in partitions has one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TextIndex {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The number of this index, from 0.
    pub number: u64,
    /// One entry for each commit that had texts for items.
    pub commits: Vec<CommitTexts>,
}

/// Which items have texts of one commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CommitTexts {
    /// The number of the commit in the stream of the execution.
    pub commit: u64,
    /// Items that were new with it.
    pub added: Option<Span>,
    /// Items that were there and changed with it.
    pub changed: Option<Span>,
}

/// Items from `first` to `last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
}

impl TraceView {
    /// The document before the first event that concerns it.
    pub(super) fn initial(key: &TraceKey) -> Self {
        match *key {
            TraceKey::Head(execution_id) => Self::Head(Box::new(TraceHead::initial(execution_id))),
            TraceKey::Partition(execution_id, number) => {
                Self::Partition(TracePartition { execution_id, number, items: vec![], last_position: 0 })
            }
            TraceKey::TextIndex(execution_id, number) => {
                Self::TextIndex(TextIndex { execution_id, number, commits: vec![] })
            }
        }
    }

    /// About how many bytes it has at the most.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Head(head) => HEAD_BYTES + head.embedded_steps.len() * MAX_ITEM_BYTES,
            Self::Partition(partition) => HEAD_BYTES + partition.items.len() * MAX_ITEM_BYTES,
            Self::TextIndex(index) => HEAD_BYTES + index.commits.len() * COMMIT_BYTES,
        }
    }

    /// The head, if this is one.
    #[must_use]
    pub fn head(&self) -> Option<&TraceHead> {
        match self {
            Self::Head(head) => Some(head),
            Self::Partition(_) | Self::TextIndex(_) => None,
        }
    }

    /// The partition, if this is one.
    #[must_use]
    pub fn partition(&self) -> Option<&TracePartition> {
        match self {
            Self::Partition(partition) => Some(partition),
            Self::Head(_) | Self::TextIndex(_) => None,
        }
    }
}
