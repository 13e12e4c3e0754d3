//! Show: three MongoDB nodes under load, and 30 faults: the primary is killed, stopped for 15 seconds, stepped down, or cut
//! off for 15 seconds. How soon writes come back, that nothing acknowledged is lost, and that the engines which ran all the
//! while tell the truth. Needs root, for a network of its own. `FAULTS=N` for another number.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/kills/mod.rs"]
mod kills;
#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{all_pages, check_whole, commit};
use test_servers::{Network, ReplicaSet, ReplicaSetOptions};
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger::event_store::patient::PatientLog;
use testledger::event_store::{AppendError, SharedLog};
use testledger::ports::ids::{Ids, RandomIds};
use testledger_schemas::commit::{CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::StreamId;
use tokio_util::sync::CancellationToken;

/// So many faults.
const FAULTS: usize = 30;
/// So many appends are under way at once, beside those of the engine.
const WRITERS: usize = 16;
/// How long a primary is stopped or cut off.
const AWAY: Duration = Duration::from_secs(15);
/// Writes come back within this time, for 95 of 100 faults.
const LIMIT_S: f64 = 15.0;
/// The pause between two faults.
const PAUSE: Duration = Duration::from_secs(4);

/// What is done to the primary.
const BLOWS: [&str; 4] = ["killed", "stopped", "stepped_down", "cut_off"];

/// What was acknowledged, and when each append since the last fault began and ended.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<(CommitId, Hash)>,
    times: Vec<(Instant, Instant)>,
}

/// What one fault did to those that write, in seconds.
struct Outage {
    blow: &'static str,
    /// The longest time without any acknowledged append.
    silence: f64,
    /// The longest that one append took.
    slowest: f64,
}

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let network = Network::enter().unwrap();
    let faults = std::env::var("FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(FAULTS);
    let mut show = show::Show::new(None);
    tokio::runtime::Runtime::new().unwrap().block_on(measure(&mut show, faults, network));
    show.end()
}

async fn measure(show: &mut show::Show, faults: usize, network: Network) {
    let mut set = ReplicaSet::start_with(ReplicaSetOptions::new(3).within(network)).await.unwrap();
    let address = MongoAddress::parse(&set.uri("faults")).await.unwrap();
    let inner: SharedLog = MongoLog::open(MongoStore::connect(address).await.unwrap()).await.unwrap();
    let log: SharedLog = PatientLog::new(Arc::clone(&inner), Duration::from_secs(300));
    let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), CancellationToken::new());
    let writers: Vec<_> =
        (0..WRITERS).map(|_| tokio::spawn(write(Arc::clone(&log), Arc::clone(&seen), stop.clone()))).collect();
    let engines = tokio::task::spawn_blocking({
        let (store, stop) = (set.uri("engines"), stop.clone());
        move || kills::until(Path::new(env!("CARGO_BIN_EXE_testledger")), &store, &stop)
    });
    let mut outages = vec![];
    for fault in 0..faults {
        tokio::time::sleep(PAUSE).await;
        seen.lock().unwrap().times.clear();
        let blow = BLOWS[fault % BLOWS.len()];
        strike(&mut set, blow).await;
        tokio::time::sleep(PAUSE).await;
        let times = std::mem::take(&mut seen.lock().unwrap().times);
        let outage = outage(blow, times);
        eprintln!("{blow}: no append for {:.1} s, the slowest took {:.1} s", outage.silence, outage.slowest);
        outages.push(outage);
    }
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    let (runs, retold, found) = engines.await.unwrap();
    let p95 = p95(outages.iter().map(|outage| outage.silence));
    let slowest = outages.iter().map(|outage| outage.slowest).fold(0.0, f64::max);
    let order = check_whole(&*inner).await;
    let mut places: HashMap<(CommitId, Hash), usize> = HashMap::new();
    for entry in all_pages(&*inner, 1000).await.unwrap().iter().flat_map(|page| &page.entries) {
        *places.entry((entry.commit, entry.hash)).or_default() += 1;
    }
    let acknowledged = std::mem::take(&mut seen.lock().unwrap().acknowledged);
    let lost = acknowledged.iter().filter(|entry| !places.contains_key(entry)).count();
    let doubled = places.values().filter(|places| **places > 1).count();
    show.figure("nodes_faults", outages.len(), FAULTS, outages.len() >= FAULTS);
    show.figure("nodes_writes_back_p95_s", format!("{p95:.1}"), format!("<={LIMIT_S}"), p95 <= LIMIT_S);
    for blow in BLOWS {
        let of_it = outages.iter().filter(|outage| outage.blow == blow).map(|outage| outage.silence);
        show.figure(
            &format!("nodes_writes_back_max_s_{blow}"),
            format!("{:.1}", of_it.fold(0.0, f64::max)),
            "reported",
            true,
        );
    }
    show.figure("nodes_slowest_append_s", format!("{slowest:.1}"), "reported", true);
    show.figure("nodes_acknowledged", acknowledged.len(), "reported", true);
    show.figure("nodes_lost", lost, 0, lost == 0);
    show.figure("nodes_doubled", doubled, 0, doubled == 0);
    show.figure("nodes_in_order", order.len(), "reported", true);
    show.figure("nodes_suites_run", runs, "reported", true);
    show.figure("nodes_suites_recovered", retold, "reported", true);
    let wrong = format!(
        "lost:{},doubled:{},stuck:{},orphans:{},verdicts:{},findings:{}",
        found.lost, found.doubled, found.stuck, found.orphans, found.wrong_verdicts, found.findings
    );
    show.figure("nodes_suites_wrong", wrong, "all 0", found.is_clean());
    if let Some(first) = &found.first {
        eprintln!("{first}");
    }
    inner.close().await;
}

