//! The oplog is overrun: while no sequencer ran, and while the log was idle, with a handle open and with none.

use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdout, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use test_servers::{ReplicaSet, ReplicaSetOptions};
use testledger::event_store::EventLog;
use testledger::event_store::mongodb::MongoLog;
use testledger_schemas::commit::StreamHead;
use tokio_util::sync::CancellationToken;

use super::appending::{Acknowledged, Appenders, append};
use super::killed::start;
use super::raw::{self, Streams};
use super::{Found, until};
use crate::mongo::{self, Place};
use crate::support::{commit, stream};

/// The first argument of a child that appends at once and tells of each acknowledgement.
pub const APPENDER: &str = "history-appender";
/// The first streams of the scenario's several writers.
const KILLED: u64 = 50_000;
const MEANWHILE: u64 = 900_000;
const LATER: u64 = 100_000;
/// The pause between two appends while a backfill goes on: slow enough for an oplog of 1 MB.
const PACE: Duration = Duration::from_millis(40);

async fn small() -> (ReplicaSet, Place) {
    let set = ReplicaSet::start_with(ReplicaSetOptions::new(1).small_oplog()).await.unwrap();
    let place = mongo::at(set.uri("log"), "log".to_owned()).await;
    (set, place)
}

/// Nobody sequences `commits` commits until their history is lost; some of their streams are longer than that. Others
/// go on to append while the order is filled up.
pub async fn while_nobody_sequenced(commits: usize) -> Found {
    let (set, place) = small().await;
    let mut acknowledged = Acknowledged::default();
    let mut streams = Streams::new(1, 40);
    let log = place.open().await;
    for commit in streams.grow(60) {
        append(&log, &commit).await;
        acknowledged.add(&commit);
    }
    log.close().await;
    let unsequenced = streams.grow(commits);
    raw::append(&place, &unsequenced).await;
    unsequenced.iter().for_each(|commit| acknowledged.add(commit));
    set.overrun_oplog().await.unwrap();
    let token = raw::last_page(&place).await.token.unwrap();
    assert!(raw::is_lost(&place, &token).await, "the history is lost");
    let meanwhile = Meanwhile::start(&place).await;
    let logs = [place.open().await, place.open().await];
    let appenders = Appenders::start(&logs, 4, LATER, PACE);
    appenders.until_more(100).await;
    acknowledged.extend(appenders.end().await);
    acknowledged.extend(meanwhile.end().await);
    for commit in streams.grow(40) {
        append(&logs[1], &commit).await;
        acknowledged.add(&commit);
    }
    end(&logs, acknowledged, 1).await
}

/// Another process that appends all the time: what it appends during a backfill is in that and in the change stream.
struct Meanwhile {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Acknowledged>,
}

impl Meanwhile {
    async fn start(place: &Place) -> Self {
        let place = mongo::at(place.address.clone(), place.name.clone()).await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut streams, mut acknowledged) = (Streams::new(MEANWHILE, 5), Acknowledged::default());
            while !stopped.is_cancelled() {
                let commits = streams.grow(1);
                raw::append(&place, &commits).await;
                acknowledged.add(&commits[0]);
            }
            acknowledged
        });
        Self { stop, task }
    }

    async fn end(self) -> Acknowledged {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

/// A process is killed at once after `commits` acknowledgements; then the history is lost.
pub async fn after_a_writer_was_killed(commits: usize, times: usize) -> Found {
    let (set, place) = small().await;
    place.open().await.close().await;
    let mut acknowledged = Acknowledged::default();
    for life in 0..times {
        let first = KILLED + (life * commits) as u64;
        let mut child = start(&[APPENDER, &place.address, &first.to_string(), &commits.to_string()]);
        let told = child.stdout.take().unwrap();
        let told = tokio::task::spawn_blocking(move || lines(told, commits)).await.unwrap();
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it was killed while it worked");
        for line in told {
            let (id, hash) = line.split_once(' ').unwrap();
            acknowledged.commits.push((id.parse().unwrap(), hash.parse().unwrap()));
        }
        set.overrun_oplog().await.unwrap();
    }
    let logs = [place.open().await];
    end(&logs, acknowledged, times).await
}

fn lines(told: ChildStdout, count: usize) -> Vec<String> {
    BufReader::new(told).lines().take(count).map(Result::unwrap).collect()
}

/// The child: appends the first commits of many streams at once. Arguments: address, first stream, how many.
pub fn appender_main(args: &[String]) -> ExitCode {
    let (first, count): (u64, u64) = (args[1].parse().unwrap(), args[2].parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let log = mongo::open(&args[0]).await;
        for number in first..first + count {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let commit = commit(stream(number), StreamHead::EMPTY, 1);
                append(&log, &commit).await;
                println!("{} {}", commit.id, commit.hash);
            });
        }
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    });
    ExitCode::SUCCESS
}

/// The log is at rest with a handle open while the oplog is overrun, again and again; then another process comes.
pub async fn while_a_handle_was_open(times: usize) -> Found {
    let (set, place) = small().await;
    let mut acknowledged = Acknowledged::default();
    let mut streams = Streams::new(1, 3);
    let mut log = place.open().await;
    for _ in 0..times {
        for commit in streams.grow(5) {
            append(&log, &commit).await;
            acknowledged.add(&commit);
        }
        at_rest(&*log, &acknowledged).await;
        set.overrun_oplog().await.unwrap();
        let token = raw::last_page(&place).await.token.unwrap();
        assert!(raw::is_lost(&place, &token).await, "the history since the last page is lost");
        until("the token of the idle log is kept", || async {
            let token = raw::idle_token(&place).await;
            matches!(token, Some(token) if !raw::is_lost(&place, &token).await)
        })
        .await;
        log.close().await;
        log = place.open().await;
    }
    end(&[log], acknowledged, times).await
}

/// The log is at rest and nobody has it open while the oplog is overrun.
pub async fn while_nobody_was_there(times: usize) -> Found {
    let (set, place) = small().await;
    let mut acknowledged = Acknowledged::default();
    let mut streams = Streams::new(1, 3);
    let mut lost = None;
    for _ in 0..times {
        let log = place.open().await;
        for commit in streams.grow(5) {
            append(&log, &commit).await;
            acknowledged.add(&commit);
        }
        at_rest(&*log, &acknowledged).await;
        log.close().await;
        set.overrun_oplog().await.unwrap();
        lost = raw::last_page(&place).await.token;
        assert!(raw::is_lost(&place, lost.as_deref().unwrap()).await, "the history is lost");
    }
    let logs = [place.open().await, place.open().await];
    until("a page to go on from", || async {
        let last = raw::last_page(&place).await;
        last.token.is_some_and(|token| Some(token) != lost)
    })
    .await;
    for (commit, log) in streams.grow(6).iter().zip(logs.iter().cycle()) {
        append(log, commit).await;
        acknowledged.add(commit);
    }
    end(&logs, acknowledged, times).await
}

/// Waits until everything has its place.
async fn at_rest(log: &dyn EventLog, acknowledged: &Acknowledged) {
    until("everything has its place", || async {
        let pages = log.read_pages(0, usize::MAX).await.unwrap();
        pages.iter().map(|page| page.entries.len()).sum::<usize>() == acknowledged.commits.len()
    })
    .await;
}

async fn end(logs: &[Arc<MongoLog>], acknowledged: Acknowledged, times: usize) -> Found {
    let found = Found::examine(&*logs[0], acknowledged, times).await;
    for log in logs {
        log.close().await;
    }
    found
}
