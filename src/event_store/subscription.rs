//! Following the log in order: pages from a place on, at the speed of whoever reads, woken when there are more.
//!
//! The one way in which projections, `events --follow` and the engine's watch go through the log. A subscription holds
//! its place and nothing else of the log, so that a follower keeps no log open that nobody uses; who keeps the place
//! (a position, or a page) goes on from there in another process.

use std::collections::VecDeque;
use std::time::Duration;

use testledger_schemas::commit::{Commit, CommitId};
use testledger_schemas::page::Page;
use tokio::sync::watch;

use crate::event_store::{EventLog, StoreError};

/// How many pages are read ahead at the most.
const PAGES_AT_ONCE: usize = 64;
/// How many commits are read at once.
pub const COMMITS_AT_ONCE: usize = 256;
/// How long a follower waits to be woken before it looks for itself.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The place of one follower.
pub struct Subscription {
    next: Next,
    /// The last position that was handed out, or that was never wanted.
    reached: u64,
    ahead: VecDeque<Page>,
    head: watch::Receiver<u64>,
}

#[derive(Clone, Copy)]
enum Next {
    /// The page with the position after this one.
    After(u64),
    /// The page with this number.
    Page(u64),
}

impl Subscription {
    /// Begins with the page that gives the position after `position`.
    #[must_use]
    pub fn after(log: &dyn EventLog, position: u64) -> Self {
        Self { next: Next::After(position), reached: position, ahead: VecDeque::new(), head: log.head() }
    }

    /// Begins with a page.
    #[must_use]
    pub fn from_page(log: &dyn EventLog, page: u64) -> Self {
        Self { next: Next::Page(page), reached: 0, ahead: VecDeque::new(), head: log.head() }
    }

    /// The next page; none at the end of the log. May be dropped at any time: no page is lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn next(&mut self, log: &dyn EventLog) -> Result<Option<Page>, StoreError> {
        if self.ahead.is_empty() {
            let from = match self.next {
                Next::Page(page) => page,
                Next::After(position) => match log.page_of(position.saturating_add(1)).await? {
                    Some(page) => page.number,
                    // The position is not given yet: it will be after the last page of now.
                    None => log.last_page().await?.number,
                },
            };
            let pages = log.read_pages(from, PAGES_AT_ONCE).await?;
            self.next = Next::Page(pages.last().map_or(from, |page| page.number.saturating_add(1)));
            self.ahead.extend(pages);
        }
        let page = self.ahead.pop_front();
        self.reached = page.as_ref().map_or(self.reached, |page| page.last_position().max(self.reached));
        Ok(page)
    }

    /// Gives a page back that could not be dealt with: it comes next.
    pub fn put_back(&mut self, page: Page) {
        self.ahead.push_front(page);
    }

    /// Waits until there may be more than was handed out. False once the log is gone.
    pub async fn more(&mut self) -> bool {
        let reached = self.reached;
        match tokio::time::timeout(LOOK_AFTER, self.head.wait_for(|head| *head > reached)).await {
            Ok(woken) => woken.is_ok(),
            Err(_) => true,
        }
    }
}

/// The commits with these ids, in the order asked for; where one cannot be read, why.
///
/// # Errors
/// [`StoreError`] where the store does not answer.
pub async fn read_each(
    log: &dyn EventLog,
    ids: &[CommitId],
) -> Result<Vec<Result<Option<Commit>, String>>, StoreError> {
    match log.read_commits(ids).await {
        Ok(commits) if commits.len() == ids.len() => return Ok(commits.into_iter().map(Ok).collect()),
        Ok(_) | Err(StoreError::Damaged(_)) => {}
        Err(error) => return Err(error),
    }
    let mut commits = Vec::with_capacity(ids.len());
    for id in ids {
        commits.push(match log.read_commits(&[*id]).await {
            Ok(mut found) => Ok(found.pop().flatten()),
            Err(StoreError::Damaged(reason)) => Err(reason),
            Err(error) => return Err(error),
        });
    }
    Ok(commits)
}
