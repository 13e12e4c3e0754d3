//! Crashes and unknown outcomes of the log in memory: what simulations rely on.

use std::time::Duration;

use testledger_schemas::commit::Envelope;
use testledger_schemas::event::ExecutionReady;
use testledger_schemas::{ExecutionId, RecordedEvent, Timestamp};
use uuid::Uuid;

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn commits(ids: &SeededIds, count: usize) -> Vec<Commit> {
    let mut head = StreamHead::EMPTY;
    let next = |_| {
        let envelope = Envelope {
            recorded_at: Timestamp::from_unix_ms(0),
            actor: "ada".to_owned(),
            worker: None,
            claim_epoch: None,
            correlation_id: None,
            causation_id: None,
        };
        let event =
            RecordedEvent::write(ids.event_id(), ids.nonce(), &ExecutionReady { parent_epoch: None }.into()).unwrap();
        let commit = Commit::seal(ExecutionId(Uuid::nil()).into(), head, envelope, vec![event]).unwrap();
        head = commit.head();
        commit
    };
    (0..count).map(next).collect()
}

/// Whether the call is still without an answer after an hour.
async fn hangs<T>(call: impl Future<Output = T>) -> bool {
    tokio::time::timeout(Duration::from_secs(3600), call).await.is_err()
}

#[test]
fn a_crash_leaves_the_append_there_or_not_and_no_call_returns() {
    for (point, stored) in [(CrashPoint::Before, 1), (CrashPoint::After, 2)] {
        runtime().block_on(async {
            let log = MemoryLog::new();
            let commits = commits(&SeededIds::new(1), 2);
            log.crash_at(2, point);
            log.append(commits[0].clone()).await.unwrap();
            assert!(hangs(log.crashed()).await, "{point:?}: it lives");
            assert!(hangs(log.append(commits[1].clone())).await, "{point:?}");
            log.crashed().await;
            assert!(hangs(log.stream_head(commits[0].id.stream)).await, "{point:?}");
            assert!(hangs(log.close()).await, "{point:?}");
            assert_eq!(log.appends(), 2);

            let later = log.reopen();
            assert_eq!(later.read_stream(commits[0].id.stream, 0, 9).await.unwrap(), commits[..stored]);
            later.append(commits[1].clone()).await.unwrap();
            let mut head = later.head();
            head.wait_for(|head| *head == 2).await.unwrap();
            assert_eq!(later.last_page().await.unwrap().last_position(), 2);
        });
    }
}

#[test]
fn a_lost_answer_is_durable_and_an_outage_is_not() {
    runtime().block_on(async {
        let commits = commits(&SeededIds::new(1), 1);
        for (faults, durable) in [
            (Faults { lost_ack: 1000, ..Faults::none() }, true),
            (Faults { unavailable: 1000, ..Faults::none() }, false),
        ] {
            let log = MemoryLog::with_faults(faults);
            let answer = log.append(commits[0].clone()).await;
            assert!(matches!(answer, Err(AppendError::Store(StoreError::Unavailable(_)))), "{answer:?}");
            let stored = log.reopen().read_commits(&[commits[0].id]).await.unwrap();
            assert_eq!(stored[0].is_some(), durable);
        }
    });
}

#[test]
fn positions_come_after_the_acknowledgement() {
    runtime().block_on(async {
        let log = MemoryLog::new();
        let commits = commits(&SeededIds::new(1), 1);
        log.append(commits[0].clone()).await.unwrap();
        assert_eq!(log.page_of(1).await.unwrap(), None);
        log.head().wait_for(|head| *head == 1).await.unwrap();
        assert!(log.page_of(1).await.unwrap().is_some());
    });
}

#[test]
fn the_same_seed_gives_the_same_pages() {
    let pages = |seed| {
        runtime().block_on(async {
            let faults = Faults { seed, lost_ack: 200, unavailable: 200, slow_ms: 20, duplicate_delivery: 300 };
            let log = MemoryLog::with_faults(faults);
            for commit in commits(&SeededIds::new(seed), 60) {
                while log.append(commit.clone()).await.is_err() {}
            }
            let calm = log.reopen();
            calm.head().wait_for(|head| *head == 60).await.unwrap();
            calm.read_pages(0, 1000).await.unwrap()
        })
    };
    assert_eq!(pages(3), pages(3));
    assert_ne!(pages(3), pages(4));
}
