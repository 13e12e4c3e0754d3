//! Three servers, of which the first among them dies again and again while workers fold: no event is lost or doubled.

use std::collections::BTreeMap;
use std::time::Duration;

use mongodb::Client;
use test_servers::ReplicaSet;
use testledger::event_store::SharedLog;
use testledger::event_store::memory::MemoryLog;
use testledger::views::{ViewError, Views};
use testledger_projections::worker::CatchUpError;
use testledger_schemas::Hash;

use crate::history::Histories;
use crate::stores::{all_of, append, count, replay, run, settled};

/// How often the primary dies.
const DEATHS: u64 = 2;

/// A worker that goes on until everything is folded, whatever the servers do.
async fn work(views: Views, total: u64) -> u64 {
    let mut failures = 0;
    loop {
        match views.catch_up(None).await {
            Ok(progress) if progress.position >= total => return failures,
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(CatchUpError::Store(_)) => failures += 1,
            Err(error @ (CatchUpError::Feed(_) | CatchUpError::Contended | CatchUpError::EndlessEcho { .. })) => {
                panic!("{error}")
            }
        }
    }
}

#[test]
fn views_survive_the_death_of_the_primary() {
    run(async {
        let mut servers = ReplicaSet::start(3).await.unwrap();
        let client = Client::with_uri_str(servers.uri("views")).await.unwrap();
        let log: SharedLog = MemoryLog::new();
        let mut histories = Histories::new(101, Hash::of(b"plan"));
        let parts: Vec<_> = (0..=DEATHS).map(|n| histories.suite(&format!("suite-{n}"), 25)).collect();
        let total = parts.iter().map(|part| count(part)).sum();
        let mut workers = Vec::new();
        for _ in 0..2 {
            let views = Views::mongodb(log.clone(), &client.database("views")).await.unwrap();
            workers.push(tokio::spawn(work(views, total)));
        }
        let mut dead = None;
        for (number, part) in parts.iter().enumerate() {
            // One half of the part is there when the primary dies, the other half comes while nobody is primary.
            let (first, second) = part.split_at(part.len() / 2);
            append(&log, first).await;
            if (number as u64) < DEATHS {
                if let Some(node) = dead.take() {
                    servers.restart(node).await.unwrap();
                    servers.settle().await.unwrap();
                }
                dead = Some(servers.kill_primary().await.unwrap());
            }
            append(&log, second).await;
        }
        settled(&log, total).await;
        let mut failures = BTreeMap::new();
        for (number, worker) in workers.into_iter().enumerate() {
            failures.insert(number, worker.await.unwrap());
        }
        let views = Views::mongodb(log.clone(), &client.database("views")).await.unwrap();
        assert_eq!(all_of(&views).await, replay(&log).await, "failures that were waited out: {failures:?}");
        log.close().await;
    });
}

/// What a command says when no server answers names no secret of the address.
#[test]
fn no_answer_names_no_secret() {
    run(async {
        let address = "mongodb://ada:hunter22@127.0.0.1:1/?serverSelectionTimeoutMS=100";
        let database = Client::with_uri_str(address).await.unwrap().database("views");
        let error = Views::mongodb(MemoryLog::new(), &database).await.err().map(ViewError::from).unwrap().to_string();
        assert!(error.contains("no server answers"), "{error}");
        assert!(!error.contains("hunter22") && !error.contains("ada"), "{error}");
    });
}
