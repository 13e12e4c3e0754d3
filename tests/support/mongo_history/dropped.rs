//! The commits are dropped, or renamed, under open handles, and come back from a backup.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use test_servers::ReplicaSet;
use testledger::event_store::mongodb::MongoLog;
use testledger::event_store::{AppendError, EventLog, StoreError};
use testledger_schemas::commit::StreamHead;

use super::appending::{Acknowledged, Appenders, append};
use super::raw::{self, Streams};
use super::{Found, until};
use crate::mongo::{self, Place};
use crate::support::{commit, stream};

/// How long it is watched that nothing is acknowledged.
const WATCHED: Duration = Duration::from_secs(2);
/// The first streams of the scenario's several writers.
const STEADY: u64 = 10_000;
const PROBES: u64 = 500_000;
/// The pause between two appends of a task.
const PACE: Duration = Duration::from_millis(30);
/// What a collection is called that is put aside.
const ASIDE: &str = "commits_aside";

/// How the commits go away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The collection is dropped; its documents are inserted again.
    Dropped,
    /// It is renamed, and renamed back.
    Renamed,
}

/// One log that loses its commits.
struct Scene {
    place: Place,
    logs: Vec<Arc<MongoLog>>,
    acknowledged: Acknowledged,
    probes: u64,
}

/// Takes the commits away and brings them back, `times` times, while two handles append and a third one looks on.
pub async fn and_restored(loss: Loss, times: usize) -> Found {
    let set = ReplicaSet::start(1).await.unwrap();
    let place = mongo::at(set.uri("log"), "log".to_owned()).await;
    let logs = vec![place.open().await, place.open().await, place.open().await];
    let mut scene = Scene { place, logs, acknowledged: Acknowledged::default(), probes: PROBES };
    let mut streams = Streams::new(1, 20);
    for commit in streams.grow(300) {
        append(&scene.logs[0], &commit).await;
        scene.acknowledged.add(&commit);
    }
    let appenders = Appenders::start(&scene.logs[..2], 4, STEADY, PACE);
    for _ in 0..times {
        appenders.until_more(50).await;
        match loss {
            Loss::Dropped => scene.drop_and_restore(&appenders).await,
            Loss::Renamed => scene.rename_and_restore(&appenders).await,
        }
        for log in scene.logs.clone() {
            scene.append_probe(&log).await;
        }
        appenders.until_more(50).await;
    }
    scene.acknowledged.extend(appenders.end().await);
    for (commit, log) in streams.grow(30).iter().zip(scene.logs.iter().cycle()) {
        append(log, commit).await;
        scene.acknowledged.add(commit);
    }
    let found = Found::examine(&*scene.logs[2], scene.acknowledged, times).await;
    for log in scene.logs {
        log.close().await;
    }
    found
}

impl Scene {
    async fn drop_and_restore(&mut self, appenders: &Appenders) {
        let commits = raw::collection(&self.place, "commits");
        let backup = {
            let _held = appenders.hold().await;
            let backup: Vec<RawDocumentBuf> = commits.find(doc! {}).await.unwrap().try_collect().await.unwrap();
            commits.drop().await.unwrap();
            backup
        };
        self.until_all_refuse().await;
        self.refuses_for_a_while(appenders).await;
        // The newest first: what the last pages name is there long before everything is.
        let (old, new) = backup.split_at(backup.len() / 2);
        commits.insert_many(new).await.unwrap();
        self.refuses_for_a_while(appenders).await;
        commits.insert_many(old).await.unwrap();
    }

    async fn rename_and_restore(&mut self, appenders: &Appenders) {
        let aside = raw::collection(&self.place, ASIDE);
        self.rename("commits", ASIDE, false).await;
        self.until_all_refuse().await;
        self.refuses_for_a_while(appenders).await;
        // What was acknowledged before anybody knew stands in a new collection of the old name.
        let commits = raw::collection(&self.place, "commits");
        let between: Vec<RawDocumentBuf> = commits.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        if !between.is_empty() {
            aside.insert_many(between).await.unwrap();
        }
        self.rename(ASIDE, "commits", true).await;
    }

    async fn rename(&self, from: &str, to: &str, drop_target: bool) {
        let name = |collection: &str| format!("{}.{collection}", self.place.name);
        let command: Document = doc! { "renameCollection": name(from), "to": name(to), "dropTarget": drop_target };
        self.place.client.database("admin").run_command(command).await.unwrap();
    }

    /// Every handle comes to refuse, one that is opened now as well; each says what to do.
    async fn until_all_refuse(&mut self) {
        for log in self.logs.clone() {
            self.until_refused(&log).await;
        }
        let late = self.place.open().await;
        self.until_refused(&late).await;
        late.close().await;
    }

    async fn until_refused(&mut self, log: &MongoLog) {
        loop {
            self.probes += 1;
            let probe = commit(stream(self.probes), StreamHead::EMPTY, 1);
            match log.append(probe.clone()).await {
                Ok(()) => self.acknowledged.add(&probe),
                Err(AppendError::Store(StoreError::Unavailable(why))) if why.contains("restore it") => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Nothing is acknowledged any more, and who wants to decide on a stream is told that it cannot be read.
    async fn refuses_for_a_while(&self, appenders: &Appenders) {
        let before = {
            let _held = appenders.hold().await;
            appenders.acknowledged()
        };
        tokio::time::sleep(WATCHED).await;
        assert_eq!(appenders.acknowledged(), before, "something is acknowledged before everything is restored");
        for log in &self.logs {
            let read = log.read_stream(stream(1), 0, 10).await;
            assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        }
    }

    async fn append_probe(&mut self, log: &MongoLog) {
        self.probes += 1;
        let probe = commit(stream(self.probes), StreamHead::EMPTY, 1);
        append(log, &probe).await;
        self.acknowledged.add(&probe);
        until("what is appended after the restoration has its place", || async {
            let pages = log.read_pages(0, usize::MAX).await.unwrap();
            pages.iter().flat_map(|page| &page.entries).any(|entry| entry.commit == probe.id)
        })
        .await;
    }
}
