//! The executions as they were at an earlier place of the log: folded in memory, exactly up to a position.

use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use testledger_projections::executions::Executions;
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{Batch, Checkpoint, Feed, FeedError};
use testledger_projections::worker::{Progress, catch_up};
use testledger_schemas::Timestamp;
use testledger_schemas::commit::CommitId;
use testledger_schemas::page::Page;

use crate::event_store::subscription::COMMITS_AT_ONCE;
use crate::event_store::{SharedLog, StoreError};
use crate::views::feed::LogFeed;
use crate::views::{ViewError, Views};

/// A place in the log, by position or by time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// After the event at this position; 0 is before the first.
    Position(u64),
    /// After the last event that was recorded at this time or before it, by the clock of whoever wrote it.
    Time(Timestamp),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(position));
        }
        let mend = "write a position (such as 1234) or a time (such as 2026-11-23T09:12:00Z)";
        text.parse().map(Self::Time).map_err(|_| mend.to_owned())
    }
}

/// The views as of a position, and how far the fold came.
pub struct Replay {
    /// The views. They are not brought up to date any more.
    pub views: Views,
    /// The position asked for.
    pub position: u64,
    /// How far the fold came: less than the position only where an event cannot be read.
    pub progress: Progress,
}

/// Folds the executions in memory up to a place, and not one event further. Content that was erased since is not there.
///
/// # Errors
/// [`ViewError::NotThatFar`] for a position that the log has not given yet; [`ViewError`] of the log.
pub async fn replay(log: &SharedLog, at: At) -> Result<Replay, ViewError> {
    let head = log.last_page().await?.last_position();
    let position = match at {
        At::Position(position) if position > head => return Err(ViewError::NotThatFar { position, head }),
        At::Position(position) => position,
        At::Time(time) => position_at(log, time).await?,
    };
    let store = Arc::new(MemoryViews::<Executions>::default());
    let feed = UpTo::new(LogFeed::new(log.clone()), position);
    let progress = catch_up(&Executions, &feed, &*store, Some(position)).await?;
    Ok(Replay { views: Views::over(log.clone(), store), position, progress })
}

/// The last position whose commit was recorded at this time or before it, by the clock of its writer; 0 if there is none.
/// Where the clocks of several writers differ, later positions may have earlier times: the last one counts. It walks
/// back from the end of the log.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Damaged`] where a commit on the way is missing.
pub async fn position_at(log: &SharedLog, time: Timestamp) -> Result<u64, StoreError> {
    let mut number = Some(log.last_page().await?.number);
    while let Some(current) = number {
        for page in log.read_pages(current, 1).await? {
            if let Some(position) = last_in(log, &page, time).await? {
                return Ok(position);
            }
        }
        number = current.checked_sub(1);
    }
    Ok(0)
}

/// The last such position of a page.
async fn last_in(log: &SharedLog, page: &Page, time: Timestamp) -> Result<Option<u64>, StoreError> {
    let mut last = page.last_position();
    for chunk in page.entries.rchunks(COMMITS_AT_ONCE) {
        let ids: Vec<CommitId> = chunk.iter().map(|entry| entry.commit).collect();
        let commits = log.read_commits(&ids).await?;
        for (entry, commit) in chunk.iter().zip(commits).rev() {
            let missing = || StoreError::Damaged(format!("position {last}: the commit {} is missing", entry.commit));
            if commit.ok_or_else(missing)?.recorded_at <= time {
                return Ok(Some(last));
            }
            last = last.saturating_sub(entry.events);
        }
    }
    Ok(None)
}

/// A feed that ends after a position, also in the middle of a commit. Its checkpoints are for views in memory that are
/// thrown away: none of them is a place to go on from.
pub(super) struct UpTo {
    feed: LogFeed,
    position: u64,
}

impl UpTo {
    /// The events of this feed up to a position.
    pub(super) fn new(feed: LogFeed, position: u64) -> Self {
        Self { feed, position }
    }
}

#[async_trait]
impl Feed for UpTo {
    async fn head(&self) -> Result<u64, FeedError> {
        Ok(self.feed.head().await?.min(self.position))
    }

    async fn read(&self, after: &Checkpoint, limit: usize) -> Result<Batch, FeedError> {
        let mut batch = self.feed.read(after, limit).await?;
        batch.events.retain(|recorded| recorded.position <= self.position);
        batch.reached.position = batch.reached.position.min(self.position);
        batch.reached.paused = batch.reached.paused.filter(|poison| poison.position <= self.position);
        Ok(batch)
    }

    async fn more(&self, position: u64) {
        if position < self.position {
            self.feed.more(position).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_position_or_a_time() {
        assert_eq!("0".parse(), Ok(At::Position(0)));
        assert_eq!("1234".parse(), Ok(At::Position(1234)));
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(At::Time(Timestamp::from_unix_ms(1000))));
        for text in ["", "-1", "yesterday", "2026-11-23", "2026-11-23T09:12:00"] {
            assert!(text.parse::<At>().unwrap_err().contains("2026-11-23T09:12:00Z"), "{text}");
        }
    }
}
