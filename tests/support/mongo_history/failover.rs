//! Blows to a set of three nodes while two handles append: step-downs, kills, and members that stop for a while.

use std::sync::Arc;
use std::time::Duration;

use test_servers::ReplicaSet;
use testledger::event_store::EventLog;
use testledger::event_store::mongodb::MongoLog;
use testledger::ports::ids::{Ids, SeededIds};

use super::appending::{Acknowledged, Appenders};
use super::{Found, until};
use crate::mongo;

/// So many tasks append on each handle.
const EACH: u64 = 6;
/// The pause between two appends of a task.
const PACE: Duration = Duration::from_millis(30);
/// So many appends are acknowledged before each blow, and after it.
const BETWEEN: usize = 150;
/// The longest time from one of these to the blow: a page is on its way most of the time.
const LONGEST_WAIT_MS: u128 = 500;

/// What happens to the set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blow {
    /// The primary steps down; another is elected.
    StepDown,
    /// The primary is killed and comes back.
    Kill,
    /// The primary stops for so long at the least: until what the others acknowledge meanwhile has its place.
    FreezePrimary(Duration),
    /// Both secondaries stop for so long.
    FreezeSecondaries(Duration),
}

/// Strikes blow after blow, at moments that the seed draws.
pub async fn under_appends(blows: &[Blow], seed: u64) -> Found {
    let mut set = ReplicaSet::start(3).await.unwrap();
    let place = mongo::at(set.uri("log"), "log".to_owned()).await;
    let logs = [place.open().await, place.open().await];
    let dice = SeededIds::new(seed);
    let appenders = Appenders::start(&logs, EACH, 1, PACE);
    for blow in blows {
        appenders.until_more(BETWEEN).await;
        set.settle().await.unwrap();
        let wait = u64::try_from(dice.random() % LONGEST_WAIT_MS).unwrap();
        tokio::time::sleep(Duration::from_millis(wait)).await;
        strike(&mut set, *blow, &logs, &appenders).await;
        appenders.until_more(BETWEEN).await;
    }
    set.settle().await.unwrap();
    let acknowledged: Acknowledged = appenders.end().await;
    let found = Found::examine(&*logs[1], acknowledged, blows.len()).await;
    for log in logs {
        log.close().await;
    }
    found
}

async fn strike(set: &mut ReplicaSet, blow: Blow, logs: &[Arc<MongoLog>], appenders: &Appenders) {
    match blow {
        Blow::StepDown => {
            set.step_down().await.unwrap();
        }
        Blow::Kill => {
            let killed = set.kill_primary().await.unwrap();
            appenders.until_more(BETWEEN).await;
            set.restart(killed).await.unwrap();
        }
        Blow::FreezePrimary(least) => {
            let primary = set.primary().await.unwrap();
            set.freeze(primary).unwrap();
            let long = tokio::time::sleep(least);
            // The others elect a primary and go on: neither appending nor sequencing waits for the one that stopped.
            appenders.until_more(BETWEEN).await;
            for log in logs {
                goes_on(log).await;
            }
            long.await;
            set.thaw(primary).unwrap();
        }
        Blow::FreezeSecondaries(long) => {
            let primary = set.primary().await.unwrap();
            let secondaries = (0..set.nodes().len()).filter(|node| *node != primary).collect::<Vec<_>>();
            secondaries.iter().for_each(|node| set.freeze(*node).unwrap());
            tokio::time::sleep(long).await;
            secondaries.iter().for_each(|node| set.thaw(*node).unwrap());
        }
    }
}

/// Waits until this handle hears of new positions.
async fn goes_on(log: &MongoLog) {
    let head = log.head();
    let before = *head.borrow();
    until("positions are given while the old primary is stopped", || async { *head.borrow() > before + 100 }).await;
}
