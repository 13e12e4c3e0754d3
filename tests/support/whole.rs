//! The whole of a log, read through its port: what is not as it should be is counted, whatever happened to it.

use std::collections::{HashMap, HashSet};

use testledger::event_store::subscription::{Subscription, read_each};
use testledger::event_store::{EventLog, RawCommit, StoreError};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, StreamId};
use testledger_schemas::page::{Page, PageEntry};

/// How many stored documents are read at once.
const AT_ONCE: usize = 1_000;

/// The log as it is.
#[derive(Default)]
pub struct Whole {
    /// The hash of each commit that has a place.
    pub places: HashMap<CommitId, Hash>,
    /// The commits with places, in their order.
    pub order: Vec<CommitId>,
    pub stored: usize,
    /// Documents whose keys are no commit's.
    pub foreign: usize,
    pub unplaced: usize,
    pub changed: usize,
    pub doubled: usize,
    pub flagged: usize,
    pub broken_pages: usize,
    /// Pages of a backfill that have commits, and those that close one.
    pub backfill_pages: usize,
    pub closing_pages: usize,
    pub positions: u64,
    pub events: u64,
}

/// Reads everything and counts what is not as it should be.
///
/// # Errors
/// [`StoreError`] where the store does not answer.
pub async fn whole(log: &dyn EventLog) -> Result<Whole, StoreError> {
    let mut reading = Reading::default();
    let mut pages = Subscription::from_page(log, 0);
    while let Some(page) = pages.next(log).await? {
        reading.page(&page);
        let ids: Vec<CommitId> = page.entries.iter().map(|entry| entry.commit).collect();
        for (entry, commit) in page.entries.iter().zip(read_each(log, &ids).await?) {
            reading.entry(entry, commit.ok().flatten().as_ref());
        }
    }
    let mut after = None;
    loop {
        let rows = log.scan_commits(after, AT_ONCE).await?;
        let last = rows.iter().rev().find_map(|row| row.id.parse().ok());
        let is_end = rows.len() < AT_ONCE;
        rows.iter().for_each(|row| reading.row(row));
        if is_end {
            return Ok(reading.whole);
        }
        after = Some(last.expect("so many foreign documents are not made here"));
    }
}

#[derive(Default)]
struct Reading {
    whole: Whole,
    end: Option<(u64, Hash, u64)>,
    heads: HashMap<StreamId, StreamHead>,
    events: HashSet<EventId>,
}

impl Reading {
    fn page(&mut self, page: &Page) {
        let due = self.end.map_or(0, |(number, ..)| number + 1);
        let chained =
            self.end.is_none_or(|(_, hash, position)| (hash, position) == (page.prev_hash, page.first_position));
        let sound = page.number == due && page.hash == page.computed_hash() && chained;
        let whole = &mut self.whole;
        whole.broken_pages += usize::from(!sound);
        whole.closing_pages += usize::from(page.backfill && page.token.is_some());
        whole.backfill_pages += usize::from(page.backfill && page.token.is_none());
        whole.positions = page.last_position();
        self.end = Some((page.number, page.hash, page.next_position()));
    }

    fn entry(&mut self, entry: &PageEntry, commit: Option<&Commit>) {
        let whole = &mut self.whole;
        whole.order.push(entry.commit);
        whole.flagged += usize::from(entry.fault.is_some());
        whole.doubled += usize::from(whole.places.insert(entry.commit, entry.hash).is_some());
        let Some(commit) = commit else {
            whole.changed += 1;
            return;
        };
        let head = self.heads.get(&entry.commit.stream).copied().unwrap_or(StreamHead::EMPTY);
        let follows = (commit.id.number, commit.first_version, commit.prev_hash)
            == (head.number + 1, head.version + 1, head.hash);
        let same = commit.check().is_ok() && commit.hash == entry.hash && commit.events.len() as u64 == entry.events;
        whole.changed += usize::from(!(follows && same));
        self.heads.insert(commit.id.stream, commit.head());
        whole.events += commit.events.len() as u64;
        whole.doubled += commit.events.iter().filter(|event| !self.events.insert(event.event_id)).count();
    }

    fn row(&mut self, row: &RawCommit) {
        let Ok(id) = row.id.parse::<CommitId>() else {
            self.whole.foreign += 1;
            return;
        };
        self.whole.stored += 1;
        self.whole.unplaced += usize::from(!self.whole.places.contains_key(&id));
        self.whole.changed += usize::from(row.commit.is_err());
    }
}
