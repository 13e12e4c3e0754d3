//! One server: it comes up, takes writes, comes back, and goes with its owner.

use mongodb::bson::doc;
use test_servers::{Node, NodeOptions, ReplicaSet};

use crate::support::{collection, lives, until, write_and_count};

#[tokio::test]
async fn one_server_takes_majority_writes_and_keeps_them_over_sigkill() {
    let mut set = ReplicaSet::start(1).await.unwrap();
    let facts = collection(&set.uri("db")).await;
    assert_eq!(write_and_count(&facts).await, 1);
    let (port, pid) = (set.nodes()[0].port(), set.nodes()[0].pid().unwrap());
    assert_eq!(set.kill_primary().await.unwrap(), 0);
    assert!(!lives(pid));
    set.restart(0).await.unwrap();
    assert_eq!(set.nodes()[0].port(), port);
    assert_eq!(set.primary().await.unwrap(), 0);
    assert_eq!(write_and_count(&facts).await, 2);
    assert_eq!(set.step_down().await.unwrap(), 0);
    assert_eq!(set.primary().await.unwrap(), 0, "it is elected again");
}

#[tokio::test]
async fn a_server_goes_with_its_owner_and_so_do_its_data() {
    let node = Node::start(NodeOptions::standalone()).await.unwrap();
    let (pid, log) = (node.pid().unwrap(), node.log_file());
    assert!(lives(pid) && log.is_file());
    let facts = collection(&node.uri("db")).await;
    let hello = facts.client().database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
    assert!(!hello.contains_key("setName"), "it is no replica set: {hello}");
    drop(node);
    assert!(!lives(pid) && !log.parent().unwrap().exists());
}

#[tokio::test]
async fn a_frozen_server_goes_with_its_owner_too() {
    let node = Node::start(NodeOptions::standalone()).await.unwrap();
    let pid = node.pid().unwrap();
    node.freeze().unwrap();
    drop(node);
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_server_outlives_the_thread_that_asked_for_it() {
    let start = || tokio::runtime::Runtime::new().unwrap().block_on(Node::start(NodeOptions::standalone())).unwrap();
    let mut node = std::thread::spawn(start).join().unwrap();
    let facts = collection(&node.uri("db")).await;
    assert_eq!(write_and_count(&facts).await, 1);
    assert!(lives(node.pid().unwrap()));
    node.kill().unwrap();
    assert!(node.thaw().unwrap_err().to_string().contains("was killed"));
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let options = NodeOptions::standalone().parameter("noSuchParameter", "1");
    let refused = Node::start(options).await.unwrap_err().to_string();
    assert!(refused.contains("noSuchParameter"), "{refused}");
    until("no server is left", || crate::support::with_arguments(&["noSuchParameter=1"]).is_empty());
}
