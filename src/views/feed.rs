//! The log as a feed of projections: pages in order, their commits, their events.

use async_trait::async_trait;
use testledger_projections::ports::{Batch, Checkpoint, Feed, FeedError, Poison};
use testledger_projections::projection::Recorded;
use testledger_schemas::commit::{Commit, CommitId};
use testledger_schemas::page::{Page, PageEntry};

use crate::event_store::subscription::{COMMITS_AT_ONCE, Subscription, read_each};
use crate::event_store::{EventLog, SharedLog, StoreError};

/// The events of a log for projections.
#[derive(Clone)]
pub struct LogFeed {
    log: SharedLog,
}

impl LogFeed {
    /// The events of this log.
    #[must_use]
    pub fn new(log: SharedLog) -> Self {
        Self { log }
    }
}

#[async_trait]
impl Feed for LogFeed {
    async fn head(&self) -> Result<u64, FeedError> {
        Ok(self.log.last_page().await.map_err(failed)?.last_position())
    }

    async fn read(&self, after: &Checkpoint, limit: usize) -> Result<Batch, FeedError> {
        let mut reading = Reading { log: &*self.log, batch: start(after), limit };
        let mut pages = Subscription::from_page(&*self.log, after.page);
        let mut page = pages.next(&*self.log).await.map_err(failed)?;
        check_history(after, page.as_ref())?;
        while let Some(current) = page {
            if !reading.page(&current).await? {
                break;
            }
            page = pages.next(&*self.log).await.map_err(failed)?;
        }
        Ok(reading.batch)
    }

    async fn more(&self, position: u64) {
        // Without the log there will be no more: whoever reads on is told so.
        drop(self.log.head().wait_for(|head| *head > position).await);
    }
}

fn start(after: &Checkpoint) -> Batch {
    Batch { events: vec![], reached: Checkpoint { paused: None, ..after.clone() } }
}

/// The page of the checkpoint is still the one it was.
fn check_history(after: &Checkpoint, page: Option<&Page>) -> Result<(), FeedError> {
    if after.position == 0 {
        return Ok(());
    }
    match page {
        Some(page) if page.number == after.page && page.hash == after.page_hash => Ok(()),
        Some(_) | None => Err(FeedError::OtherHistory),
    }
}

fn failed(error: StoreError) -> FeedError {
    FeedError::Failed(error.to_string())
}

struct Reading<'a> {
    log: &'a dyn EventLog,
    batch: Batch,
    limit: usize,
}

impl Reading<'_> {
    /// Takes the events of a page that are not taken yet. False when the batch is full or ends here.
    async fn page(&mut self, page: &Page) -> Result<bool, FeedError> {
        let mut position = page.first_position;
        let mut due: Vec<(&PageEntry, u64)> = Vec::new();
        for entry in &page.entries {
            // Commits are taken whole, so the checkpoint is never inside of one.
            if position > self.batch.reached.position {
                due.push((entry, position));
            }
            position = position.saturating_add(entry.events);
        }
        for chunk in due.chunks(COMMITS_AT_ONCE) {
            let ids: Vec<CommitId> = chunk.iter().map(|(entry, _)| entry.commit).collect();
            let commits = read_each(self.log, &ids).await.map_err(failed)?;
            for ((entry, position), commit) in chunk.iter().zip(commits) {
                if self.batch.events.len() >= self.limit {
                    return Ok(false);
                }
                match take(entry, *position, commit) {
                    Ok(events) => self.advance(page, events, position.saturating_add(entry.events) - 1),
                    Err(poison) => {
                        self.batch.reached.paused = Some(poison);
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn advance(&mut self, page: &Page, events: Vec<Recorded>, position: u64) {
        self.batch.events.extend(events);
        let before = std::mem::replace(&mut self.batch.reached, Checkpoint::START);
        self.batch.reached = Checkpoint { position, page: page.number, page_hash: page.hash, ..before };
    }
}

/// The events of one commit, all of them or none: where one cannot be read, the feed ends before the commit.
fn take(entry: &PageEntry, position: u64, stored: Result<Option<Commit>, String>) -> Result<Vec<Recorded>, Poison> {
    let poison = |position: u64, reason: String| Poison { position, reason };
    let stored = stored.map_err(|reason| poison(position, reason))?;
    let commit = stored.ok_or_else(|| poison(position, format!("the commit {} is missing", entry.commit)))?;
    if commit.events.len() as u64 != entry.events {
        return Err(poison(position, format!("the commit {} has another number of events", entry.commit)));
    }
    let events = commit.events.iter().enumerate();
    events
        .map(|(index, event)| {
            let position = position + index as u64;
            Recorded::of(&commit, index, event, position).map_err(|error| poison(position, error.to_string()))
        })
        .collect()
}
