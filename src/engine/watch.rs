//! Follows the log for wishes of other processes: a cancellation that somebody appended stops what runs here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use testledger_schemas::commit::CommitId;
use testledger_schemas::{Event, ExecutionId};

use crate::engine::journal::SharedJournal;
use crate::engine::stop::Stop;
use crate::event_store::StoreError;
use crate::event_store::subscription::Subscription;

/// The wait after the log could not be read.
const PAUSE: Duration = Duration::from_millis(500);

/// The executions that run here, with what stops each.
#[derive(Default)]
pub struct Watched(Mutex<BTreeMap<ExecutionId, Stop>>);

/// Ends the watch of one execution when it is dropped.
pub struct Watch {
    watched: Arc<Watched>,
    execution: ExecutionId,
}

impl Watched {
    /// Watches an execution until the answer is dropped.
    pub fn watch(self: &Arc<Self>, execution: ExecutionId, stop: Stop) -> Watch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(execution, stop);
        Watch { watched: Arc::clone(self), execution }
    }

    /// Whether it is watched.
    #[must_use]
    pub fn has(&self, execution: ExecutionId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&execution)
    }

    fn stop_of(&self, execution: ExecutionId) -> Option<Stop> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&execution).cloned()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watched.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.execution);
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
            .filter(|commit| commit.stream.execution().is_some_and(|id| watched.stop_of(id).is_some()))
            .collect();
        if foreign.is_empty() {
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
                    && let Some(stop) = watched.stop_of(id)
                {
                    stop.fire(wish.reason);
                }
            }
        }
    }
    Ok(())
}
