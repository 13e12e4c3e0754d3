//! Bench: what the SQLite log costs above plain SQLite. Medians and ratios; nothing is asserted.
//!
//! Appends by 1, 8, 64 and 256 callers at once stand against raw inserts of the very same rows, in transactions of the
//! same sizes, into a file with the same settings, by turns in the same run. Reads of the whole log and of one stream
//! stand against raw scans of the same rows. Then the canonical form and the hash alone.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use testledger::event_store::EventLog;
use testledger::event_store::sqlite::SqliteLog;
use testledger_schemas::commit::{Commit, StreamHead};

use support::{commit, stream};

/// How many callers append at once.
const CALLERS: [u64; 4] = [1, 8, 64, 256];
/// So many commits are appended for each number of callers, in each turn.
const COMMITS: u64 = 2_048;
/// So many turns, log and raw inserts one after the other; medians are taken over all.
const TURNS: u64 = 5;
/// So many of the commits that are read are of one stream.
const LONG: usize = 2_500;
/// So many commits are read, and hashed.
const READ: usize = 4 * LONG;
/// How much is read at once.
const AT_ONCE: usize = 1_000;

fn main() {
    if !show::is_asked() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("append, {COMMITS} commits of one event, {TURNS} turns (medians)");
    for callers in CALLERS {
        runtime.block_on(appends(callers));
    }
    runtime.block_on(reads());
    hashes();
}

fn median<T: Copy + PartialOrd>(values: &mut [T]) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    values[values.len() / 2]
}

fn percent(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// The same commits by the log and by raw inserts, in turns.
async fn appends(callers: u64) {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("ledger.db")).await.unwrap();
    let raw = raw_file(&folder.path().join("raw.db"));
    let (mut rates, mut raw_rates, mut ratios, mut latencies) = (vec![], vec![], vec![], vec![]);
    for turn in 0..TURNS {
        let page_before = log.last_page().await.unwrap().number;
        let began = Instant::now();
        let mut commits = turn_of(&log, turn, callers, &mut latencies).await;
        let took = began.elapsed();
        // The same rows in the same order, in transactions of the same sizes, each with its page.
        let pages = log.read_pages(page_before + 1, COMMITS as usize).await.unwrap();
        commits.sort_by_key(|commit| commit.id);
        let rows = |page: &testledger_schemas::Page| -> Vec<(String, String)> {
            let commit = |entry: &testledger_schemas::PageEntry| {
                let at = commits.binary_search_by_key(&entry.commit, |commit| commit.id).unwrap();
                (entry.commit.to_string(), commits[at].to_json())
            };
            page.entries.iter().map(commit).collect()
        };
        let batches: Vec<_> =
            pages.iter().map(|page| (page, serde_json::to_string(page).unwrap(), rows(page))).collect();
        let raw_took = insert_raw(&raw, &batches);
        rates.push(COMMITS as f64 / took.as_secs_f64());
        raw_rates.push(COMMITS as f64 / raw_took.as_secs_f64());
        ratios.push(took.as_secs_f64() / raw_took.as_secs_f64());
    }
    latencies.sort_unstable();
    println!(
        "  {callers:>3} callers: {:>7.0} commits/s, raw {:>7.0}/s, time as a ratio to raw {:.2}; append p50 {:?}, p99 {:?}",
        median(&mut rates),
        median(&mut raw_rates),
        median(&mut ratios),
        percent(&latencies, 50),
        percent(&latencies, 99)
    );
    log.close().await;
}

/// Each caller appends its share to a stream of its own, one commit after the other.
async fn turn_of(log: &Arc<SqliteLog>, turn: u64, callers: u64, latencies: &mut Vec<Duration>) -> Vec<Commit> {
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let log = Arc::clone(log);
            let own = stream(turn * 1_000_000 + caller);
            tokio::spawn(async move {
                let (mut head, mut commits, mut latencies) = (StreamHead::EMPTY, vec![], vec![]);
                for _ in 0..COMMITS / callers {
                    let next = commit(own, head, 1);
                    head = next.head();
                    commits.push(next.clone());
                    let began = Instant::now();
                    log.append(next).await.unwrap();
                    latencies.push(began.elapsed());
                }
                (commits, latencies)
            })
        })
        .collect();
    let mut commits = vec![];
    for task in tasks {
        let (own, took) = task.await.unwrap();
        commits.extend(own);
        latencies.extend(took);
    }
    commits
}

/// A file with the log's settings and tables.
fn raw_file(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    let set_up = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
        CREATE TABLE commits (id TEXT PRIMARY KEY NOT NULL, json TEXT NOT NULL) STRICT;
        CREATE TABLE pages (number INTEGER PRIMARY KEY, first_position INTEGER NOT NULL, json TEXT NOT NULL) STRICT;
        CREATE INDEX pages_by_position ON pages (first_position);";
    connection.execute_batch(set_up).unwrap();
    connection
}

type Batch<'a> = (&'a testledger_schemas::Page, String, Vec<(String, String)>);

