//! The questions that readers, the writer and the sequencer ask. Each walks an index.

use futures::TryStreamExt;
use mongodb::action::Find;
use mongodb::bson::{Bson, RawDocument, RawDocumentBuf, doc};
use mongodb::options::{Hint, ReadConcern};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::ids::StreamId;
use testledger_schemas::page::Page;

use std::collections::{HashMap, HashSet};

use crate::event_store::mongodb::connect::MAJORITY_TIMEOUT;
use crate::event_store::mongodb::documents::{commit_in, exact_commit_in, key_of, page_in};
use crate::event_store::mongodb::shared::Shared;
use crate::event_store::{RawCommit, StoreError};

/// So many documents come in one message at the most; the driver takes no more than fits into 31 bits.
const LARGEST_BATCH: usize = 10_000;
/// A key is shown up to so many bytes; those of commits are far shorter.
const LONGEST_KEY: usize = 200;

impl Shared {
    /// The commits of a stream with a number above `after`, in order.
    pub(super) async fn stream(&self, stream: StreamId, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        // An identifier beyond the greatest number leads past the stream.
        let Some(number) = after.checked_add(1) else { return Ok(vec![]) };
        let from = CommitId { stream, number }.to_string();
        let commits = self.commits.clone();
        let filter = doc! { "_id": { "$gte": from, "$lt": end_of(stream) } };
        let found =
            self.ask(
                async move { collect(commits.find(filter).sort(doc! { "_id": 1 }), limit, with_key(commit_in)).await },
            );
        found.await?.into_iter().map(|(key, commit)| self.readable(key, commit)).collect()
    }

    /// The end of a stream, sequenced or not.
    pub(super) async fn stream_head(&self, stream: StreamId) -> Result<StreamHead, StoreError> {
        let commits = self.commits.clone();
        let filter = doc! { "_id": { "$gte": format!("{stream}/"), "$lt": end_of(stream) } };
        let last = self
            .ask(async move { collect(commits.find(filter).sort(doc! { "_id": -1 }), 1, with_key(commit_in)).await })
            .await?
            .pop();
        let last = last.map(|(key, commit)| self.readable(key, commit)).transpose()?;
        Ok(last.map_or(StreamHead::EMPTY, |commit| commit.head()))
    }

    /// The commits with these ids, by id; what is not there is missing. One that cannot be read fails all.
    pub(super) async fn commits_by_id(&self, ids: &[CommitId]) -> Result<HashMap<CommitId, Commit>, StoreError> {
        let found = self.stored(ids).await?;
        let commits = found.into_iter().map(|(key, commit)| self.readable(key, commit));
        commits.map(|commit| commit.map(|commit| (commit.id, commit))).collect()
    }

    /// As [`Self::commits_by_id`], where one that cannot be read must not stand in the way of others: it is missing.
    pub(super) async fn readable_by_id(&self, ids: &[CommitId]) -> Result<HashMap<CommitId, Commit>, StoreError> {
        let found = self.stored(ids).await?;
        let commits = found.into_iter().filter_map(|(key, commit)| self.readable(key, commit).ok());
        Ok(commits.map(|commit| (commit.id, commit)).collect())
    }

    async fn stored(&self, ids: &[CommitId]) -> Result<Vec<Keyed<Commit>>, StoreError> {
        let keys: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let (commits, limit) = (self.commits.clone(), keys.len());
        let filter = doc! { "_id": { "$in": keys } };
        self.ask(async move { collect(commits.find(filter), limit, with_key(commit_in)).await }).await
    }

    /// The commit with this id, by a read that no primary can answer that has been deposed without knowing it.
    pub(super) async fn commit_for_certain(&self, id: CommitId) -> Result<Option<Commit>, StoreError> {
        let commits = self.commits.clone();
        let filter = doc! { "_id": id.to_string() };
        let found = self
            .ask(async move {
                let found = commits.find_one(filter).read_concern(ReadConcern::linearizable());
                found.max_time(MAJORITY_TIMEOUT).await
            })
            .await?;
        found.map(|document| self.readable(key_of(&document), commit_in(&document))).transpose()
    }

    /// All stored documents by key, from after `after` on; also those whose keys are no texts.
    pub(super) async fn scan(&self, after: Option<CommitId>, limit: usize) -> Result<Vec<RawCommit>, StoreError> {
        if limit == 0 {
            return Ok(vec![]);
        }
        let (commits, after) = (self.commits.clone(), after.map(|after| after.to_string()));
        // A comparison finds keys of its own type only, the bound of an index what comes then, too: with `after` itself.
        let begin = after.clone().map(|after| doc! { "_id": after });
        let found = self.ask(async move {
            let mut find = commits.find(doc! {}).sort(doc! { "_id": 1 });
            if let Some(begin) = begin {
                find = find.hint(Hint::Keys(doc! { "_id": 1 })).min(begin);
            }
            collect(find, limit.saturating_add(1), with_key(exact_commit_in)).await
        });
        let raw = |(id, commit): (String, Result<Commit, String>)| {
            let commit = commit.and_then(|commit| match commit.id.to_string() == id {
                true => Ok(commit),
                false => Err(format!("its document holds the commit {}", commit.id)),
            });
            RawCommit { id: shown(id), commit }
        };
        let beyond = found.await?.into_iter().filter(|(key, _)| Some(key) != after.as_ref());
        Ok(beyond.take(limit).map(raw).collect())
    }

