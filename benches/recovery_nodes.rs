//! Show: three MongoDB nodes under load, and 30 faults: the primary is killed, stopped for 15 seconds, or stepped down. How
//! soon writes come back, and that nothing acknowledged is lost. `FAULTS=N` for another number.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{all_pages, check_whole, commit};
use test_servers::ReplicaSet;
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
/// So many appends are under way at once.
const WRITERS: usize = 16;
/// How long a stopped primary stays so.
const STOPPED: Duration = Duration::from_secs(15);
/// Writes come back within this time, for 95 of 100 faults.
const LIMIT_S: f64 = 15.0;
/// The pause between two faults.
const PAUSE: Duration = Duration::from_secs(4);

/// What was acknowledged, and when each append began and ended.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<(CommitId, Hash)>,
    times: Vec<(Instant, Instant)>,
}

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let faults = std::env::var("FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(FAULTS);
    let mut show = show::Show::new(None);
    tokio::runtime::Runtime::new().unwrap().block_on(measure(&mut show, faults));
    show.end()
}

async fn measure(show: &mut show::Show, faults: usize) {
    let mut set = ReplicaSet::start(3).await.unwrap();
    let address = MongoAddress::parse(&set.uri("faults")).await.unwrap();
    let inner: SharedLog = MongoLog::open(MongoStore::connect(address).await.unwrap()).await.unwrap();
    let log: SharedLog = PatientLog::new(Arc::clone(&inner), Duration::from_secs(300));
    let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), CancellationToken::new());
    let writers: Vec<_> =
        (0..WRITERS).map(|_| tokio::spawn(write(Arc::clone(&log), Arc::clone(&seen), stop.clone()))).collect();
    let mut outages = vec![];
    for fault in 0..faults {
        tokio::time::sleep(PAUSE).await;
        let at = Instant::now();
        match fault % 3 {
            0 => {
                let node = set.kill_primary().await.unwrap();
                tokio::time::sleep(PAUSE).await;
                set.restart(node).await.unwrap();
            }
            1 => {
                let node = set.primary().await.unwrap();
                set.freeze(node).unwrap();
                tokio::time::sleep(STOPPED).await;
                set.thaw(node).unwrap();
            }
            _ => drop(set.step_down().await.unwrap()),
        }
        set.settle().await.unwrap();
        let back = loop {
            let first =
                seen.lock().unwrap().times.iter().filter(|(began, _)| *began > at).map(|(_, ended)| *ended).min();
            if let Some(ended) = first {
                break ended;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        outages.push(back.duration_since(at).as_secs_f64());
        seen.lock().unwrap().times.clear();
    }
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    outages.sort_by(f64::total_cmp);
    let p95 = outages[(outages.len() * 95).div_ceil(100) - 1];
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
    show.figure("nodes_writes_back_max_s", format!("{:.1}", outages[outages.len() - 1]), "reported", true);
    show.figure("nodes_acknowledged", acknowledged.len(), "reported", true);
    show.figure("nodes_lost", lost, 0, lost == 0);
    show.figure("nodes_doubled", doubled, 0, doubled == 0);
    show.figure("nodes_in_order", order.len(), "reported", true);
    inner.close().await;
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
