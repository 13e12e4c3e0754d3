//! Show: a stream of 100,000 events is appended to and read from its end as fast at the end as at the start.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testledger::event_store::EventLog;
use testledger::event_store::sqlite::SqliteLog;
use testledger_schemas::commit::StreamHead;

use support::{append_many, commit, stream};

/// So many append at once, each to a stream of its own.
const APPENDERS: u64 = 100;
/// So often each of them.
const APPENDS: usize = 50;
/// The length of the stream.
const EVENTS: usize = 100_000;
/// So many rounds are compared at each end.
const WINDOW: usize = 1_000;
/// How much slower the last rounds may be than the first.
const LIMIT: f64 = 1.2;

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (rate, per_page) = runtime.block_on(crowd());
    println!("{APPENDERS} appenders at once: {rate:.0} appends/s, {per_page:.1} commits in a page (one sync each)");
    let rounds = runtime.block_on(rounds());
    let mut show = show::Show::new(None);
    for (name, pick) in [("read", 0), ("append", 1), ("round", 2)] {
        let costs: Vec<_> = rounds.iter().map(|round| round[pick]).collect();
        let (first, last) = (median(&costs[..WINDOW]), median(&costs[costs.len() - WINDOW..]));
        let ratio = last.as_secs_f64() / first.as_secs_f64();
        println!("{name}: median of the first {WINDOW}: {first:?}, of the last: {last:?}");
        show.figure(&format!("log_growth_{name}_ratio"), format!("{ratio:.3}"), LIMIT, ratio <= LIMIT);
    }
    show.end()
}

/// How many appends a second many appenders get done at once, and how many of them share one sync of the disk.
async fn crowd() -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("ledger.db")).await.unwrap();
    let began = Instant::now();
    let tasks = (0..APPENDERS).map(|n| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { append_many(&*log, stream(n), APPENDS).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let commits = (APPENDERS * APPENDS as u64) as f64;
    let rate = commits / began.elapsed().as_secs_f64();
    let pages = log.last_page().await.unwrap().number;
    log.close().await;
    (rate, commits / pages as f64)
}

/// The costs of reading what is new, of appending, and of both, for each event.
async fn rounds() -> Vec<[Duration; 3]> {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("ledger.db")).await.unwrap();
    let (mut head, mut rounds) = (StreamHead::EMPTY, Vec::new());
    for _ in 0..EVENTS {
        let next = commit(stream(1), head, 1);
        let began = Instant::now();
        // The writer knows all but its last commit: what a decider with a snapshot loads.
        let news = log.read_stream(stream(1), head.number.saturating_sub(1), 100).await.unwrap();
        let read = began.elapsed();
        assert_eq!(news.last().map(|commit| commit.head()).unwrap_or(StreamHead::EMPTY), head);
        log.append(next.clone()).await.unwrap();
        let both = began.elapsed();
        rounds.push([read, both - read, both]);
        head = next.head();
    }
    log.close().await;
    rounds
}

fn median(costs: &[Duration]) -> Duration {
    let mut sorted = costs.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}
