//! Two processes append to one SQLite log while one of them is killed again and again; then everything is compared
//! with what each process wrote into a synced ledger of its own after each acknowledgement.
#![allow(dead_code, reason = "the test and the show use their part of it")]

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testledger::event_store::sqlite::SqliteLog;
use testledger::event_store::{AppendError, EventLog};
use testledger::ports::ids::{Ids, RandomIds, SeededIds};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, StreamId};

use crate::support::{HANG, all_pages, check_whole, commit, stream};

/// The first argument of a child.
pub const WRITER: &str = "writer";
/// So many tasks append in each process, each to a stream of its own; one more appends to the stream that all share.
const APPENDERS: usize = 4;
/// The stream that both processes append to.
const SHARED: u64 = 1;
/// A life ends so many milliseconds after its first acknowledgement, at the most.
const LONGEST_LIFE_MS: u64 = 400;

/// What was found in the end.
pub struct Findings {
    pub kills: usize,
    pub acknowledged: usize,
    pub acknowledged_by_killed: usize,
    pub stored: usize,
    pub lost: usize,
    pub duplicated: usize,
    pub positions: u64,
    pub events: u64,
}

/// The child: appends until its standard input ends. Arguments: database, ledger.
pub fn writer_main(args: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (database, ledger) = (PathBuf::from(&args[0]), PathBuf::from(&args[1]));
    runtime.block_on(async {
        let log = SqliteLog::open(&database).await.unwrap();
        let ledger = Arc::new(Ledger::open(&ledger));
        let stop = tokio_util::sync::CancellationToken::new();
        let streams = (0..APPENDERS).map(|_| StreamId::from(RandomIds.execution_id())).chain([stream(SHARED)]);
        let tasks = streams
            .map(|stream| tokio::spawn(append_until(Arc::clone(&log), stream, Arc::clone(&ledger), stop.clone())));
        let tasks = tasks.collect::<Vec<_>>();
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        stop.cancel();
        for task in tasks {
            task.await.unwrap();
        }
        log.close().await;
    });
    ExitCode::SUCCESS
}

async fn append_until(
    log: Arc<SqliteLog>,
    stream: StreamId,
    ledger: Arc<Ledger>,
    stop: tokio_util::sync::CancellationToken,
) {
    let mut head = StreamHead::EMPTY;
    while !stop.is_cancelled() {
        let commit = commit(stream, head, 1 + (head.number % 3) as usize);
        match log.append(commit.clone()).await {
            Ok(()) => {
                ledger.note(&commit);
                head = commit.head();
            }
            Err(AppendError::Conflict { .. }) => head = log.stream_head(stream).await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a writer knows to be acknowledged: a line each, synced.
struct Ledger(Mutex<File>);

impl Ledger {
    fn open(path: &Path) -> Self {
        Self(Mutex::new(OpenOptions::new().create(true).append(true).open(path).unwrap()))
    }

    fn note(&self, commit: &Commit) {
        let mut file = self.0.lock().unwrap();
        file.write_all(format!("{} {}\n", commit.id, commit.hash).as_bytes()).unwrap();
        file.sync_data().unwrap();
    }

    fn read(path: &Path) -> Vec<(CommitId, Hash)> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // A line without its end was being written when the process died.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let entry = |line: &str| {
            let (id, hash) = line.split_once(' ').unwrap();
            (id.parse().unwrap(), hash.parse().unwrap())
        };
        whole.lines().map(entry).collect()
    }
}

/// Runs both writers in `folder`, kills the second one so many times, and compares.
pub fn torture(folder: &Path, kills: usize, seed: u64) -> Findings {
    let database = folder.join("ledger.db");
    let (steady, killed) = (folder.join("steady.txt"), folder.join("killed.txt"));
    let dice = SeededIds::new(seed);
    let mut survivor = start(&database, &steady);
    for _ in 0..kills {
        let before = size(&killed);
        let mut victim = start(&database, &killed);
        until(|| size(&killed) > before);
        std::thread::sleep(Duration::from_millis((dice.random() % u128::from(LONGEST_LIFE_MS)) as u64));
        victim.kill().unwrap();
        assert!(!victim.wait().unwrap().success(), "it was killed while it worked");
        let progress = size(&steady);
        until(|| size(&steady) > progress);
    }
    drop(survivor.stdin.take());
    assert!(survivor.wait().unwrap().success(), "the survivor ended well");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(compare(&database, kills, &Ledger::read(&steady), &Ledger::read(&killed)))
}

fn start(database: &Path, ledger: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(WRITER).arg(database).arg(ledger).stdin(Stdio::piped()).spawn().unwrap()
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

fn until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < HANG, "a writer makes no progress");
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn compare(database: &Path, kills: usize, steady: &[(CommitId, Hash)], killed: &[(CommitId, Hash)]) -> Findings {
    let log = SqliteLog::open(database).await.unwrap();
    let order = check_whole(&*log).await;
    let pages = all_pages(&*log, 100).await.unwrap();
    let mut places: HashMap<(CommitId, Hash), usize> = HashMap::new();
    for entry in pages.iter().flat_map(|page| &page.entries) {
        *places.entry((entry.commit, entry.hash)).or_default() += 1;
    }
    let acknowledged = steady.iter().chain(killed);
    let lost = acknowledged.clone().filter(|entry| !places.contains_key(entry)).count();
    let events: Vec<EventId> = event_ids(&*log, &order).await;
    let different: std::collections::HashSet<_> = events.iter().collect();
    let findings = Findings {
        kills,
        acknowledged: acknowledged.count(),
        acknowledged_by_killed: killed.len(),
        stored: order.len(),
        lost,
        duplicated: places.values().filter(|places| **places > 1).count() + events.len() - different.len(),
        positions: log.last_page().await.unwrap().last_position(),
        events: events.len() as u64,
    };
    log.close().await;
    findings
}

async fn event_ids(log: &dyn EventLog, order: &[CommitId]) -> Vec<EventId> {
    let mut ids = Vec::new();
    for chunk in order.chunks(200) {
        let commits = log.read_commits(chunk).await.unwrap().into_iter().flatten();
        ids.extend(commits.flat_map(|commit| commit.events).map(|event| event.event_id));
    }
    ids
}