fn insert_raw(connection: &Connection, batches: &[Batch<'_>]) -> Duration {
    let began = Instant::now();
    for (page, json, rows) in batches {
        let transaction = connection.unchecked_transaction().unwrap();
        for (id, json) in rows {
            let insert = transaction.prepare_cached("INSERT INTO commits VALUES (?1, ?2)");
            insert.unwrap().execute(params![id, json]).unwrap();
        }
        let insert = transaction.prepare_cached("INSERT INTO pages VALUES (?1, ?2, ?3)");
        insert.unwrap().execute(params![page.number as i64, page.first_position as i64, json]).unwrap();
        transaction.commit().unwrap();
    }
    began.elapsed()
}

/// The whole log and one stream, against raw scans.
async fn reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let log = SqliteLog::open(&path).await.unwrap();
    let mut head = StreamHead::EMPTY;
    // One commit in four is of one long stream, the others are streams of one.
    for round in 0..LONG as u64 {
        let long = commit(stream(1), head, 1);
        head = long.head();
        let others = (0..3).map(|other| commit(stream(2 + round * 3 + other), StreamHead::EMPTY, 1));
        let all: Vec<_> = others.chain([long]).collect();
        futures::future::try_join_all(all.into_iter().map(|commit| log.append(commit))).await.unwrap();
    }
    println!("read {READ} commits, {TURNS} turns (medians)");
    let raw = Connection::open(&path).unwrap();
    let (mut whole, mut one, mut raw_whole, mut raw_one) = (vec![], vec![], vec![], vec![]);
    for _ in 0..TURNS {
        whole.push(READ as f64 / timed(read_whole(&log)).await.as_secs_f64());
        raw_whole.push(READ as f64 / scan(&raw, "SELECT id, json FROM commits ORDER BY rowid").as_secs_f64());
        one.push(LONG as f64 / timed(read_stream(&log)).await.as_secs_f64());
        let name = stream(1);
        let sql = format!("SELECT id, json FROM commits WHERE id > '{name}/' AND id < '{name}0' ORDER BY id");
        raw_one.push(LONG as f64 / scan(&raw, &sql).as_secs_f64());
    }
    for (what, own, raw) in [("whole log", &mut whole, &mut raw_whole), ("one stream", &mut one, &mut raw_one)] {
        let (own, raw) = (median(own), median(raw));
        println!("  {what}: {own:>9.0} commits/s, raw scan {raw:>9.0}/s, ratio {:.1}", raw / own);
    }
    log.close().await;
}

async fn timed(read: impl Future<Output = usize>) -> Duration {
    let began = Instant::now();
    assert!(black_box(read.await) >= LONG);
    began.elapsed()
}

/// As a projection reads: pages in order, and the commits they name.
async fn read_whole(log: &SqliteLog) -> usize {
    let (mut next, mut count) = (0, 0);
    loop {
        let pages = log.read_pages(next, 64).await.unwrap();
        let Some(last) = pages.last() else { return count };
        next = last.number + 1;
        let ids: Vec<_> = pages.iter().flat_map(|page| &page.entries).map(|entry| entry.commit).collect();
        for some in ids.chunks(AT_ONCE) {
            count += log.read_commits(some).await.unwrap().into_iter().flatten().count();
        }
    }
}

async fn read_stream(log: &SqliteLog) -> usize {
    let mut count = 0;
    loop {
        let commits = log.read_stream(stream(1), count as u64, AT_ONCE).await.unwrap();
        if commits.is_empty() {
            return count;
        }
        count += commits.len();
    }
}

fn scan(connection: &Connection, sql: &str) -> Duration {
    let began = Instant::now();
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut bytes = 0;
    while let Some(row) = rows.next().unwrap() {
        bytes += row.get::<_, String>(0).unwrap().len() + row.get::<_, String>(1).unwrap().len();
    }
    black_box(bytes);
    began.elapsed()
}

/// The canonical form and the hash of a commit, and of that the hash alone.
fn hashes() {
    println!("canonical form and hash, {READ} commits, {TURNS} turns (medians)");
    for events in [1, 10] {
        let commit = commit(stream(1), StreamHead::EMPTY, events);
        let bytes = commit.to_json().len();
        let per_second = |work: &dyn Fn()| {
            let mut rates: Vec<_> = (0..TURNS)
                .map(|_| {
                    let began = Instant::now();
                    (0..READ).for_each(|_| work());
                    READ as f64 / began.elapsed().as_secs_f64()
                })
                .collect();
            median(&mut rates)
        };
        let hash = per_second(&|| _ = black_box(commit.computed_hash().unwrap()));
        let check = per_second(&|| commit.check().unwrap());
        let json = per_second(&|| _ = black_box(commit.to_json()));
        let text = commit.to_json();
        let sha = per_second(&|| _ = black_box(testledger_schemas::Hash::of(text.as_bytes())));
        println!(
            "  {events:>2} events, {bytes} bytes of JSON: canonical form and hash {hash:.0}/s, check {check:.0}/s, \
             JSON {json:.0}/s, SHA-256 of the JSON {sha:.0}/s"
        );
    }
}