/// Strikes the primary, and waits until all is in order again.
async fn strike(set: &mut ReplicaSet, blow: &str) {
    match blow {
        "killed" => {
            let node = set.kill_primary().await.unwrap();
            tokio::time::sleep(PAUSE).await;
            set.restart(node).await.unwrap();
        }
        "stopped" => {
            let node = set.primary().await.unwrap();
            set.freeze(node).unwrap();
            tokio::time::sleep(AWAY).await;
            set.thaw(node).unwrap();
        }
        "stepped_down" => drop(set.step_down().await.unwrap()),
        _ => {
            let node = set.primary().await.unwrap();
            set.cut_off(node).unwrap();
            tokio::time::sleep(AWAY).await;
            set.reconnect(node).unwrap();
        }
    }
    set.settle().await.unwrap();
}

fn outage(blow: &'static str, mut times: Vec<(Instant, Instant)>) -> Outage {
    times.sort_by_key(|(_, ended)| *ended);
    let seconds = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64();
    let silence = times.windows(2).map(|two| seconds(two[0].1, two[1].1)).fold(0.0, f64::max);
    let slowest = times.iter().map(|(began, ended)| seconds(*began, *ended)).fold(0.0, f64::max);
    Outage { blow, silence, slowest }
}

fn p95(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[(values.len() * 95).div_ceil(100) - 1]
}

async fn write(log: SharedLog, seen: Arc<Mutex<Seen>>, stop: CancellationToken) {
    let stream = StreamId::from(RandomIds.execution_id());
    let mut head = StreamHead::EMPTY;
    while !stop.is_cancelled() {
        let next = commit(stream, head, 2);
        let (id, hash, after) = (next.id, next.hash, next.head());
        let began = Instant::now();
        match log.append(next).await {
            Ok(()) => {
                let mut seen = seen.lock().unwrap();
                seen.acknowledged.push((id, hash));
                seen.times.push((began, Instant::now()));
                head = after;
            }
            Err(AppendError::Conflict { .. }) => head = log.stream_head(stream).await.unwrap(),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
