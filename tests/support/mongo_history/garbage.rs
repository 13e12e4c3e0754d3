//! Another hand puts documents among the commits: some are none, some only look like one. Nothing halts, and an audit
//! names each.

use std::collections::BTreeSet;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::options::WriteConcern;
use test_servers::{ReplicaSet, ReplicaSetOptions};
use testledger::audit::Finding;
use testledger::event_store::{AppendError, EventLog, StoreError};
use testledger_schemas::commit::{Commit, StreamHead};

use super::appending::{Acknowledged, append};
use super::raw::{self, Streams};
use super::{Found, until};
use crate::mongo::{self, Place};
use crate::support::{commit, stream};

/// The streams that the other hand touches.
const FORGED: u64 = 1;
const BROKEN: u64 = 2;
/// The first stream of the others.
const OTHERS: u64 = 100;
/// A key so long that a change with it is larger than what the server can tell.
const LONG_KEY: usize = 4_300 << 10;

/// When the sequencer comes to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In the change stream, as it is put there.
    AtOnce,
    /// In a backfill, after the history was lost.
    Later,
}

/// Puts garbage among commits. What is found has two flagged commits, and the findings are those that are due.
pub async fn among_commits(when: When) -> Found {
    let set = ReplicaSet::start_with(ReplicaSetOptions::new(1).small_oplog()).await.unwrap();
    let place = mongo::at(set.uri("log"), "log".to_owned()).await;
    let (mut acknowledged, mut streams) = (Acknowledged::default(), Streams::new(OTHERS, 10));
    let mut log = place.open().await;
    for commit in streams.grow(20) {
        append(&log, &commit).await;
        acknowledged.add(&commit);
    }
    if when == When::Later {
        log.close().await;
    }
    let garbage = put(&place).await;
    // More than a backfill reads at once: the garbage is among the first of them.
    let raw = streams.grow(1_500);
    raw::append(&place, &raw).await;
    raw.iter().for_each(|commit| acknowledged.add(commit));
    garbage.flagged.iter().for_each(|commit| acknowledged.add(commit));
    if when == When::Later {
        set.overrun_oplog().await.unwrap();
        log = place.open().await;
    }
    // Beside an append that cannot be: the stream that it continues cannot be read.
    let hopeless = log.append(garbage.flagged[1].clone());
    let good = streams.grow(10);
    let others = futures::future::join_all(good.iter().map(|commit| append(&log, commit)));
    let (_, answer) = tokio::join!(others, hopeless);
    assert!(matches!(answer, Ok(()) | Err(AppendError::Store(StoreError::Damaged(_)))), "{answer:?}");
    good.iter().for_each(|commit| acknowledged.add(commit));
    until("every commit has its place", || async {
        let pages = log.read_pages(0, usize::MAX).await.unwrap();
        pages.iter().map(|page| page.entries.len()).sum::<usize>() == acknowledged.commits.len()
    })
    .await;
    let found = Found::examine_all_but(1, &*log, acknowledged, 1).await;
    garbage.check(&found);
    log.close().await;
    found
}

/// What was put among the commits.
struct Garbage {
    /// Commits that get their places, flagged.
    flagged: Vec<Commit>,
    /// The keys of what is no commit.
    rows: BTreeSet<String>,
}

async fn put(place: &Place) -> Garbage {
    let id = ObjectId::new();
    // Under a key of a commit, so that one that continues it can be stored.
    let broken = commit(stream(BROKEN), StreamHead::EMPTY, 1);
    let documents: [Document; 5] = [
        doc! { "_id": id, "note": "what a tool inserts that draws the key itself" },
        doc! { "_id": 7, "note": "a number" },
        doc! { "_id": "a text", "note": "a key that is no commit's" },
        doc! { "_id": broken.id.to_string(), "note": "a commit's key, and no commit" },
        doc! { "_id": "k".repeat(LONG_KEY), "note": "a long key" },
    ];
    let commits = place.client.database(&place.name).collection::<Document>("commits");
    for document in documents {
        commits.insert_one(document).write_concern(WriteConcern::majority()).await.unwrap();
    }
    let mut forged = commit(stream(FORGED), StreamHead::EMPTY, 1);
    forged.actor = "eve".to_owned();
    let flagged = vec![forged, commit(stream(BROKEN), broken.head(), 1)];
    raw::append(place, &flagged).await;
    let rows = [id.to_hex(), "Int32(7)".to_owned(), "a text".to_owned(), broken.id.to_string(), "kkkkkkkk".to_owned()];
    Garbage { flagged, rows: rows.into() }
}

impl Garbage {
    /// An audit names every piece of it, and nothing else.
    fn check(&self, found: &Found) {
        let (mut rows, mut faulty) = (self.rows.clone(), BTreeSet::new());
        for finding in &found.audit.findings {
            match finding {
                Finding::CommitWithoutPage { row, .. } => {
                    let named = rows.iter().find(|part| row.contains(*part)).cloned();
                    rows.remove(&named.unwrap_or_else(|| panic!("{finding}")));
                    assert!(row.len() < 1_000, "a finding is a line that can be read");
                }
                Finding::SealedFaulty { commit, .. } => {
                    faulty.insert(*commit);
                }
                // The forged one is what its fault says, and the other one follows on nothing.
                Finding::CommitEdited { commit, .. } => assert_eq!(*commit, self.flagged[0].id),
                Finding::CommitOrder { commit, .. } => assert_eq!(*commit, self.flagged[1].id),
                other => panic!("{other}"),
            }
        }
        assert!(rows.is_empty(), "not named: {rows:?}");
        assert_eq!(faulty, self.flagged.iter().map(|commit| commit.id).collect());
        assert_eq!((found.lost, found.whole.doubled, found.whole.flagged, found.whole.foreign), (0, 0, 2, 4));
    }
}
