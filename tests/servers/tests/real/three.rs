//! Three servers, broken in every way that is offered.

use std::time::Duration;

use mongodb::bson::doc;
use test_servers::ReplicaSet;

use crate::support::{collection, write_and_count};

/// The driver looks for a primary no longer than this.
const SELECTION: &str = "serverSelectionTimeoutMS=30000";

#[tokio::test]
async fn a_killed_primary_is_followed_by_another_and_rejoins() {
    let mut set = ReplicaSet::start(3).await.unwrap();
    let facts = collection(&format!("{}&{SELECTION}", set.uri("db"))).await;
    assert_eq!(write_and_count(&facts).await, 1);
    let first = set.kill_primary().await.unwrap();
    let second = set.primary().await.unwrap();
    assert_ne!(first, second);
    assert_eq!(write_and_count(&facts).await, 2);
    set.restart(first).await.unwrap();
    set.settle().await.unwrap();
    // A majority of three without one of the others: the one that was killed has to acknowledge.
    let other = 3 - first - second;
    set.kill(other).unwrap();
    assert_eq!(write_and_count(&facts).await, 3);
}

#[tokio::test]
async fn a_frozen_primary_and_one_that_steps_down_are_followed_by_others() {
    let mut set = ReplicaSet::start(3).await.unwrap();
    let facts = collection(&format!("{}&{SELECTION}", set.uri("db"))).await;
    let first = set.primary().await.unwrap();
    set.freeze(first).unwrap();
    let second = set.primary().await.unwrap();
    assert_ne!(first, second);
    set.thaw(first).unwrap();
    set.settle().await.unwrap();
    assert_eq!(set.primary().await.unwrap(), second, "the frozen one knows by now");
    assert_eq!(set.step_down().await.unwrap(), second);
    let third = tokio::time::timeout(Duration::from_secs(30), set.primary()).await.unwrap().unwrap();
    assert_ne!(second, third);
    facts.insert_one(doc! {}).await.unwrap();
}

#[tokio::test]
async fn a_primary_whose_only_heir_is_behind_is_asked_again() {
    let mut set = ReplicaSet::start(3).await.unwrap();
    let first = set.step_down().await.unwrap();
    let second = set.primary().await.unwrap();
    set.settle().await.unwrap();
    // Now the first may not stand for ten seconds, and a frozen one never catches up: the server waits five, and refuses.
    let other = (0..3).find(|node| *node != first && *node != second).unwrap();
    set.freeze(other).unwrap();
    collection(&format!("{}&{SELECTION}", set.uri("db"))).await.insert_one(doc! {}).await.unwrap();
    assert_eq!(set.step_down().await.unwrap(), second);
    assert_eq!(set.primary().await.unwrap(), first, "it may stand again");
    set.thaw(other).unwrap();
    set.settle().await.unwrap();
}
