//! Show: many processes append to one log on MongoDB at a steady rate. The order costs no process its latency: the 99th
//! percentile of eight is held against that of one process at the same total, in the same run; and a subscriber sees
//! everything in order soon after it was sent.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/mongo.rs"]
mod mongo;
#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testledger::event_store::EventLog;
use testledger::event_store::mongodb::MongoLog;
use testledger::event_store::patient::PatientLog;
use testledger::event_store::subscription::Subscription;
use testledger::ports::ids::{Ids, RandomIds};
use testledger_schemas::CommitId;
use testledger_schemas::commit::StreamHead;
use testledger_schemas::ids::StreamId;
use tokio::sync::Mutex;

use support::commit;

/// The first argument of a child that appends.
const PACER: &str = "pacer";
/// How many appends all processes make in a second, together.
const TOTAL_RATE: u64 = 1_600;
/// How long each round is measured, in seconds.
const SECONDS: u64 = 20;
/// What is before that, and not counted: connections are made, sequencers find out who does the work.
const WARM_UP: Duration = Duration::from_secs(3);
/// Each process appends to so many streams for each hundred appends a second.
const STREAMS_OF_A_HUNDRED: u64 = 40;
/// How often one process and eight are measured, by turns.
const TURNS: usize = 3;
/// How long an append is sent again.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the latency of eight may be, as a multiple of that of one.
const RATIO_LIMIT: f64 = 3.0;
/// The 99th percentile from sent to seen in order, in milliseconds.
const SEEN_LIMIT_MS: f64 = 100.0;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == PACER) {
        return pacer_main(&args[1..]);
    }
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut show = show::Show::new(None);
    runtime.block_on(measure(&mut show));
    show.end()
}

async fn measure(show: &mut show::Show) {
    let (mut ones, mut eights) = (vec![], vec![]);
    for _ in 0..TURNS {
        ones.push(round(1).await);
        eights.push(round(8).await);
    }
    let (one, eight) = (median(ones), median(eights));
    let ratio = eight.append_p99 / one.append_p99;
    show.figure("ordering_mongodb_1_append_p99_ms", format!("{:.1}", one.append_p99), "reported", true);
    show.figure("ordering_mongodb_8_append_p99_ms", format!("{:.1}", eight.append_p99), "reported", true);
    let met = ratio <= RATIO_LIMIT;
    show.figure("ordering_mongodb_8_to_1_ratio", format!("{ratio:.2}"), format!("<={RATIO_LIMIT}"), met);
    let seen = eight.seen_p99;
    let met = seen < SEEN_LIMIT_MS;
    show.figure("ordering_mongodb_8_seen_p99_ms", format!("{seen:.1}"), format!("<{SEEN_LIMIT_MS}"), met);
    let wrong = one.wrong + eight.wrong;
    show.figure("ordering_mongodb_out_of_order", wrong, 0, wrong == 0);
    let sixteen = round(16).await;
    show.figure("ordering_mongodb_16_append_p99_ms", format!("{:.1}", sixteen.append_p99), "reported", true);
    show.figure("ordering_mongodb_16_seen_p99_ms", format!("{:.1}", sixteen.seen_p99), "reported", true);
}

/// What one round gave, in milliseconds.
#[derive(Clone, Copy)]
struct Round {
    append_p99: f64,
    seen_p99: f64,
    wrong: u64,
}

/// The round in the middle by latency; what went wrong counts wherever it did.
fn median(mut rounds: Vec<Round>) -> Round {
    let wrong = rounds.iter().map(|round| round.wrong).sum();
    rounds.sort_by(|one, other| one.append_p99.total_cmp(&other.append_p99));
    let mut seen: Vec<f64> = rounds.iter().map(|round| round.seen_p99).collect();
    seen.sort_by(f64::total_cmp);
    Round { wrong, seen_p99: seen[seen.len() / 2], ..rounds[rounds.len() / 2] }
}

