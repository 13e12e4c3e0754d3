//! Show: a million events on one MongoDB node and in a SQLite file. Rebuilds against a raw scan that decodes the same
//! documents, replay in memory, how flat the cost is, and how soon lists, views and long traces answer.
//!
//! `EVENTS` names another number; the limits are meant for a million. `STORE=sqlite` or `STORE=mongodb` measures one store.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/history.rs"]
mod history;
#[path = "../tests/support/show.rs"]
mod show;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use history::Histories;
use mongodb::bson::serde_helpers::HumanReadable;
use mongodb::bson::{RawDocumentBuf, deserialize_from_slice};
use testledger::event_store::SharedLog;
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger::event_store::sqlite::SqliteLog;
use testledger::views::Views;
use testledger::views::projections::{Name, Projections};
use testledger::views::query::ExecutionFilter;
use testledger::views::show as showing;
use testledger_projections::executions::Executions;
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{Batch, Checkpoint, Feed, FeedError};
use testledger_projections::projection::Recorded;
use testledger_projections::worker::catch_up;
use testledger_projections::worker::rebuild::Rebuilt;
use testledger_schemas::Hash;
use testledger_schemas::commit::Commit;

/// So many events.
const EVENTS: u64 = 1_000_000;
/// What they are drawn from.
const SEED: u64 = 20_261_128;
/// So many executions are under way at once while the log is filled.
const AT_ONCE: usize = 256;
/// The events a second of a rebuild.
const REBUILD_LIMIT: f64 = 50_000.0;
/// The events a second of a replay in memory.
const REPLAY_LIMIT: f64 = 300_000.0;
/// The cost per event of the last tenth of a rebuild, to that of the first hundredth.
const FLAT_LIMIT: f64 = 1.2;
/// How long a list or a view may take on the embedded log, in milliseconds.
const ANSWER_LIMIT_MS: f64 = 300.0;
/// How often each question is asked.
const QUESTIONS: usize = 20;

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let events = std::env::var("EVENTS").map_or(EVENTS, |text| text.parse().unwrap());
    let mut show = show::Show::new(Some(SEED));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let only = std::env::var("STORE").unwrap_or_default();
        if only != "mongodb" {
            embedded(&mut show, events).await;
        }
        if only != "sqlite" {
            on_mongodb(&mut show, events).await;
        }
    });
    show.end()
}

/// Appends executions until there are so many events. Returns how many.
async fn fill(log: &SharedLog, events: u64) -> u64 {
    let (mut histories, mut written, mut executions) = (Histories::new(SEED, Hash::of(b"plan")), 0, vec![]);
    while written < events {
        let commits = histories.load(executions.len() as u64);
        written += commits.iter().map(|commit| commit.events.len() as u64).sum::<u64>();
        executions.push(commits);
    }
    let began = Instant::now();
    stream::iter(executions)
        .for_each_concurrent(AT_ONCE, |commits| {
            let log = Arc::clone(log);
            async move {
                for commit in commits {
                    log.append(commit).await.unwrap();
                }
            }
        })
        .await;
    log.head().wait_for(|head| *head >= written).await.unwrap();
    println!("{written} events appended and placed in {:.1} s", began.elapsed().as_secs_f64());
    written
}

async fn on_mongodb(show: &mut show::Show, events: u64) {
    let fresh = test_servers::fresh_database().await.unwrap();
    let store = MongoStore::connect(MongoAddress::parse(fresh.uri()).await.unwrap()).await.unwrap();
    let database = store.database();
    let log: SharedLog = MongoLog::open(store).await.unwrap();
    let events = fill(&log, events).await;
    // The server writes down for a while what was appended: the log is at rest when it is folded anew.
    database.client().database("admin").run_command(mongodb::bson::doc! { "fsync": 1 }).await.unwrap();
    let began = Instant::now();
    let raw = raw_scan(&database.collection("commits")).await;
    let raw_rate = raw.len() as f64 / began.elapsed().as_secs_f64();
    show.figure("million_mongodb_raw_scan_per_second", format!("{raw_rate:.0}"), "reported", true);
    let projections = Projections::mongodb(log.clone(), &database).await.unwrap();
    for name in Name::ALL {
        rebuild(show, &projections, name, ("mongodb", events, Some(raw_rate))).await;
    }
    replay(show, raw).await;
    log.close().await;
}

/// All events of the commits, decoded as the log decodes them.
async fn raw_scan(commits: &mongodb::Collection<RawDocumentBuf>) -> Vec<Recorded> {
    let mut found = commits.find(Default::default()).batch_size(1000).await.unwrap();
    let mut events = vec![];
    while let Some(document) = found.try_next().await.unwrap() {
        let commit: HumanReadable<Commit> = deserialize_from_slice(document.as_bytes()).unwrap();
        for (index, event) in commit.0.events.iter().enumerate() {
            events.push(Recorded::of(&commit.0, index, event, events.len() as u64 + 1).unwrap());
        }
    }
    events
}

