//! Random interleavings from a seed: two processes, few streams, repeated sends, stale heads, dropped futures.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use testledger::event_store::faults::Faults;
use testledger::event_store::memory::MemoryLog;
use testledger::event_store::{AppendError, EventLog, SharedLog, StoreError};
use testledger::ports::ids::{Ids, SeededIds};
use testledger_schemas::commit::{Commit, StreamHead};
use testledger_schemas::ids::StreamId;

use crate::adapters::{self, Adapter, contract};
use crate::support::{check_whole, commit, stream, until_position};

/// The streams that all appenders share.
const STREAMS: u64 = 3;
/// What each appender does.
const STEPS: usize = 25;
/// How often an unknown outcome is asked again.
const RESENDS: usize = 50;

contract! {
    async fn any_interleaving_keeps_the_log_whole(adapter: &Adapter) {
        for seed in 0..4 {
            let logs = [adapter.open().await, adapter.open().await];
            interleave(&logs, seed).await;
        }
    }
}

#[test]
fn lost_answers_and_outages_keep_the_log_whole() {
    for seed in 0..60 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let faults = Faults { seed, lost_ack: 150, unavailable: 150, slow_ms: 40, duplicate_delivery: 300 };
            let one = MemoryLog::with_faults(faults);
            let two = one.reopen_with_faults(Faults { seed: seed + 1000, ..faults });
            let calm: SharedLog = one.reopen();
            let acknowledged = work(&[one, two], seed).await;
            verify(&*calm, &acknowledged, seed..=seed).await;
        });
    }
}

async fn interleave(logs: &[SharedLog; 2], seed: u64) {
    let acknowledged = work(logs, seed).await;
    // The streams of the seeds before stand in the same log.
    verify(&*logs[0], &acknowledged, 0..=seed).await;
}

/// Lets appenders race, and gives the commits that were acknowledged to them.
async fn work(logs: &[SharedLog; 2], seed: u64) -> Vec<Commit> {
    let appenders = (0..6).map(|n| {
        let log = Arc::clone(&logs[n % 2]);
        tokio::spawn(async move {
            Appender { log, dice: SeededIds::new(seed * 100 + n as u64), heads: HashMap::new() }.run(seed).await
        })
    });
    let mut acknowledged = Vec::new();
    for appender in appenders.collect::<Vec<_>>() {
        acknowledged.extend(appender.await.unwrap());
    }
    acknowledged
}

async fn verify(log: &dyn EventLog, acknowledged: &[Commit], seeds: RangeInclusive<u64>) {
    let mut events = 0;
    for number in seeds.start() * STREAMS..(seeds.end() + 1) * STREAMS {
        events += log.stream_head(stream(number)).await.unwrap().version;
    }
    let ids: Vec<_> = acknowledged.iter().map(|commit| commit.id).collect();
    let stored = log.read_commits(&ids).await.unwrap();
    for (commit, stored) in acknowledged.iter().zip(stored) {
        assert_eq!(stored.as_ref(), Some(commit), "seed {}: acknowledged and not there", seeds.end());
    }
    until_position(log, events).await;
    check_whole(log).await;
}

struct Appender {
    log: SharedLog,
    dice: SeededIds,
    heads: HashMap<StreamId, StreamHead>,
}

impl Appender {
    async fn run(mut self, seed: u64) -> Vec<Commit> {
        let mut acknowledged = Vec::new();
        for _ in 0..STEPS {
            let stream = stream(seed * STREAMS + self.below(STREAMS));
            // Often a stale head, on purpose.
            let head = self.heads.get(&stream).copied().unwrap_or(StreamHead::EMPTY);
            let commit = commit(stream, head, 1 + self.below(3) as usize);
            if self.below(4) == 0 {
                let moment = Duration::from_micros(self.below(300));
                drop(tokio::time::timeout(moment, self.log.append(commit.clone())).await);
            }
            if self.settle(&commit).await {
                self.heads.insert(stream, commit.head());
                acknowledged.push(commit);
            } else if let Ok(head) = self.log.stream_head(stream).await {
                self.heads.insert(stream, head);
            }
        }
        acknowledged
    }

    /// Sends until the outcome is known; true if the commit is there.
    async fn settle(&self, commit: &Commit) -> bool {
        for _ in 0..RESENDS {
            match self.log.append(commit.clone()).await {
                Ok(()) => return true,
                Err(AppendError::Conflict { .. }) => return false,
                Err(AppendError::Store(StoreError::Unavailable(_))) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no outcome after {RESENDS} sends");
    }

    fn below(&self, bound: u64) -> u64 {
        (self.dice.random() >> 64) as u64 % bound
    }
}
