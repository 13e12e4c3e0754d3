//! Show: from an append to the view on MongoDB, with a projection worker in a process of its own, at two rates; and the
//! first page of a trace of 100,000 steps.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/history.rs"]
mod history;
#[path = "../tests/support/show.rs"]
mod show;

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use history::Histories;
use mongodb::bson::{RawDocumentBuf, doc};
use testledger::event_store::SharedLog;
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger::event_store::subscription::Subscription;
use testledger::views::mongodb::MongoViews;
use testledger::views::projections::{Name, Projections};
use testledger::views::traces::{TraceQuery, TraceViews};
use testledger_projections::executions::Executions;
use testledger_projections::ports::ViewStore;
use testledger_projections::router::{Routing, Urgency, urgency};
use testledger_schemas::commit::{Commit, CommitId};
use testledger_schemas::plan::Priority;
use testledger_schemas::{ExecutionId, Hash, StreamId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What the histories are drawn from.
const SEED: u64 = 20_261_129;
/// The rates, in events a second.
const RATES: [u64; 2] = [100, 2_000];
/// How long each rate is measured.
const MEASURED: Duration = Duration::from_secs(20);
/// The 99th percentile of critical events, in milliseconds.
const CRITICAL_LIMIT_MS: f64 = 250.0;
/// How many steps the long trace has.
const STEPS: u32 = 100_000;
/// How long its first page may take, in milliseconds.
const PAGE_LIMIT_MS: f64 = 50.0;
/// The most a document of it may have.
const DOCUMENT_LIMIT: usize = 512 << 10;
/// How often the page is read.
const READS: usize = 20;
/// The first argument of a child that folds.
const WORKER: &str = "worker";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if args.first().is_some_and(|arg| arg == WORKER) {
        runtime.block_on(work(&args[1]));
        return ExitCode::SUCCESS;
    }
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let mut show = show::Show::new(Some(SEED));
    runtime.block_on(async {
        for rate in RATES {
            visible(&mut show, rate).await;
        }
        long_trace(&mut show).await;
    });
    show.end()
}

async fn open(address: &str) -> (SharedLog, mongodb::Database) {
    let store = MongoStore::connect(MongoAddress::parse(address).await.unwrap()).await.unwrap();
    let database = store.database();
    (MongoLog::open(store).await.unwrap(), database)
}

/// The child: as `testledger project`, until its standard input ends.
async fn work(address: &str) {
    let (log, database) = open(address).await;
    let projections = Projections::mongodb(log.clone(), &database).await.unwrap();
    let stop = CancellationToken::new();
    let ending = stop.clone();
    tokio::task::spawn_blocking(move || {
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        ending.cancel();
    });
    projections.work(&Name::ALL, "bench", &Routing::default(), &stop).await;
    log.close().await;
}

fn worker(address: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([WORKER, address]).stdin(Stdio::piped()).spawn().unwrap()
}

