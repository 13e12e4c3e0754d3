//! The event log in MongoDB: the home of a team's log. Any number of processes may have it open at once.
//!
//! An append is one document, durable on a majority when it is acknowledged; its key is the optimistic concurrency. The
//! order comes a moment later: a sequencer follows the change stream and writes pages. Readers go by pages alone.
//!
//! Every call runs in a task of its own and has a bound on its answer (see [`MongoStore`]): the driver's futures must
//! not be dropped half-way. What is not known after that is `Unavailable`, and may be sent again.

mod address;
mod artifacts;
mod backfill;
mod batch;
mod changes;
mod connect;
mod create;
mod deployment;
mod documents;
mod errors;
mod idle;
mod leases;
mod loss;
mod place;
mod queries;
mod sequence;
mod shared;
mod stream;
mod stretch;
mod watch;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{Document, doc};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, StreamId};
use testledger_schemas::page::Page;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch as tokio_watch};
use tokio::task::JoinHandle;

pub use crate::event_store::mongodb::address::MongoAddress;
pub use crate::event_store::mongodb::artifacts::MAX_ARTIFACT_BYTES;
pub use crate::event_store::mongodb::connect::MongoStore;
pub use crate::event_store::mongodb::leases::MongoLeases;

use crate::event_store::mongodb::shared::Shared;
use crate::event_store::mongodb::writer::Append;
use crate::event_store::queue::{room, room_for};
use crate::event_store::{AppendError, EventLog, RawCommit, StoreError, StoredArtifact, rules};

/// How long opening waits until everything durable before it has its place.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(5);
/// How long closing waits until everything that was appended here has its place.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// How often an erasure is tried again because the commit changed under it.
const MAX_ERASURE_TRIES: usize = 10;

/// The event log in one database of a replica set.
pub struct MongoLog {
    shared: Arc<Shared>,
    jobs: Mutex<Option<mpsc::UnboundedSender<Append>>>,
    room: Arc<Semaphore>,
    tasks: Mutex<Option<Tasks>>,
}

struct Tasks {
    writer: JoinHandle<()>,
    sequencer: JoinHandle<()>,
}

impl MongoLog {
    /// Opens the log in this database; makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for another program's collections, a newer format or missing rights, each with the mend;
    /// [`StoreError::Damaged`] for a log that lost its beginning; [`StoreError::Unavailable`] if the store does not
    /// answer.
    pub async fn open(store: MongoStore) -> Result<Arc<Self>, StoreError> {
        let shared = Shared::new(store, 0);
        if !shared.has_log().await? {
            shared.create().await?;
        }
        Self::start(shared).await
    }

    /// Opens the log in this database if there is one. Needs no more than the right to read.
    ///
    /// # Errors
    /// As [`MongoLog::open`].
    pub async fn open_existing(store: MongoStore) -> Result<Option<Arc<Self>>, StoreError> {
        let shared = Shared::new(store, 0);
        if !shared.has_log().await? {
            return Ok(None);
        }
        Self::start(shared).await.map(Some)
    }

    async fn start(shared: Arc<Shared>) -> Result<Arc<Self>, StoreError> {
        shared.head.advance(shared.last_page().await?.last_position());
        let (jobs, queue) = mpsc::unbounded_channel();
        let (tell, mut caught_up) = tokio_watch::channel(false);
        let tasks = Tasks {
            writer: tokio::spawn(writer::run(Arc::clone(&shared), queue)),
            sequencer: tokio::spawn(sequence::run(Arc::clone(&shared), tell)),
        };
        tokio::spawn(watch::run(Arc::clone(&shared)));
        // What a process left behind that was killed: whoever looks now would miss it.
        drop(tokio::time::timeout(CATCH_UP_PATIENCE, caught_up.wait_for(|done| *done)).await);
        let jobs = Mutex::new(Some(jobs));
        Ok(Arc::new(Self { shared, jobs, room: room(), tasks: Mutex::new(Some(tasks)) }))
    }
}

