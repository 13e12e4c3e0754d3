//! A backfill whose process is killed after each of its pages: whoever comes begins again, until one comes to the end.

use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};

use mongodb::bson::doc;
use test_servers::{ReplicaSet, ReplicaSetOptions};
use testledger::event_store::EventLog;

use super::appending::{Acknowledged, append};
use super::raw::{self, Streams};
use super::{Found, until};
use crate::mongo;

/// The first argument of a child that only has the log open.
pub const SEQUENCER: &str = "history-sequencer";
/// So many commits are in one page of a backfill.
const PAGE: usize = 256;

/// How long the server takes for an insert meanwhile.
const BETWEEN_PAGES_MS: i32 = 150;

/// Starts this program again with these arguments. It ends when its standard input does: with this process at the latest.
pub fn start(args: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The child: has the log open until its standard input ends. Arguments: address.
pub fn sequencer_main(args: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let log = mongo::open(&args[0]).await;
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        log.close().await;
    });
    ExitCode::SUCCESS
}

/// `pages` pages are to be filled up; the process that does it is killed as soon as a page of its own is there. What is
/// found says how often that left the backfill open.
pub async fn at_every_page(pages: usize) -> Found {
    let options = ReplicaSetOptions::new(1).small_oplog().parameter("enableTestCommands", "1");
    let set = ReplicaSet::start_with(options).await.unwrap();
    let place = mongo::at(set.uri("log"), "log".to_owned()).await;
    place.open().await.close().await;
    let (mut streams, mut acknowledged) = (Streams::new(1, 300), Acknowledged::default());
    let unsequenced = streams.grow(pages * PAGE);
    for commits in unsequenced.chunks(1_000) {
        raw::append(&place, commits).await;
    }
    unsequenced.iter().for_each(|commit| acknowledged.add(commit));
    set.overrun_oplog().await.unwrap();
    assert!(raw::is_lost(&place, &raw::last_page(&place).await.token.unwrap()).await, "the history is lost");
    let delay = |mode: &str| {
        let data = doc! { "failCommands": ["insert"], "blockConnection": true, "blockTimeMS": BETWEEN_PAGES_MS };
        let command = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
        let admin = place.client.database("admin");
        async move { admin.run_command(command).await.unwrap() }
    };
    // So that no backfill writes its next page before it is killed.
    delay("alwaysOn").await;
    let mut left_open = 0;
    for _ in 0..pages {
        let before = raw::last_page(&place).await.number;
        let mut child = start(&[SEQUENCER, &place.address]);
        until("a page of the backfill", || async { raw::last_page(&place).await.number > before }).await;
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it was killed while it worked");
        // It came to the end before the signal came: nothing is left to be killed.
        if !raw::last_page(&place).await.is_open() {
            break;
        }
        left_open += 1;
    }
    delay("off").await;
    let opened = tokio::join!(place.open(), place.open());
    let logs = [opened.0, opened.1];
    for (commit, log) in streams.grow(300).iter().zip(logs.iter().cycle()) {
        append(log, commit).await;
        acknowledged.add(commit);
    }
    let found = Found::examine(&*logs[0], acknowledged, left_open).await;
    for log in logs {
        log.close().await;
    }
    found
}
