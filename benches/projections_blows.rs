//! Show: what the views on MongoDB survive without losing or doubling an event: a change stream's history that is lost while
//! the worker is down, primaries that are killed or step down in the middle of rebuilds, workers that fight for one lease,
//! views and checkpoints that are dropped. In the end every view is compared with a replay.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/history.rs"]
mod history;
#[path = "../tests/support/show.rs"]
mod show;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use history::Histories;
use mongodb::Database;
use mongodb::bson::{Document, RawDocumentBuf, doc, serde_helpers::HumanReadable, serialize_to_raw_document_buf};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use test_servers::{ReplicaSet, ReplicaSetOptions};
use testledger::event_store::SharedLog;
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger::views::feed::LogFeed;
use testledger::views::mongodb::{MongoLeases, MongoViews};
use testledger::views::projections::{Name, Projections};
use testledger_projections::executions::Executions;
use testledger_projections::ports::{Lease, Leases, ViewStoreError};
use testledger_projections::router::{Routing, Strategy};
use testledger_projections::worker::follow::{Done, Follower};
use testledger_projections::worker::rebuild::Rebuilt;
use testledger_schemas::Hash;
use testledger_schemas::commit::Commit;
use tokio_util::sync::CancellationToken;

/// When the blows fall, and what the histories are drawn from.
const SEED: u64 = 20_261_130;
/// How often the history is lost while nobody folds.
const LOSSES: usize = 5;
/// How often the primary is struck, each time in the middle of a rebuild.
const BLOWS: usize = 12;
/// So many executions are in the log that is rebuilt under blows.
const EXECUTIONS: u64 = 1_500;
/// How many workers fight for one lease, and while how many executions come.
const FIGHTERS: usize = 3;
const FOUGHT_OVER: u64 = 1_500;
/// How long nobody can take it from them.
const HELD: Duration = Duration::from_millis(30);
/// How often views are dropped, in each way.
const DROPS: usize = 3;
/// What takes so long hangs.
const HANG: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let mut show = show::Show::new(Some(SEED));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        history_lost(&mut show).await;
        rebuilt_under_blows(&mut show).await;
        fought_over(&mut show).await;
        dropped(&mut show).await;
    });
    show.end()
}

async fn open(address: &str) -> (SharedLog, Database) {
    let store = MongoStore::connect(MongoAddress::parse(address).await.unwrap()).await.unwrap();
    let database = store.database();
    (MongoLog::open(store).await.unwrap(), database)
}

async fn append(log: &SharedLog, commits: &[Commit]) -> u64 {
    for commit in commits {
        log.append(commit.clone()).await.unwrap();
    }
    count(commits)
}

fn count(commits: &[Commit]) -> u64 {
    commits.iter().map(|commit| commit.events.len() as u64).sum()
}

/// Compares all views with a replay, and the log with the number of its events.
async fn figures(show: &mut show::Show, name: &str, log: &SharedLog, projections: &Projections, events: u64) {
    let name = |what: &str| format!("projections_blows_{name}_{what}");
    tokio::time::timeout(HANG, log.head().wait_for(|head| *head >= events)).await.unwrap().unwrap();
    projections.catch_up(&Name::ALL).await.unwrap();
    let (mut views, mut differences, mut behind) = (0, 0, 0);
    for compared in projections.compare().await.unwrap() {
        views += compared.views;
        differences += compared.differences_total;
        behind += compared.position.abs_diff(events);
        compared.differences.first().into_iter().for_each(|_| eprintln!("{}", compared.to_text()));
    }
    show.figure(&name("events"), events, "reported", true);
    show.figure(&name("views"), views, "reported", true);
    show.figure(&name("lost_or_doubled"), behind, 0, behind == 0);
    show.figure(&name("differences"), differences, 0, differences == 0);
}