/// So many processes append at their share of the rate, and one subscriber follows.
async fn round(processes: u64) -> Round {
    let place = mongo::database().await;
    let folder = tempfile::tempdir().unwrap();
    let log = place.open().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let subscriber = tokio::spawn(subscribe(Arc::clone(&log), stop.clone()));
    let rate = TOTAL_RATE / processes;
    let mut children: Vec<Child> =
        (0..processes).map(|n| start(&place.address, rate, &folder.path().join(n.to_string()))).collect();
    tokio::time::sleep(WARM_UP + Duration::from_secs(SECONDS)).await;
    let mut sent: HashMap<CommitId, (u64, u64)> = HashMap::new();
    for (n, child) in children.iter_mut().enumerate() {
        drop(child.stdin.take());
        assert!(tokio::task::block_in_place(|| child.wait()).unwrap().success());
        sent.extend(read_times(&folder.path().join(n.to_string())));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.cancel();
    let (seen, wrong) = subscriber.await.unwrap();
    log.close().await;
    let warm = sent.values().map(|(at, _)| *at).min().unwrap() + WARM_UP.as_micros() as u64;
    let counted = sent.iter().filter(|(_, (at, _))| *at >= warm);
    let appends = counted.clone().map(|(_, (at, done))| done - at).collect();
    let seen_after =
        counted.map(|(id, (at, _))| seen.get(id).map_or(u64::MAX, |seen| seen.saturating_sub(*at))).collect();
    let round = Round { append_p99: p99(appends), seen_p99: p99(seen_after), wrong };
    println!(
        "{processes:>2} processes: {} appends, append p99 {:.1} ms, seen in order p99 {:.1} ms",
        sent.len(),
        round.append_p99,
        round.seen_p99
    );
    round
}

fn p99(mut micros: Vec<u64>) -> f64 {
    micros.sort_unstable();
    micros[micros.len() * 99 / 100] as f64 / 1000.0
}

fn start(address: &str, rate: u64, out: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([PACER, address, &rate.to_string()]).arg(out).stdin(Stdio::piped()).spawn().unwrap()
}

/// When each commit was sent and acknowledged, in microseconds since 1970.
fn read_times(path: &Path) -> Vec<(CommitId, (u64, u64))> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].parse().unwrap(), (words[1].parse().unwrap(), words[2].parse().unwrap()))
    };
    text.lines().map(line).collect()
}

/// When each commit was seen, and how many pages did not follow the one before.
async fn subscribe(log: Arc<MongoLog>, stop: tokio_util::sync::CancellationToken) -> (HashMap<CommitId, u64>, u64) {
    let mut pages = Subscription::from_page(&*log, 0);
    let (mut seen, mut next, mut wrong) = (HashMap::new(), 1, 0);
    loop {
        while let Some(page) = pages.next(&*log).await.unwrap() {
            let ids: Vec<CommitId> = page.entries.iter().map(|entry| entry.commit).collect();
            let commits = log.read_commits(&ids).await.unwrap();
            let now = micros();
            wrong += u64::from(page.first_position != next);
            next = page.next_position();
            seen.extend(commits.into_iter().flatten().map(|commit| (commit.id, now)));
        }
        if stop.run_until_cancelled(pages.more()).await.is_none() {
            return (seen, wrong);
        }
    }
}

/// The child: appends at a rate until its standard input ends. Arguments: address, appends a second, file.
fn pacer_main(args: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rate: u64 = args[1].parse().unwrap();
    let times = runtime.block_on(pace(&args[0], rate));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&args[2]).unwrap());
    for (id, sent, done) in times {
        writeln!(file, "{id} {sent} {done}").unwrap();
    }
    file.flush().unwrap();
    ExitCode::SUCCESS
}

async fn pace(address: &str, rate: u64) -> Vec<(CommitId, u64, u64)> {
    // As an engine has it: what a server that has too much to do does not answer is sent again.
    let log = PatientLog::new(mongo::open(address).await, PATIENCE);
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let streams: Vec<_> = (0..rate * STREAMS_OF_A_HUNDRED / 100)
        .map(|_| Arc::new(Mutex::new((StreamId::from(RandomIds.execution_id()), StreamHead::EMPTY))))
        .collect();
    // Open loop: the next append is due at its time, however long the one before takes.
    let mut due = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    let mut appends = vec![];
    for stream in streams.iter().cycle() {
        if ended.is_finished() {
            break;
        }
        due.tick().await;
        let (log, stream) = (Arc::clone(&log), Arc::clone(stream));
        appends.push(tokio::spawn(async move {
            let sent = micros();
            let mut stream = stream.lock().await;
            let commit = commit(stream.0, stream.1, 1);
            stream.1 = commit.head();
            let id = commit.id;
            log.append(commit).await.unwrap();
            (id, sent, micros())
        }));
    }
    let mut times = vec![];
    for append in appends {
        times.push(append.await.unwrap());
    }
    log.close().await;
    times
}

fn micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}
