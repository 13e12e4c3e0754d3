//! Outcomes that nobody knows: the secondaries do not follow, so no majority confirms; then they do, or the primary dies
//! with what it alone has.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use test_servers::{ReplicaSet, ReplicaSetOptions};
use testledger::event_store::mongodb::MongoLog;
use testledger::event_store::{AppendError, EventLog, StoreError};
use testledger_schemas::commit::Commit;

use super::Found;
use super::appending::{Acknowledged, append};
use crate::mongo;
use crate::support::{append_many, commit, stream};

/// While this is on, a secondary fetches nothing and is alive: the primary stays what it is.
const FETCHES_NOTHING: &str = "stopReplProducer";
/// How long a member may take to have stopped fetching.
const STOPPED_IN_MS: i32 = 30_000;

/// What becomes of the writes that no majority has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The secondaries follow again.
    Confirmed,
    /// The primary is killed, and the others elect one that does not have them.
    RolledBack,
}

/// Two writers write different commits with one key while nothing is confirmed, `times` times.
pub async fn and_then(end: End, times: usize) -> Found {
    let options = ReplicaSetOptions::new(3).parameter("enableTestCommands", "1");
    let mut set = ReplicaSet::start_with(options).await.unwrap();
    let place = mongo::at(set.uri("log"), "log".to_owned()).await;
    let (one, other) = (place.open().await, place.open().await);
    let mut acknowledged = Acknowledged::default();
    for time in 0..times {
        let own = stream(1 + time as u64);
        for commit in append_many(&*one, own, 2).await {
            acknowledged.add(&commit);
        }
        set.settle().await.unwrap();
        let head = one.stream_head(own).await.unwrap();
        let (first, second) = (commit(own, head, 1), commit(own, head, 2));
        let primary = set.primary().await.unwrap();
        stall(&set, primary, true).await;
        unknown(&one, &first).await;
        // Neither success nor conflict, for nobody, as long as no majority has anything under the key.
        tokio::join!(unknown(&one, &first), unknown(&other, &second));
        acknowledged.unknown += 3;
        match end {
            End::Confirmed => stall(&set, primary, false).await,
            End::RolledBack => {
                set.kill(primary).unwrap();
                stall(&set, primary, false).await;
                set.primary().await.unwrap();
            }
        }
        let winner = match end {
            End::Confirmed => {
                append(&one, &first).await;
                lost(&other, &second, &first).await;
                &first
            }
            // The first one is gone: who comes first now has the key.
            End::RolledBack => {
                append(&other, &second).await;
                lost(&one, &first, &second).await;
                &second
            }
        };
        acknowledged.add(winner);
        if end == End::RolledBack {
            set.restart(primary).await.unwrap();
            set.settle().await.unwrap();
        }
        append(&one, winner).await;
        append(&other, winner).await;
    }
    let found = Found::examine(&*other, acknowledged, times).await;
    one.close().await;
    other.close().await;
    found
}

/// Whether the members but one fetch nothing from it.
async fn stall(set: &ReplicaSet, primary: usize, on: bool) {
    for (number, node) in set.nodes().iter().enumerate() {
        if number == primary {
            continue;
        }
        let client = Client::with_uri_str(node.uri("admin")).await.unwrap();
        let admin = client.database("admin");
        let run = |command: Document| {
            let admin = admin.clone();
            async move { admin.run_command(command).await.unwrap() }
        };
        let mode = if on { "alwaysOn" } else { "off" };
        let before = run(doc! { "configureFailPoint": FETCHES_NOTHING, "mode": mode }).await;
        if on {
            let times = before.get_i64("count").or_else(|_| before.get_i32("count").map(i64::from)).unwrap() + 1;
            run(doc! { "waitForFailPoint": FETCHES_NOTHING, "timesEntered": times, "maxTimeMS": STOPPED_IN_MS }).await;
        }
        client.shutdown().immediate(true).await;
    }
}

async fn unknown(log: &MongoLog, commit: &Commit) {
    let answer = log.append(commit.clone()).await;
    assert!(matches!(answer, Err(AppendError::Store(StoreError::Unavailable(_)))), "{answer:?}");
}

/// The commit lost against another one: a conflict, as soon as anything is known.
async fn lost(log: &MongoLog, commit: &Commit, winner: &Commit) {
    loop {
        match log.append(commit.clone()).await {
            Err(AppendError::Store(StoreError::Unavailable(_))) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(AppendError::Conflict { stream, actual, .. }) => {
                assert_eq!((stream, actual), (winner.id.stream, winner.last_version()));
                return;
            }
            Ok(()) => panic!("both writers have the key {}", commit.id),
            Err(error) => panic!("{error}"),
        }
    }
}