impl Drop for MongoLog {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

#[async_trait]
impl EventLog for MongoLog {
    async fn append(&self, commit: Commit) -> Result<(), AppendError> {
        rules::check_alone(&commit)?;
        let document = documents::encode(&commit).map_err(|why| rules::invalid(commit.id, why))?;
        let closed = || AppendError::Store(self.shared.store.errors.closed());
        let size = room_for(document.as_bytes().len());
        let room = Arc::clone(&self.room).acquire_many_owned(size).await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.lock().await.clone().ok_or_else(closed)?;
        // From here on it is done, whether anybody waits for the answer or not.
        jobs.send(Append { commit, document: Arc::new(document), reply, _room: room }).map_err(|_| closed())?;
        drop(jobs);
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn read_stream(&self, stream: StreamId, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        self.shared.check_there()?;
        self.shared.stream(stream, after, limit).await
    }

    async fn stream_head(&self, stream: StreamId) -> Result<StreamHead, StoreError> {
        self.shared.check_there()?;
        self.shared.stream_head(stream).await
    }

    async fn read_pages(&self, from: u64, limit: usize) -> Result<Vec<Page>, StoreError> {
        self.shared.pages(from, limit).await
    }

    async fn last_page(&self) -> Result<Page, StoreError> {
        self.shared.last_page().await
    }

    async fn page_of(&self, position: u64) -> Result<Option<Page>, StoreError> {
        self.shared.page_of(position).await
    }

    async fn read_commits(&self, ids: &[CommitId]) -> Result<Vec<Option<Commit>>, StoreError> {
        let mut found = self.shared.commits_by_id(ids).await?;
        // Also where all are missing: an audit has to be able to name them. As many as were asked for are all different.
        let is_each = found.len() == ids.len();
        Ok(ids.iter().map(|id| if is_each { found.remove(id) } else { found.get(id).cloned() }).collect())
    }

    async fn scan_commits(&self, after: Option<CommitId>, limit: usize) -> Result<Vec<RawCommit>, StoreError> {
        self.shared.scan(after, limit).await
    }

    fn head(&self) -> tokio_watch::Receiver<u64> {
        self.shared.head.subscribe()
    }

    async fn erase_content(&self, commit: CommitId, events: &[EventId]) -> Result<(), StoreError> {
        let errors = &self.shared.store.errors;
        for _ in 0..MAX_ERASURE_TRIES {
            let stored = self.shared.commits_by_id(&[commit]).await?.remove(&commit);
            let before = stored.ok_or_else(|| errors.refused(&format!("there is no commit {commit}")))?;
            let mut after = before.clone();
            let named = after.events.iter_mut().filter(|event| events.contains(&event.event_id));
            named.for_each(|event| event.content = None);
            if after == before || self.replace(&before, &after).await? {
                return Ok(());
            }
        }
        Err(errors.unavailable(&format!("the commit {commit} changes all the time")))
    }

    async fn put_artifact(&self, bytes: Vec<u8>) -> Result<Hash, StoreError> {
        self.shared.put_artifact(bytes).await
    }

    async fn get_artifact(&self, hash: Hash) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.get_artifact(hash).await
    }

    async fn erase_artifacts(&self, hashes: &[Hash]) -> Result<(), StoreError> {
        self.shared.erase_artifacts(hashes).await
    }

    async fn list_artifacts(&self, after: Option<Hash>, limit: usize) -> Result<Vec<StoredArtifact>, StoreError> {
        self.shared.list_artifacts(after, limit).await
    }

    async fn remove_artifacts(&self, artifacts: &[StoredArtifact]) -> Result<(), StoreError> {
        self.shared.remove_artifacts(artifacts).await
    }

    async fn close(&self) {
        // Nobody gets in any more; the writer does what is in its queue and ends.
        self.room.close();
        self.jobs.lock().await.take();
        let Some(tasks) = self.tasks.lock().await.take() else { return };
        drop(tasks.writer.await);
        drop(tokio::time::timeout(CLOSE_PATIENCE, self.shared.unplaced.until_none_left()).await);
        self.shared.closed.cancel();
        drop(tokio::time::timeout(CLOSE_PATIENCE, tasks.sequencer).await);
    }
}

impl MongoLog {
    /// How many groups of appends this handle has sent: with the number of appends, their mean size.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.shared.batches.load(Ordering::Relaxed)
    }

    /// Puts a commit with less content in the place of the whole one; false if that is not there any more.
    async fn replace(&self, before: &Commit, after: &Commit) -> Result<bool, StoreError> {
        let damaged = |why: String| self.shared.store.errors.damaged(&why);
        let (before, after) = (documents::encode(before).map_err(damaged)?, documents::encode(after).map_err(damaged)?);
        let commits = self.shared.commits.clone();
        let replacing = async move {
            let before = Document::try_from(before)?;
            let same = doc! { "_id": before.get("_id"), "events": before.get("events") };
            commits.replace_one(same, after).await
        };
        self.shared.ask(replacing).await.map(|replaced| replaced.matched_count == 1)
    }
}
