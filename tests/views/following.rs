//! The worker that follows the log: every route is taken, nothing is lost on any, and another one takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use testledger::views::feed::LogFeed;
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::ports::{
    Checkpoint, Hold, Leases, ManagedStore, Saved, StoredView, Switched, ViewStore, ViewStoreError,
};
use testledger_projections::router::{Route, Routing, Strategy};
use testledger_projections::worker::follow::{Done, Follower};
use testledger_schemas::commit::Commit;
use testledger_schemas::{ExecutionId, Hash, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::history::Histories;
use crate::stores::{Ledger, all_of, append, contract, count, replay};

/// A worker that needs so long hangs: never a measure of speed.
const HANG: Duration = Duration::from_secs(60);

/// A worker in a task of its own.
struct Working {
    done: Arc<Done>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(ledger: &Ledger, holder: &str, routing: Routing) -> Working {
    on(ledger, ledger.store().await, holder, routing).await
}

async fn on(ledger: &Ledger, store: Arc<dyn ManagedStore<Executions>>, holder: &str, routing: Routing) -> Working {
    let (feed, leases) = (LogFeed::new(ledger.log.clone()), ledger.leases().await);
    let (done, stop, holder) = (Arc::new(Done::default()), CancellationToken::new(), holder.to_owned());
    let task = tokio::spawn({
        let (done, stop) = (Arc::clone(&done), stop.clone());
        async move {
            let (feed, leases): (_, &dyn Leases) = (&feed, &*leases);
            let (store, holder) = (&*store, &*holder);
            Follower { projection: &Executions, feed, store, leases, holder, routing, done: &done }.work(&stop).await;
        }
    });
    Working { done, stop, task }
}

impl Working {
    async fn end(self) -> Arc<Done> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.done
    }
}

async fn until(ledger: &Ledger, position: u64) {
    let store = ledger.store().await;
    let reached = async {
        while store.checkpoint().await.unwrap().position < position {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANG, reached).await.unwrap_or_else(|_| panic!("position {position} is not reached"));
}

fn history(seed: u64, suites: usize) -> Vec<Commit> {
    let mut histories = Histories::new(seed, Hash::of(b"plan"));
    (0..suites).flat_map(|n| histories.suite(&format!("suite-{n}"), 8)).collect()
}

async fn equals_a_replay(ledger: &Ledger) {
    assert_eq!(all_of(&ledger.views().await).await, replay(&ledger.log).await);
}

contract! {
    async fn a_worker_folds_what_comes_and_another_takes_over(ledger: &Ledger) {
        let commits = history(51, 6);
        let total = count(&commits);
        let (first, rest) = commits.split_at(commits.len() / 2);
        let one = start(ledger, "one", Routing::default()).await;
        append(&ledger.log, first).await;
        until(ledger, count(first)).await;
        let two = start(ledger, "two", Routing::default()).await;
        // As if it were killed: its lease stays, and nothing of it goes on.
        one.task.abort();
        drop(one.task.await);
        append(&ledger.log, rest).await;
        until(ledger, total).await;
        let folded = one.done.folded() + two.end().await.folded();
        assert_eq!(folded, total, "every event once");
        equals_a_replay(ledger).await;
        ledger.log.close().await;
    }

    async fn two_that_fight_for_the_lease_do_no_harm(ledger: &Ledger) {
        // Both believe that they have it, whenever they ask.
        let commits = history(52, 6);
        let one = start(ledger, "same", Routing::default()).await;
        let two = start(ledger, "same", Routing::default()).await;
        append(&ledger.log, &commits).await;
        until(ledger, count(&commits)).await;
        let (one, two) = (one.end().await, two.end().await);
        assert_eq!(one.folded() + two.folded(), count(&commits), "every event once");
        assert_eq!(one.failures() + two.failures(), 0);
        equals_a_replay(ledger).await;
        ledger.log.close().await;
    }

    async fn a_worker_rests_while_the_projection_is_held(ledger: &Ledger) {
        let commits = history(53, 2);
        let store = ledger.store().await;
        store.hold(Some(Hold { by: "ada".to_owned(), at: Timestamp::default() })).await.unwrap();
        let worker = start(ledger, "one", Routing::default()).await;
        ledger.append(&commits).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!((store.checkpoint().await.unwrap().position, worker.done.folded()), (0, 0));
        store.hold(None).await.unwrap();
        until(ledger, count(&commits)).await;
        worker.end().await;
        equals_a_replay(ledger).await;
        ledger.log.close().await;
    }

    async fn every_route_is_taken_and_loses_nothing(ledger: &Ledger) {
        let long = Duration::from_secs(3600);
        let no_urgency = Routing { strategy: Strategy::Batched, interval: long, ..Routing::default() };
        let cases = [
            (Route::Immediate, Routing { interval: long, ..Routing::default() }),
            (Route::Size, Routing { batch_events: 7, ..no_urgency.clone() }),
            (Route::Interval, Routing { interval: Duration::from_millis(20), ..no_urgency.clone() }),
            (Route::Overload, Routing { batch_events: 7, overload_events: 50, ..no_urgency.clone() }),
            (Route::Stop, no_urgency),
        ];
        for (route, routing) in cases {
            let ledger = ledger.another().await;
            let commits = history(54, 4);
            if route == Route::Overload {
                ledger.append(&commits).await;
            }
            let worker = start(&ledger, "one", routing).await;
            if route != Route::Overload {
                ledger.append(&commits).await;
            }
            let taken = async {
                while worker.done.commits(route) == 0 && route != Route::Stop {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(HANG, taken).await.unwrap_or_else(|_| panic!("{route:?}"));
            if route == Route::Stop {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let done = worker.end().await;
            assert!(done.commits(route) > 0, "{route:?}");
            ledger.views().await.catch_up(None).await.unwrap();
            equals_a_replay(&ledger).await;
            ledger.log.close().await;
        }
    }

    async fn failures_on_every_route_are_waited_out(ledger: &Ledger) {
        for strategy in [Strategy::Adaptive, Strategy::Immediate, Strategy::Batched] {
            let ledger = ledger.another().await;
            let commits = history(55, 2);
            let store = Arc::new(Shaky { inner: ledger.store().await, saves: AtomicU64::new(0) });
            let routing = Routing { strategy, interval: Duration::from_millis(20), ..Routing::default() };
            let worker = on(&ledger, store, "one", routing).await;
            for part in commits.chunks(9) {
                append(&ledger.log, part).await;
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            until(&ledger, count(&commits)).await;
            let done = worker.end().await;
            assert!(done.failures() > 0, "{strategy:?}");
            equals_a_replay(&ledger).await;
            ledger.log.close().await;
        }
    }
}

/// A store whose every third save fails, before the deed or after it.
struct Shaky {
    inner: Arc<dyn ManagedStore<Executions>>,
    saves: AtomicU64,
}

#[async_trait]
impl ViewStore<Executions> for Shaky {
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError> {
        self.inner.checkpoint().await
    }
    async fn load(&self, keys: &[ExecutionId]) -> Result<Vec<Option<ExecutionView>>, ViewStoreError> {
        self.inner.load(keys).await
    }
    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(ExecutionId, ExecutionView)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError> {
        let lost = || ViewStoreError::Unavailable("lost".into());
        match self.saves.fetch_add(1, Ordering::Relaxed) % 6 {
            0 => Err(lost()),
            3 => self.inner.save(before, views, after).await.and(Err(lost())),
            _ => self.inner.save(before, views, after).await,
        }
    }
    async fn reset(&self) -> Result<(), ViewStoreError> {
        self.inner.reset().await
    }
}

#[async_trait]
impl ManagedStore<Executions> for Shaky {
    async fn fence(&self) -> Result<Checkpoint, ViewStoreError> {
        self.inner.fence().await
    }
    async fn hold(&self, hold: Option<Hold>) -> Result<(), ViewStoreError> {
        self.inner.hold(hold).await
    }
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredView<Executions>>, ViewStoreError> {
        self.inner.scan(after, limit).await
    }
    fn beside(&self) -> Arc<dyn ViewStore<Executions>> {
        self.inner.beside()
    }
    async fn switch(&self) -> Result<Switched, ViewStoreError> {
        self.inner.switch().await
    }
}