/// While the worker is down, commits come whose place in the change stream is lost before anybody reads them.
async fn history_lost(show: &mut show::Show) {
    let set = ReplicaSet::start_with(ReplicaSetOptions::new(1).small_oplog()).await.unwrap();
    let (mut histories, mut events) = (Histories::new(SEED, Hash::of(b"plan")), 0);
    for round in 0..LOSSES {
        let (log, database) = open(&set.uri("log")).await;
        let projections = Projections::mongodb(log.clone(), &database).await.unwrap();
        let stop = CancellationToken::new();
        let (routing, ending) = (Routing::default(), stop.clone());
        let working = projections.work(&Name::ALL, "bench", &routing, &ending);
        let appending = async {
            events += append(&log, &histories.suite(&format!("suite-{round}"), 20)).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            stop.cancel();
        };
        tokio::join!(working, appending);
        log.close().await;
        // As another writer that is killed before it has given its commits their places.
        let unplaced = histories.suite(&format!("unplaced-{round}"), 60);
        let documents: Vec<RawDocumentBuf> =
            unplaced.iter().map(|commit| serialize_to_raw_document_buf(&HumanReadable(commit)).unwrap()).collect();
        database.collection::<RawDocumentBuf>("commits").insert_many(documents).await.unwrap();
        events += count(&unplaced);
        set.overrun_oplog().await.unwrap();
    }
    let (log, database) = open(&set.uri("log")).await;
    let projections = Projections::mongodb(log.clone(), &database).await.unwrap();
    show.figure("projections_blows_history_lost_times", LOSSES, LOSSES, true);
    figures(show, "history_lost", &log, &projections, events).await;
    log.close().await;
}

/// Three nodes; in the middle of each rebuild the primary dies or steps down, and events come all the while.
async fn rebuilt_under_blows(show: &mut show::Show) {
    let mut set = ReplicaSet::start(3).await.unwrap();
    let address = set.uri("log");
    let (log, database) = open(&address).await;
    let (mut histories, mut random) = (Histories::new(SEED, Hash::of(b"plan")), StdRng::seed_from_u64(SEED));
    let mut events = 0;
    for number in 0..EXECUTIONS {
        events += append(&log, &histories.load(number)).await;
    }
    let projections = Arc::new(Projections::mongodb(log.clone(), &database).await.unwrap());
    projections.catch_up(&Name::ALL).await.unwrap();
    let (mut broken_off, mut in_the_middle) = (0, 0);
    for blow in 0..BLOWS {
        let name = Name::ALL[blow % Name::ALL.len()];
        let (done, reached) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let rebuilding = tokio::spawn({
            let (projections, done, reached) = (Arc::clone(&projections), done.clone(), Arc::clone(&reached));
            async move {
                let (mut afresh, mut failures) = (true, 0);
                loop {
                    let progress = |position: u64, _: u64| reached.store(position, Ordering::Relaxed);
                    match projections.rebuild(name, "bench", afresh, &progress).await {
                        Ok(Rebuilt::Done { .. }) => break,
                        Ok(other) => panic!("{other:?}"),
                        Err(error) => {
                            eprintln!("{}: {error}", name.as_str());
                            (afresh, failures) = (reached.load(Ordering::Relaxed) == 0, failures + 1);
                        }
                    }
                }
                done.cancel();
                failures
            }
        });
        tokio::time::sleep(Duration::from_millis(random.random_range(50..600))).await;
        in_the_middle += usize::from(!done.is_cancelled());
        if blow % 2 == 0 {
            let killed = set.kill_primary().await.unwrap();
            events += append_somehow(&log, &histories.load(EXECUTIONS + blow as u64)).await;
            set.restart(killed).await.unwrap();
        } else {
            set.step_down().await.unwrap();
            events += append_somehow(&log, &histories.load(EXECUTIONS + blow as u64)).await;
        }
        broken_off += tokio::time::timeout(HANG, rebuilding).await.unwrap().unwrap();
        set.settle().await.unwrap();
    }
    show.figure("projections_blows_rebuild_blows", BLOWS, BLOWS, true);
    let half = BLOWS / 2;
    show.figure("projections_blows_rebuild_in_the_middle", in_the_middle, format!(">={half}"), in_the_middle >= half);
    show.figure("projections_blows_rebuild_broken_off", broken_off, "reported", true);
    figures(show, "rebuild", &log, &projections, events).await;
    log.close().await;
}

