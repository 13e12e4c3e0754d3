//! The log as a feed of projections: pages in order, their commits, their events.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use testledger_projections::ports::{Batch, Checkpoint, Feed, FeedError, Poison};
use testledger_projections::projection::Recorded;
use testledger_schemas::Hash;
use testledger_schemas::commit::{Commit, CommitId};
use testledger_schemas::page::Page;

use crate::event_store::subscription::{COMMITS_AT_ONCE, Subscription, read_each};
use crate::event_store::{SharedLog, StoreError};

/// How many chunks of commits are read and decoded at once.
const CHUNKS_AT_ONCE: usize = 4;

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
        let due = self.due(after, limit).await?;
        let mut batch = Batch { events: vec![], reached: Checkpoint { paused: None, ..after.clone() } };
        let chunks: Vec<Vec<Due>> = due.chunks(COMMITS_AT_ONCE).map(<[Due]>::to_vec).collect();
        let reading = chunks.into_iter().map(|chunk| {
            let log = Arc::clone(&self.log);
            async { tokio::spawn(read_chunk(log, chunk)).await.map_err(|error| FeedError::Failed(error.to_string()))? }
        });
        let mut read = stream::iter(reading).buffered(CHUNKS_AT_ONCE);
        while let Some(chunk) = read.next().await {
            for (due, events) in chunk? {
                match events {
                    Ok(events) => batch.events.extend(events),
                    Err(poison) => {
                        batch.reached.paused = Some(poison);
                        return Ok(batch);
                    }
                }
                (batch.reached.position, batch.reached.page, batch.reached.page_hash) =
                    (due.last_position(), due.page, due.page_hash);
            }
        }
        Ok(batch)
    }

    async fn more(&self, position: u64) {
        // Without the log there will be no more: whoever reads on is told so.
        drop(self.log.head().wait_for(|head| *head > position).await);
    }
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

/// A commit that is to be read, at its place.
#[derive(Clone, Copy)]
struct Due {
    commit: CommitId,
    events: u64,
    /// The position of its first event.
    position: u64,
    page: u64,
    page_hash: Hash,
}

impl Due {
    fn last_position(&self) -> u64 {
        self.position.saturating_add(self.events) - 1
    }
}

impl LogFeed {
    /// The commits after a checkpoint that have so many events together. They are taken whole, so that no checkpoint is
    /// inside of one.
    async fn due(&self, after: &Checkpoint, limit: usize) -> Result<Vec<Due>, FeedError> {
        let (mut due, mut events) = (vec![], 0);
        let mut pages = Subscription::from_page(&*self.log, after.page);
        let mut page = pages.next(&*self.log).await.map_err(failed)?;
        check_history(after, page.as_ref())?;
        while let Some(current) = page {
            let mut position = current.first_position;
            for entry in &current.entries {
                if position > after.position && events >= limit as u64 {
                    return Ok(due);
                }
                if position > after.position {
                    let (page, page_hash) = (current.number, current.hash);
                    due.push(Due { commit: entry.commit, events: entry.events, position, page, page_hash });
                    events += entry.events;
                }
                position = position.saturating_add(entry.events);
            }
            page = pages.next(&*self.log).await.map_err(failed)?;
        }
        Ok(due)
    }
}

/// Reads some commits, and their events.
async fn read_chunk(log: SharedLog, chunk: Vec<Due>) -> Result<Vec<(Due, Result<Vec<Recorded>, Poison>)>, FeedError> {
    let ids: Vec<CommitId> = chunk.iter().map(|due| due.commit).collect();
    let commits = read_each(&*log, &ids).await.map_err(failed)?;
    Ok(chunk.into_iter().zip(commits).map(|(due, commit)| (due, take(&due, commit))).collect())
}

/// The events of one commit, all of them or none: where one cannot be read, the feed ends before the commit.
fn take(due: &Due, stored: Result<Option<Commit>, String>) -> Result<Vec<Recorded>, Poison> {
    let poison = |position: u64, reason: String| Poison { position, reason };
    let stored = stored.map_err(|reason| poison(due.position, reason))?;
    let commit = stored.ok_or_else(|| poison(due.position, format!("the commit {} is missing", due.commit)))?;
    if commit.events.len() as u64 != due.events {
        return Err(poison(due.position, format!("the commit {} has another number of events", due.commit)));
    }
    let events = commit.events.iter().enumerate();
    events
        .map(|(index, event)| {
            let position = due.position + index as u64;
            Recorded::of(&commit, index, event, position).map_err(|error| poison(position, error.to_string()))
        })
        .collect()
}
