//! The one reader of items: pages, the same whether the items are in the head or in partitions.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::ExecutionId;

use super::head::TraceHead;
use super::item::TraceItem;
use super::key::TraceKey;
use super::view::{ITEMS_PER_PARTITION, TracePartition};

/// The most items of a page.
pub const MAX_PAGE_ITEMS: u64 = 500;

/// A page of items.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TracePage {
    /// The items, in order.
    pub items: Vec<TraceItem>,
    /// The number of the first item after this page; none at the end.
    pub next: Option<u64>,
    /// How many items the trace has.
    pub step_count: u64,
}

/// A partition that the head knows of was not given, or is older than the head.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("partition {number} of the trace of {execution} is missing, or older than its head")]
pub struct PartitionMissing {
    /// Whose trace.
    pub execution: ExecutionId,
    /// The number of the partition, from 0.
    pub number: u64,
}

/// The numbers of the items of a page that begins at item `from`: at most [`MAX_PAGE_ITEMS`], and none beyond the end.
fn range(head: &TraceHead, from: u64, limit: u64) -> Range<u64> {
    let begin = from.min(head.step_count);
    begin..begin.saturating_add(limit.min(MAX_PAGE_ITEMS)).min(head.step_count)
}

/// The partitions that [`page`] needs for the same page, in order; none while the items are in the head.
#[must_use]
pub fn partitions_for(head: &TraceHead, from: u64, limit: u64) -> Vec<TraceKey> {
    let range = range(head, from, limit);
    if head.use_embedded_steps || range.is_empty() {
        return vec![];
    }
    let numbers = range.start / ITEMS_PER_PARTITION..=(range.end - 1) / ITEMS_PER_PARTITION;
    numbers.map(|number| TraceKey::Partition(head.execution_id, number)).collect()
}

/// The items from number `from` on, at most `limit` (and [`MAX_PAGE_ITEMS`]). Pure: `partitions` are those that
/// [`partitions_for`] names, in any order; others are passed over.
///
/// # Errors
/// [`PartitionMissing`]: the documents were not read as of one checkpoint. Read them again.
pub fn page(
    head: &TraceHead,
    partitions: &[TracePartition],
    from: u64,
    limit: u64,
) -> Result<TracePage, PartitionMissing> {
    let range = range(head, from, limit);
    let next = Some(range.end).filter(|end| *end < head.step_count);
    let items = if head.use_embedded_steps {
        within(&head.embedded_steps, range).cloned().collect()
    } else {
        from_partitions(head, partitions, &range)?
    };
    Ok(TracePage { items, next, step_count: head.step_count })
}

fn from_partitions(
    head: &TraceHead,
    partitions: &[TracePartition],
    range: &Range<u64>,
) -> Result<Vec<TraceItem>, PartitionMissing> {
    let mut items: Vec<TraceItem> = vec![];
    let mut index = range.start;
    while index < range.end {
        let number = index / ITEMS_PER_PARTITION;
        let end = ((number + 1) * ITEMS_PER_PARTITION).min(range.end);
        let found = partitions.iter().find(|it| it.execution_id == head.execution_id && it.number == number);
        let part: Vec<&TraceItem> = found.map(|it| within(&it.items, index..end).collect()).unwrap_or_default();
        if part.len() as u64 != end - index {
            return Err(PartitionMissing { execution: head.execution_id, number });
        }
        items.extend(part.into_iter().cloned());
        index = end;
    }
    Ok(items)
}

fn within(items: &[TraceItem], range: Range<u64>) -> impl Iterator<Item = &TraceItem> {
    items.iter().filter(move |item| range.contains(&item.index))
}
