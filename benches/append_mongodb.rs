//! Bench: what the log on MongoDB costs above the driver itself. Medians and ratios; nothing is asserted.
//!
//! Appends by 1, 8, 64 and 256 callers stand against the raw driver's `insert_many` of the very same documents into a
//! collection with the same indexes, majority and journaled, one batch in flight, in batches of the log's own mean size,
//! by turns in the same run. Then latencies until a position and until a subscriber, and reads against raw scans.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/mongo.rs"]
mod mongo;
#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::options::{Acknowledgment, CollectionOptions, ReadConcern, WriteConcern};
use testledger::event_store::EventLog;
use testledger::event_store::mongodb::MongoLog;
use testledger::event_store::subscription::Subscription;
use testledger_schemas::commit::{Commit, CommitId, StreamHead};

use support::{commit, stream};

/// How many callers append at once.
const CALLERS: [u64; 4] = [1, 8, 64, 256];
/// So many commits are appended by one caller in each turn, and so many more for each further one, up to a bound.
const COMMITS_OF_ONE: u64 = 200;
/// The most commits of one turn.
const COMMITS: u64 = 8_192;
/// So many turns, log and raw inserts one after the other; medians are taken over all.
const TURNS: u64 = 5;
/// The ratio to the raw driver that 256 callers have to reach.
const RATIO_LIMIT: f64 = 0.8;
/// How far positions may be behind when the last append of a turn is acknowledged, in milliseconds.
const BEHIND_LIMIT_MS: f64 = 250.0;
/// With this in the environment, 256 callers append for so many seconds and nothing else is done: for a profiler.
const PROFILED: &str = "PROFILED_SECONDS";
/// So many commits are read.
const READ: usize = 20_000;
/// How much is read at once.
const AT_ONCE: usize = 1_000;

fn main() -> std::process::ExitCode {
    if !show::is_asked() {
        return std::process::ExitCode::SUCCESS;
    }
    let mut show = show::Show::new(None);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let place = mongo::database().await;
        if let Ok(seconds) = std::env::var(PROFILED) {
            return profiled(&place, seconds.parse().unwrap()).await;
        }
        println!("append, commits of one event, {TURNS} turns (medians)");
        for callers in CALLERS {
            appends(&place, callers, &mut show).await;
        }
        println!("from an append to its page and to a subscriber");
        for callers in CALLERS {
            latencies(&place, callers).await;
        }
        reads(&place, &mut show).await;
    });
    show.end()
}

fn median<T: Copy + PartialOrd>(values: &mut [T]) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    values[values.len() / 2]
}

fn percent(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn raw_collection(place: &mongo::Place, name: &str) -> mongodb::Collection<RawDocumentBuf> {
    let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let options = CollectionOptions::builder().write_concern(durable).read_concern(ReadConcern::majority()).build();
    place.client.database(&place.name).collection_with_options(name, options)
}

/// The same commits by the log and by raw inserts, in turns.
async fn appends(place: &mongo::Place, callers: u64, show: &mut show::Show) {
    let log = place.open().await;
    let raw = raw_collection(place, &format!("raw_{callers}"));
    let (mut rates, mut raw_rates, mut ratios, mut lags, mut sizes) = (vec![], vec![], vec![], vec![], vec![]);
    let mut latencies = vec![];
    for turn in 0..TURNS {
        let commits = commits_of(turn, callers);
        let count: u64 = commits.iter().map(|own| own.len() as u64).sum();
        let documents: Vec<RawDocumentBuf> = interleaved(&commits).map(mongo::document).collect();
        let until = log.last_page().await.unwrap().last_position() + count;
        let batches = log.batches();
        let began = Instant::now();
        latencies.extend(turn_of(&log, commits).await.into_iter().map(|one| one.acknowledged - one.sent));
        let took = began.elapsed();
        log.head().wait_for(|head| *head >= until).await.unwrap();
        lags.push((began.elapsed() - took).as_secs_f64() * 1000.0);
        let size = (count as f64 / (log.batches() - batches) as f64).round().max(1.0) as usize;
        sizes.push(size);
        let raw_took = insert_raw(&raw, &documents, size).await;
        raw.delete_many(doc! {}).await.unwrap();
        rates.push(count as f64 / took.as_secs_f64());
        raw_rates.push(count as f64 / raw_took.as_secs_f64());
        ratios.push(raw_took.as_secs_f64() / took.as_secs_f64());
    }
    latencies.sort_unstable();
    let (ratio, lag) = (median(&mut ratios), median(&mut lags));
    println!(
        "  {callers:>3} callers: {:>6.0} commits/s, raw {:>6.0}/s, {ratio:.2} of it, {} in a batch; append p50 {:.1?} p99 {:.1?}; \
         positions behind at the end {lag:.0} ms",
        median(&mut rates),
        median(&mut raw_rates),
        median(&mut sizes),
        percent(&latencies, 50),
        percent(&latencies, 99),
    );
    if callers == 256 {
        let met = ratio >= RATIO_LIMIT;
        show.figure("append_mongodb_256_ratio", format!("{ratio:.2}"), format!(">={RATIO_LIMIT}"), met);
        // Keeps up: when the last append is acknowledged, its position is no more than moments away.
        show.figure(
            "append_mongodb_256_behind_ms",
            format!("{lag:.0}"),
            format!("<={BEHIND_LIMIT_MS}"),
            lag <= BEHIND_LIMIT_MS,
        );
    }
    log.close().await;
}

async fn profiled(place: &mongo::Place, seconds: u64) {
    let (log, began) = (place.open().await, Instant::now());
    let mut count = 0;
    for turn in 0.. {
        if began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        count += turn_of(&log, commits_of(turn, CALLERS[3])).await.len();
    }
    println!("{:.0} commits/s, their making included", count as f64 / began.elapsed().as_secs_f64());
    log.close().await;
}

/// From an append to its page, and to a subscriber who has read it.
async fn latencies(place: &mongo::Place, callers: u64) {
    let log = place.open().await;
    let commits = commits_of(TURNS, callers);
    let count = commits.iter().map(Vec::len).sum();
    let before = log.last_page().await.unwrap().last_position();
    let subscriber = tokio::spawn(subscribe(Arc::clone(&log), before, count));
    let appended = turn_of(&log, commits).await;
    let times = subscriber.await.unwrap();
    let since = |at: fn(&(Instant, Instant)) -> Instant| {
        let mut all: Vec<Duration> =
            appended.iter().map(|one| at(&times[&one.id]).saturating_duration_since(one.sent)).collect();
        all.sort_unstable();
        (percent(&all, 50), percent(&all, 99))
    };
    let (placed, seen) = (since(|times| times.0), since(|times| times.1));
    println!(
        "  {callers:>3} callers: page p50 {:.1?} p99 {:.1?}; subscriber p50 {:.1?} p99 {:.1?}",
        placed.0, placed.1, seen.0, seen.1
    );
    log.close().await;
}

/// What each caller appends to a stream of its own, made before anything is measured.
fn commits_of(turn: u64, callers: u64) -> Vec<Vec<Commit>> {
    let each = (COMMITS_OF_ONE * callers).min(COMMITS) / callers;
    let of_one = |caller| {
        let own = stream(callers * 1_000_000_000 + turn * 1_000_000 + caller);
        let mut head = StreamHead::EMPTY;
        let next = |_| {
            let commit = commit(own, head, 1);
            head = commit.head();
            commit
        };
        (0..each).map(next).collect()
    };
    (0..callers).map(of_one).collect()
}

/// The commits in about the order in which they are appended.
fn interleaved(commits: &[Vec<Commit>]) -> impl Iterator<Item = &Commit> {
    (0..commits[0].len()).flat_map(|at| commits.iter().map(move |own| &own[at]))
}

struct Appended {
    id: CommitId,
    sent: Instant,
    acknowledged: Instant,
}

/// Each caller appends its share, one commit after the other.
async fn turn_of(log: &Arc<MongoLog>, commits: Vec<Vec<Commit>>) -> Vec<Appended> {
    let one = |own: Vec<Commit>| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let mut appended = Vec::with_capacity(own.len());
            for commit in own {
                let (id, sent) = (commit.id, Instant::now());
                log.append(commit).await.unwrap();
                appended.push(Appended { id, sent, acknowledged: Instant::now() });
            }
            appended
        })
    };
    let tasks: Vec<_> = commits.into_iter().map(one).collect();
    let mut appended = vec![];
    for task in tasks {
        appended.extend(task.await.unwrap());
    }
    appended
}