async fn rebuild(
    show: &mut show::Show,
    projections: &Projections,
    name: Name,
    (store, events, raw_rate): (&str, u64, Option<f64>),
) {
    let (began, seen) = (Instant::now(), Mutex::new(vec![]));
    let rebuilt = projections
        .rebuild(name, "bench", true, &|position, _| seen.lock().unwrap().push((position, began.elapsed())))
        .await
        .unwrap();
    let took = began.elapsed().as_secs_f64();
    let Rebuilt::Done { position, folded } = rebuilt else { panic!("{rebuilt:?}") };
    assert_eq!((position, folded), (events, events));
    let rate = events as f64 / took;
    let name = |what: &str| format!("million_{store}_rebuild_{}_{what}", name.as_str());
    let met = rate >= REBUILD_LIMIT || store != "mongodb";
    let limit = if store == "mongodb" { format!(">={REBUILD_LIMIT}") } else { "reported".to_owned() };
    show.figure(&name("per_second"), format!("{rate:.0}"), limit, met);
    if let Some(raw_rate) = raw_rate {
        show.figure(&name("to_raw_scan"), format!("{:.2}", rate / raw_rate), "reported (aim 0.5)", true);
    }
    // What it costs an event early, after a first stretch that warms up, and at the end.
    let seen = seen.into_inner().unwrap();
    let cost = |from: u64, to: u64| {
        let at = |position: u64| seen.iter().find(|(seen, _)| *seen >= position).unwrap();
        let (first, last) = (at(from), at(to));
        (last.1 - first.1).as_secs_f64() / (last.0 - first.0) as f64
    };
    if events >= EVENTS {
        let flat = cost(events - events / 10, events) / cost(events / 100, events / 10);
        show.figure(&name("last_to_first_cost"), format!("{flat:.2}"), format!("<={FLAT_LIMIT}"), flat <= FLAT_LIMIT);
    }
}

/// A feed over events in memory.
struct InMemory(Vec<Recorded>);

#[async_trait]
impl Feed for InMemory {
    async fn head(&self) -> Result<u64, FeedError> {
        Ok(self.0.len() as u64)
    }
    async fn read(&self, after: &Checkpoint, limit: usize) -> Result<Batch, FeedError> {
        let from = usize::try_from(after.position).unwrap();
        let events = self.0[from..(from + limit).min(self.0.len())].to_vec();
        let position = after.position + events.len() as u64;
        let page_hash = Hash::of(&position.to_be_bytes());
        Ok(Batch { events, reached: Checkpoint { position, page: position, page_hash, ..after.clone() } })
    }
    async fn more(&self, _position: u64) {}
}

async fn replay(show: &mut show::Show, events: Vec<Recorded>) {
    let feed = InMemory(events);
    let began = Instant::now();
    let folded = catch_up(&Executions, &feed, &MemoryViews::default(), None).await.unwrap().folded;
    let rate = folded as f64 / began.elapsed().as_secs_f64();
    let met = rate >= REPLAY_LIMIT;
    show.figure("million_replay_in_memory_per_second", format!("{rate:.0}"), format!(">={REPLAY_LIMIT}"), met);
}

async fn embedded(show: &mut show::Show, events: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let log: SharedLog = SqliteLog::open(&path).await.unwrap();
    let events = fill(&log, events).await;
    let projections = Projections::sqlite(log.clone(), &path).await.unwrap();
    for name in Name::ALL {
        rebuild(show, &projections, name, ("sqlite", events, None)).await;
    }
    log.close().await;
    drop(projections);
    answers(show, &path).await;
}

/// As a command does it: open the log and the views, bring them up to date, ask.
async fn answers(show: &mut show::Show, path: &Path) {
    let (mut lists, mut shows) = (vec![], vec![]);
    for question in 0..QUESTIONS {
        let began = Instant::now();
        let log: SharedLog = SqliteLog::open(path).await.unwrap();
        let views = Views::sqlite(log.clone(), path).await.unwrap();
        views.catch_up(None).await.unwrap();
        let page = views.list(&ExecutionFilter { limit: 50, ..ExecutionFilter::default() }).await.unwrap();
        lists.push(began.elapsed());
        log.close().await;
        let chosen = page.executions[question].id;
        let began = Instant::now();
        let log: SharedLog = SqliteLog::open(path).await.unwrap();
        let views = Views::sqlite(log.clone(), path).await.unwrap();
        views.catch_up(None).await.unwrap();
        let view = views.resolve(&chosen.to_string()).await.unwrap();
        let shown = showing::show(&views, view).await.unwrap();
        shows.push(began.elapsed());
        assert!(!shown.attempts.is_empty());
        log.close().await;
    }
    for (name, mut times) in [("list", lists), ("show", shows)] {
        times.sort_unstable();
        let slowest = times[times.len() - 1].as_secs_f64() * 1000.0;
        let name = format!("million_sqlite_{name}_slowest_ms");
        show.figure(&name, format!("{slowest:.1}"), format!("<={ANSWER_LIMIT_MS}"), slowest <= ANSWER_LIMIT_MS);
    }
}