    /// The pages from number `from` on, in order.
    pub(super) async fn pages(&self, from: u64, limit: usize) -> Result<Vec<Page>, StoreError> {
        let pages = self.pages.clone();
        // From the first one on also what has no number: it is not from this program, and an audit has to see it.
        let filter = if from == 0 {
            doc! {}
        } else {
            doc! { "_id": { "$gte": number(from) } }
        };
        let found = self
            .ask(async move { collect(pages.find(filter).sort(doc! { "_id": 1 }), limit, with_key(page_in)).await });
        found.await?.into_iter().map(|found| self.page(found)).collect()
    }

    /// The page with the greatest number.
    pub(super) async fn last_page(&self) -> Result<Page, StoreError> {
        let pages = self.pages.clone();
        let found =
            self.ask(async move { collect(pages.find(doc! {}).sort(doc! { "_id": -1 }), 1, with_key(page_in)).await });
        let last = found.await?.pop().ok_or_else(|| self.store.errors.damaged("it has no page 0"))?;
        self.page(last)
    }

    /// The page that gives a position.
    pub(super) async fn page_of(&self, position: u64) -> Result<Option<Page>, StoreError> {
        let pages = self.pages.clone();
        let filter = doc! { "first_position": { "$lte": number(position) } };
        // An empty page begins where the next one does: of those the one with the greatest number has the position.
        let order = doc! { "first_position": -1, "_id": -1 };
        let found = self.ask(async move { collect(pages.find(filter).sort(order), 1, with_key(page_in)).await });
        let page = found.await?.pop().map(|found| self.page(found)).transpose()?;
        Ok(page.filter(|page| (page.first_position..page.next_position()).contains(&position)))
    }

    /// Which of these commits have their place in a page.
    pub(super) async fn placed(&self, ids: &[CommitId]) -> Result<HashSet<CommitId>, StoreError> {
        let keys: Vec<Bson> = ids.iter().map(|id| id.to_string().into()).collect();
        let pages = self.pages.clone();
        let named = doc! { "entries.commit": { "$in": keys.clone() } };
        let pipeline = [
            doc! { "$match": named.clone() },
            doc! { "$project": { "entries.commit": 1 } },
            doc! { "$unwind": "$entries" },
            doc! { "$match": named },
            doc! { "$project": { "_id": "$entries.commit" } },
        ];
        let found = self
            .ask(async move {
                let cursor = pages.aggregate(pipeline).with_type::<RawDocumentBuf>().await?;
                cursor.map_ok(|document| key_of(&document)).try_collect::<Vec<_>>().await
            })
            .await?;
        Ok(found.iter().filter_map(|key| key.parse().ok()).collect())
    }

    fn readable(&self, key: String, commit: Result<Commit, String>) -> Result<Commit, StoreError> {
        let damaged = |why: String| self.store.errors.damaged(&format!("the commit {key}: {why}"));
        let commit = commit.map_err(damaged)?;
        if commit.id.to_string() == key {
            return Ok(commit);
        }
        Err(damaged(format!("its document holds the commit {}", commit.id)))
    }

    fn page(&self, (key, page): (String, Result<Page, String>)) -> Result<Page, StoreError> {
        page.map_err(|why| self.store.errors.damaged(&format!("page {key}: {why}")))
    }
}

/// A document's key, and what can be read of it.
type Keyed<T> = (String, Result<T, String>);

fn with_key<T>(read: fn(&RawDocument) -> Result<T, String>) -> impl Fn(&RawDocument) -> Keyed<T> {
    move |document| (key_of(document), read(document))
}

/// Reads what a query finds, batch by batch, each document where it lies.
async fn collect<T>(
    find: Find<'_, RawDocumentBuf>,
    limit: usize,
    read: impl Fn(&RawDocument) -> T,
) -> mongodb::error::Result<Vec<T>> {
    if limit == 0 {
        return Ok(vec![]);
    }
    let batch_size = u32::try_from(limit.min(LARGEST_BATCH)).unwrap_or(u32::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut batches = find.limit(limit).batch_size(batch_size).batch().await?;
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        for document in batch.doc_slices()? {
            if let Some(document) = document?.as_document() {
                found.push(read(document));
            }
        }
    }
    Ok(found)
}

/// A key as it may be shown: nobody keeps another hand from making one of many megabytes.
fn shown(mut key: String) -> String {
    if key.len() > LONGEST_KEY {
        key.truncate(key.floor_char_boundary(LONGEST_KEY));
        key.push('…');
    }
    key
}

/// The text after every id of a stream: `0` follows `/`, which ends the stream's name in each id.
fn end_of(stream: StreamId) -> String {
    format!("{stream}0")
}

/// A number as BSON has it.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
