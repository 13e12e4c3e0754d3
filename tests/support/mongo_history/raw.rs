//! The collections of a log as any other program sees them, through the driver.

use mongodb::Collection;
use mongodb::bson::{Document, RawDocumentBuf, deserialize_from_document, doc};
use mongodb::change_stream::event::ResumeToken;
use mongodb::error::ErrorKind;
use mongodb::options::{Acknowledgment, WriteConcern};
use testledger_schemas::commit::{Commit, StreamHead};

use crate::mongo::{Place, document};
use crate::support::{commit, stream};

/// What a server answers to a change stream whose place in the oplog is gone.
const HISTORY_LOST: i32 = 286;

/// Streams that grow in turn.
pub struct Streams {
    first: u64,
    heads: Vec<StreamHead>,
    next: usize,
}

impl Streams {
    /// So many streams, the first of which has number `first`.
    pub fn new(first: u64, count: usize) -> Self {
        Self { first, heads: vec![StreamHead::EMPTY; count], next: 0 }
    }

    /// The next commits, one stream after the other.
    pub fn grow(&mut self, count: usize) -> Vec<Commit> {
        (0..count).map(|_| self.one()).collect()
    }

    fn one(&mut self) -> Commit {
        let at = self.next % self.heads.len();
        self.next += 1;
        let commit = commit(stream(self.first + at as u64), self.heads[at], 1 + self.next % 3);
        self.heads[at] = commit.head();
        commit
    }
}

/// Stores commits as another process would, and leaves it to others to sequence them.
pub async fn append(place: &Place, commits: &[Commit]) {
    let documents: Vec<RawDocumentBuf> = commits.iter().map(document).collect();
    let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    collection(place, "commits").insert_many(documents).write_concern(durable).await.unwrap();
}

/// A collection of the log.
pub fn collection(place: &Place, name: &str) -> Collection<RawDocumentBuf> {
    place.client.database(&place.name).collection(name)
}

/// What matters of the last page, before any majority has it.
pub struct LastPage {
    pub number: i64,
    pub backfill: bool,
    pub token: Option<String>,
}

impl LastPage {
    /// Whether a backfill was begun and is not ended.
    pub fn is_open(&self) -> bool {
        self.backfill && self.token.is_none()
    }
}

/// The last page.
pub async fn last_page(place: &Place) -> LastPage {
    let pages: Collection<Document> = place.client.database(&place.name).collection("pages");
    let last = pages.find_one(doc! {}).sort(doc! { "_id": -1 }).await.unwrap().unwrap();
    LastPage {
        number: last.get_i64("_id").unwrap(),
        backfill: last.get_bool("backfill").unwrap_or(false),
        token: last.get_str("token").ok().map(ToOwned::to_owned),
    }
}

/// The token that is kept while the log is idle.
pub async fn idle_token(place: &Place) -> Option<String> {
    let state: Collection<Document> = place.client.database(&place.name).collection("log_state");
    let idle = state.find_one(doc! { "_id": "idle" }).await.unwrap()?;
    idle.get_str("token").ok().map(ToOwned::to_owned)
}

/// Whether the change stream can no longer go on from this token.
pub async fn is_lost(place: &Place, token: &str) -> bool {
    let token: ResumeToken = deserialize_from_document(doc! { "_data": token }).unwrap();
    let Err(error) = collection(place, "commits").watch().resume_after(token).await else { return false };
    match error.kind.as_ref() {
        ErrorKind::Command(refused) if refused.code == HISTORY_LOST => true,
        _ => panic!("{error}"),
    }
}