/// Events come at a rate; each is seen when the checkpoint of the executions has passed it.
async fn visible(show: &mut show::Show, rate: u64) {
    let fresh = test_servers::fresh_database().await.unwrap();
    let (log, database) = open(fresh.uri()).await;
    let store = MongoViews::<Executions>::open(&database).await.unwrap();
    let mut child = worker(fresh.uri());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (tell, mut acknowledged) = mpsc::unbounded_channel();
    let appending = tokio::spawn(append(log.clone(), rate, tell));
    // The positions, as they are given.
    let (mut pages, mut next) = (Subscription::from_page(&*log, 0), 1);
    let (mut sent, mut due) = (BTreeMap::<CommitId, (Instant, bool)>::new(), BTreeMap::<u64, (Instant, bool)>::new());
    let (mut all, mut critical) = (vec![], vec![]);
    while !appending.is_finished() || !sent.is_empty() || !due.is_empty() {
        while let Ok((id, at, is_critical)) = acknowledged.try_recv() {
            sent.insert(id, (at, is_critical));
        }
        while let Some(page) = pages.next(&*log).await.unwrap() {
            for entry in &page.entries {
                next += entry.events;
                // An append may have its place before its acknowledgement is heard of here.
                while !sent.contains_key(&entry.commit) {
                    let (id, at, is_critical) = acknowledged.recv().await.unwrap();
                    sent.insert(id, (at, is_critical));
                }
                due.insert(next - 1, sent.remove(&entry.commit).unwrap());
            }
        }
        let position = store.checkpoint().await.unwrap().position;
        let now = Instant::now();
        let later = due.split_off(&(position + 1));
        for (at, is_critical) in std::mem::replace(&mut due, later).into_values() {
            all.push(now - at);
            if is_critical {
                critical.push(now - at);
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(child.stdin.take());
    assert!(tokio::task::block_in_place(|| child.wait()).unwrap().success());
    log.close().await;
    let name = |what: &str| format!("visible_mongodb_{rate}_{what}_ms");
    let (p50, p99) = (percent(&mut all, 50), percent(&mut all, 99));
    show.figure(&name("all_p50"), format!("{p50:.1}"), "reported", true);
    show.figure(&name("all_p99"), format!("{p99:.1}"), "reported", true);
    let (p50, p99) = (percent(&mut critical, 50), percent(&mut critical, 99));
    show.figure(&name("critical_p50"), format!("{p50:.1}"), "reported", true);
    let met = p99 < CRITICAL_LIMIT_MS;
    show.figure(&name("critical_p99"), format!("{p99:.1}"), format!("<{CRITICAL_LIMIT_MS}"), met);
}

fn percent(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1000.0
}

/// Appends executions of ten steps side by side, commit after commit, open loop. The time counts from the sending.
async fn append(log: SharedLog, rate: u64, tell: mpsc::UnboundedSender<(CommitId, Instant, bool)>) {
    let mut histories = Histories::new(SEED + rate, Hash::of(b"plan"));
    let events = rate * MEASURED.as_secs();
    let (mut written, mut lanes): (u64, Vec<Vec<Commit>>) = (0, vec![vec![]; 50]);
    for number in 0.. {
        if written >= events {
            break;
        }
        let commits = histories.load(number);
        written += commits.iter().map(|commit| commit.events.len() as u64).sum::<u64>();
        lanes[number as usize % 50].extend(commits);
    }
    let began = Instant::now();
    let mut lanes: Vec<_> = lanes
        .into_iter()
        .map(|commits| {
            let (give, mut take) = mpsc::unbounded_channel::<Commit>();
            let (log, tell) = (Arc::clone(&log), tell.clone());
            let task = tokio::spawn(async move {
                while let Some(commit) = take.recv().await {
                    let (id, at) = (commit.id, Instant::now());
                    let is_critical = commit.events.iter().any(|event| {
                        event.read().is_ok_and(|event| urgency(&event, Priority::Normal) == Urgency::Critical)
                    });
                    log.append(commit).await.unwrap();
                    tell.send((id, at, is_critical)).unwrap();
                }
            });
            (commits.into_iter(), give, task)
        })
        .collect();
    let mut given = 0;
    loop {
        let mut is_any = false;
        for (commits, give, _) in &mut lanes {
            let Some(commit) = commits.next() else { continue };
            is_any = true;
            given += commit.events.len() as u64;
            give.send(commit).unwrap();
            let due = began + Duration::from_secs_f64(given as f64 / rate as f64);
            tokio::time::sleep_until(due.into()).await;
        }
        if !is_any {
            break;
        }
    }
    for (_, give, task) in lanes {
        drop(give);
        task.await.unwrap();
    }
}

async fn long_trace(show: &mut show::Show) {
    let fresh = test_servers::fresh_database().await.unwrap();
    let (log, database) = open(fresh.uri()).await;
    let commits = Histories::new(SEED, Hash::of(b"plan")).long(STEPS);
    let stream: StreamId = commits[0].id.stream;
    for commit in commits {
        log.append(commit).await.unwrap();
    }
    let id: ExecutionId = stream.execution().unwrap();
    let traces = TraceViews::mongodb(log.clone(), &database).await.unwrap();
    let head = log.last_page().await.unwrap().last_position();
    let began = Instant::now();
    while traces.catch_up().await.unwrap().position < head {}
    println!("a trace of {STEPS} steps is folded in {:.1} s", began.elapsed().as_secs_f64());
    let mut times = vec![];
    for _ in 0..READS {
        let began = Instant::now();
        let page = traces.read(id, &TraceQuery::default()).await.unwrap().unwrap();
        times.push(began.elapsed());
        assert_eq!((page.items.len() as u64, page.trace.step_count), (TraceQuery::default().limit, u64::from(STEPS)));
    }
    let slowest = percent(&mut times, 100);
    let met = slowest < PAGE_LIMIT_MS;
    show.figure("long_trace_first_page_slowest_ms", format!("{slowest:.1}"), format!("<{PAGE_LIMIT_MS}"), met);
    let largest = largest_document(&database).await;
    let met = largest <= DOCUMENT_LIMIT;
    show.figure("long_trace_largest_document_bytes", largest, format!("<={DOCUMENT_LIMIT}"), met);
    log.close().await;
}

async fn largest_document(database: &mongodb::Database) -> usize {
    let mut largest = 0;
    for name in database.list_collection_names().await.unwrap() {
        if !name.starts_with("view_traces") {
            continue;
        }
        let mut all = database.collection::<RawDocumentBuf>(&name).find(doc! {}).await.unwrap();
        while all.advance().await.unwrap() {
            largest = largest.max(all.current().as_bytes().len());
        }
    }
    largest
}