/// Follows the log until so many commits have come: when the page of each was there, and when the commit was read.
async fn subscribe(log: Arc<MongoLog>, after: u64, commits: usize) -> HashMap<CommitId, (Instant, Instant)> {
    let mut pages = Subscription::after(&*log, after);
    let mut times = HashMap::new();
    loop {
        while let Some(page) = pages.next(&*log).await.unwrap() {
            if page.first_position <= after {
                continue;
            }
            let placed = Instant::now();
            let ids: Vec<_> = page.entries.iter().map(|entry| entry.commit).collect();
            let read = log.read_commits(&ids).await.unwrap();
            let seen = Instant::now();
            times.extend(read.into_iter().flatten().map(|commit| (commit.id, (placed, seen))));
        }
        if times.len() >= commits {
            return times;
        }
        assert!(pages.more().await);
    }
}

async fn insert_raw(raw: &mongodb::Collection<RawDocumentBuf>, documents: &[RawDocumentBuf], size: usize) -> Duration {
    let began = Instant::now();
    for batch in documents.chunks(size) {
        raw.insert_many(batch).ordered(false).await.unwrap();
    }
    began.elapsed()
}

/// The whole log, against a raw scan that decodes nothing.
async fn reads(place: &mongo::Place, show: &mut show::Show) {
    let log = place.open().await;
    let commits = raw_collection(place, "commits");
    let (mut whole, mut raw_whole) = (vec![], vec![]);
    for _ in 0..TURNS {
        let began = Instant::now();
        let read = read_whole(&log).await;
        whole.push(read as f64 / began.elapsed().as_secs_f64());
        let began = Instant::now();
        let mut batches = commits.find(doc! {}).limit(READ as i64).batch().await.unwrap();
        let mut count = 0;
        while let Some(batch) = batches.try_next().await.unwrap() {
            count += batch.doc_slices().unwrap().into_iter().filter(|one| black_box(one).is_ok()).count();
        }
        raw_whole.push(count as f64 / began.elapsed().as_secs_f64());
    }
    let (own, raw) = (median(&mut whole), median(&mut raw_whole));
    println!("read {READ} commits by pages: {own:.0}/s; raw scan of documents that are not decoded {raw:.0}/s");
    show.figure("read_mongodb_commits_per_second", format!("{own:.0}"), "reported", true);
    log.close().await;
}

/// As a projection reads: pages in order, and the commits they name.
async fn read_whole(log: &MongoLog) -> usize {
    let mut pages = Subscription::from_page(log, 0);
    let mut count = 0;
    let mut due = vec![];
    while let Some(page) = pages.next(log).await.unwrap() {
        due.extend(page.entries.iter().map(|entry| entry.commit));
        if due.len() >= AT_ONCE {
            count += log.read_commits(&due).await.unwrap().into_iter().flatten().count();
            due.clear();
        }
        if count >= READ {
            break;
        }
    }
    count
}
