//! Follows the log for wishes of other processes: a cancellation that somebody appended stops what runs here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testledger_schemas::commit::CommitId;
use testledger_schemas::event::CancelReason;
use testledger_schemas::{Event, ExecutionId};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::engine::journal::SharedJournal;
use crate::engine::stop::Stop;
use crate::event_store::StoreError;
use crate::event_store::subscription::Subscription;

/// The wait after the log could not be read.
const PAUSE: Duration = Duration::from_millis(500);

/// The executions that run here, with what stops each: one may be run, and followed, at the same time.
#[derive(Default)]
pub struct Watched {
    stops: Mutex<BTreeMap<ExecutionId, Vec<(u64, Stop)>>>,
    /// Told of every page that was looked through. Those who wait are woken in their order.
    news: Notify,
}

/// Ends the watch of one execution when it is dropped.
pub struct Watch {
    watched: Arc<Watched>,
    execution: ExecutionId,
    number: u64,
}

impl Watched {
    fn all(&self) -> MutexGuard<'_, BTreeMap<ExecutionId, Vec<(u64, Stop)>>> {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches an execution until the answer is dropped.
    pub fn watch(self: &Arc<Self>, execution: ExecutionId, stop: Stop) -> Watch {
        let mut all = self.all();
        let stops = all.entry(execution).or_default();
        let number = stops.last().map_or(0, |(number, _)| number + 1);
        stops.push((number, stop));
        Watch { watched: Arc::clone(self), execution, number }
    }

    /// Whether it is watched.
    #[must_use]
    pub fn has(&self, execution: ExecutionId) -> bool {
        self.all().contains_key(&execution)
    }

    /// Whether it is watched twice: somebody else here runs it, or follows it.
    #[must_use]
    pub fn is_shared(&self, execution: ExecutionId) -> bool {
        self.all().get(&execution).is_some_and(|stops| stops.len() > 1)
    }

    /// Resolves with the next page that is looked through after this call.
    pub fn more(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// Stops whatever runs or follows it.
    fn fire(&self, execution: ExecutionId, reason: CancelReason) {
        for (_, stop) in self.all().get(&execution).into_iter().flatten() {
            stop.fire(reason);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.watched.all();
        if let Some(stops) = all.get_mut(&self.execution) {
            stops.retain(|(number, _)| *number != self.number);
            if stops.is_empty() {
                all.remove(&self.execution);
            }
        }
    }
}

/// Starts following the log from a page on. Ends with the log's own end.
pub fn follow(journal: SharedJournal, watched: Arc<Watched>, from_page: u64) {
    let mut pages = Subscription::from_page(&*journal.log, from_page);
    // Only a weak reference: a follower must not keep alive what nobody uses.
    let journal = Arc::downgrade(&journal);
    tokio::spawn(async move {
        while let Some(journal) = journal.upgrade() {
            if let Err(error) = catch_up(&journal, &watched, &mut pages).await {
                tracing::warn!(%error, "the log cannot be followed for cancellations; trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            drop(journal);
            if !pages.more().await {
                return;
            }
        }
    });
}

async fn catch_up(journal: &SharedJournal, watched: &Watched, pages: &mut Subscription) -> Result<(), StoreError> {
    while let Some(page) = pages.next(&*journal.log).await? {
        let foreign: Vec<CommitId> = page
            .entries
            .iter()
            .filter(|entry| !journal.own.take(entry.hash))
            .map(|entry| entry.commit)
            .filter(|commit| commit.stream.execution().is_some_and(|id| watched.has(id)))
            .collect();
        if foreign.is_empty() {
            watched.news.notify_waiters();
            continue;
        }
        let commits = match journal.log.read_commits(&foreign).await {
            Ok(commits) => commits,
            Err(error) => {
                pages.put_back(page);
                return Err(error);
            }
        };
        for commit in commits.into_iter().flatten() {
            for recorded in &commit.events {
                if let (Ok(Event::CancellationRequested(wish)), Some(id)) =
                    (recorded.read(), commit.id.stream.execution())
                {
                    watched.fire(id, wish.reason);
                }
            }
        }
        watched.news.notify_waiters();
    }
    Ok(())
}