/// Appends each commit again until it is acknowledged, whatever the servers do: the same commit counts once.
async fn append_somehow(log: &SharedLog, commits: &[Commit]) -> u64 {
    for commit in commits {
        while let Err(error) = log.append(commit.clone()).await {
            eprintln!("an append: {error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    count(commits)
}

/// A lease that whoever asks takes from whoever has it: each worker believes that it folds alone.
struct Contested(Mutex<Instant>);

#[async_trait]
impl Leases for Contested {
    async fn take(&self, _: &str, _: &str, _: Duration) -> Result<bool, ViewStoreError> {
        let mut last = self.0.lock().unwrap();
        let is_taken = last.elapsed() >= HELD;
        if is_taken {
            *last = Instant::now();
        }
        Ok(is_taken)
    }
    async fn give_up(&self, _: &str, _: &str) -> Result<(), ViewStoreError> {
        Ok(())
    }
    async fn current(&self, _: &str) -> Result<Option<Lease>, ViewStoreError> {
        Ok(None)
    }
}

/// Workers take the lease from each other and fold the same projection while events come: only the epochs hold off the one
/// that was robbed and goes on.
async fn fought_over(show: &mut show::Show) {
    let fresh = test_servers::fresh_database().await.unwrap();
    let (log, database) = open(fresh.uri()).await;
    let (stop, mut workers, leases) =
        (CancellationToken::new(), vec![], Arc::new(Contested(Mutex::new(Instant::now()))));
    for number in 0..FIGHTERS {
        let (log, database, stop, leases) = (log.clone(), database.clone(), stop.clone(), Arc::clone(&leases));
        workers.push(tokio::spawn(async move {
            let store = MongoViews::<Executions>::open(&database).await.unwrap();
            let (feed, done, holder) = (LogFeed::new(log), Done::default(), format!("fighter-{number}"));
            let routing = Routing { strategy: Strategy::Immediate, ..Routing::default() };
            let (feed, store) = (&feed, &*store);
            let (leases, holder) = (&*leases, holder.as_str());
            Follower { projection: &Executions, feed, store, leases, holder, routing, done: &done }.work(&stop).await;
            (done.turns(), done.folded())
        }));
    }
    let mut histories = Histories::new(SEED, Hash::of(b"plan"));
    let mut events = 0;
    for number in 0..FOUGHT_OVER {
        events += append(&log, &histories.load(number)).await;
    }
    tokio::time::timeout(HANG, log.head().wait_for(|head| *head >= events)).await.unwrap().unwrap();
    stop.cancel();
    let (mut turns, mut folded, mut idle) = (0, 0, 0);
    for worker in workers {
        let (turn, fold) = worker.await.unwrap();
        turns += turn;
        folded += fold;
        idle += usize::from(fold == 0);
    }
    show.figure("projections_blows_fight_workers", FIGHTERS, ">=2", FIGHTERS >= 2);
    show.figure("projections_blows_fight_turns", turns, ">=30", turns >= 30);
    show.figure("projections_blows_fight_without_a_fold", idle, 0, idle == 0);
    // What they say they folded, each event by one of them, is no more than there is.
    show.figure("projections_blows_fight_folded", folded, format!("<={events}"), folded <= events);
    let projections = Projections::mongodb(log.clone(), &database).await.unwrap();
    figures(show, "fight", &log, &projections, events).await;
    assert!(MongoLeases::new(&database).current("executions").await.unwrap().is_none());
    log.close().await;
}

/// Views are dropped under the program: with their checkpoints, and without.
async fn dropped(show: &mut show::Show) {
    let fresh = test_servers::fresh_database().await.unwrap();
    let (log, database) = open(fresh.uri()).await;
    let (mut histories, mut events, mut unnoticed) = (Histories::new(SEED, Hash::of(b"plan")), 0, 0);
    for round in 0..DROPS {
        events += append(&log, &histories.suite(&format!("suite-{round}"), 30)).await;
        tokio::time::timeout(HANG, log.head().wait_for(|head| *head >= events)).await.unwrap().unwrap();
        let projections = Projections::mongodb(log.clone(), &database).await.unwrap();
        projections.catch_up(&Name::ALL).await.unwrap();
        drop_views(&database, |name| name != "view_checkpoints").await;
        for compared in projections.compare().await.unwrap() {
            unnoticed += compared.views - compared.differences_total;
        }
        for name in Name::ALL {
            projections.rebuild(name, "bench", true, &|_, _| ()).await.unwrap();
        }
        let differences: u64 = projections.compare().await.unwrap().iter().map(|it| it.differences_total).sum();
        unnoticed += differences;
        drop_views(&database, |_| true).await;
    }
    show.figure("projections_blows_dropped_times", 2 * DROPS, ">=2", true);
    show.figure("projections_blows_dropped_unnoticed", unnoticed, 0, unnoticed == 0);
    let projections = Projections::mongodb(log.clone(), &database).await.unwrap();
    figures(show, "dropped", &log, &projections, events).await;
    log.close().await;
}

async fn drop_views(database: &Database, which: impl Fn(&str) -> bool) {
    let names = database.list_collection_names().filter(doc! { "name": { "$regex": "^view_" } }).await.unwrap();
    for name in names.iter().filter(|name| which(name)) {
        database.collection::<Document>(name).drop().await.unwrap();
    }
}
