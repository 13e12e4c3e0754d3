//! The event log in one SQLite file: the embedded default. Several processes may have it open at once.
//!
//! One thread writes and commits in groups; the append's transaction writes its page, so a commit has its position
//! when it is acknowledged. Every write-ahead commit is synced (`synchronous = FULL`) before it is acknowledged.

mod batch;
mod errors;
mod file;
mod job;
mod known;
mod queries;
mod reader;
mod writer;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, StreamId};
use testledger_schemas::page::Page;
use tokio::sync::{Mutex, Semaphore, oneshot, watch};

pub use crate::event_store::sqlite::file::APPLICATION_ID;

use crate::event_store::queue::{room, room_for};
use crate::event_store::sqlite::errors::Translator;
use crate::event_store::sqlite::file::LogFile;
use crate::event_store::sqlite::job::{Append, Change, Job, Queued, Reply};
use crate::event_store::sqlite::reader::Readers;
use crate::event_store::sqlite::writer::Writer;
use crate::event_store::{AppendError, EventLog, RawCommit, StoreError, StoredArtifact, rules};

/// How long another process may hold the file before an append gives up, unless told otherwise.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes an artifact may have.
pub const MAX_ARTIFACT_BYTES: usize = 64 << 20;
/// Above so many bytes the hash of an artifact is computed beside the async threads.
const HASH_ASIDE_BYTES: usize = 256 << 10;

/// The event log in one SQLite file.
pub struct SqliteLog {
    jobs: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    readers: Arc<Readers>,
    head: watch::Receiver<u64>,
    errors: Translator,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

impl SqliteLog {
    /// Opens the log in this file; creates the folder, the file and page 0 where they are missing.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for another program's file, a newer format or missing rights, each with the mend;
    /// [`StoreError::Damaged`] for a file that cannot be read; [`StoreError::Unavailable`] when another process holds
    /// it for longer than [`DEFAULT_PATIENCE`], or the disk fails.
    pub async fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        Self::open_patiently(path, DEFAULT_PATIENCE).await
    }

    /// As [`SqliteLog::open`]; another process may hold the file for `patience` before a call gives up.
    ///
    /// # Errors
    /// As [`SqliteLog::open`].
    pub async fn open_patiently(path: &Path, patience: Duration) -> Result<Arc<Self>, StoreError> {
        let file = LogFile::new(path, patience);
        let opening = tokio::task::spawn_blocking(move || Self::start(file));
        opening.await.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("opening did not end: {error}"))))
    }

    fn start(file: LogFile) -> Result<Arc<Self>, StoreError> {
        let writer = Writer::new(file.clone(), file.open_writer()?)?;
        let head = writer.head();
        let (jobs, queue) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| StoreError::Unavailable(format!("no thread for the log's writer: {error}")))?;
        let errors = file.errors.clone();
        let writer = Mutex::new(Some(thread));
        Ok(Arc::new(Self { jobs, room: room(), readers: Readers::new(file), head, errors, writer }))
    }

    /// Hands a job to the writer. From then on it is done, whether anybody waits for the answer or not.
    async fn submit<E: From<StoreError>>(&self, bytes: usize, job: impl FnOnce(Reply<E>) -> Job) -> Result<(), E> {
        let room = Arc::clone(&self.room).acquire_many_owned(room_for(bytes)).await;
        let room = room.map_err(|_| self.errors.closed())?;
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Queued { job: job(reply), room: Some(room) }).map_err(|_| self.errors.closed())?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the log's writer has ended".to_owned()).into()))
    }
}

#[async_trait]
impl EventLog for SqliteLog {
    async fn append(&self, commit: Commit) -> Result<(), AppendError> {
        rules::check_alone(&commit)?;
        let json = commit.to_json();
        self.submit(json.len(), |reply| Job::Append(Append { commit, json, reply })).await
    }

    async fn read_stream(&self, stream: StreamId, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        self.readers.read(move |log| log.stream(stream, after, limit)).await
    }

    async fn stream_head(&self, stream: StreamId) -> Result<StreamHead, StoreError> {
        self.readers.read(move |log| log.stream_head(stream)).await
    }

    async fn read_pages(&self, from: u64, limit: usize) -> Result<Vec<Page>, StoreError> {
        self.readers.read(move |log| log.pages(from, limit)).await
    }

    async fn last_page(&self) -> Result<Page, StoreError> {
        self.readers.read(|log| log.last_page()).await
    }

    async fn page_of(&self, position: u64) -> Result<Option<Page>, StoreError> {
        self.readers.read(move |log| log.page_of(position)).await
    }

    async fn read_commits(&self, ids: &[CommitId]) -> Result<Vec<Option<Commit>>, StoreError> {
        let ids = ids.to_vec();
        self.readers.read(move |log| ids.into_iter().map(|id| log.commit_by_id(id)).collect()).await
    }

    async fn scan_commits(&self, after: Option<CommitId>, limit: usize) -> Result<Vec<RawCommit>, StoreError> {
        self.readers.read(move |log| log.scan(after, limit)).await
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.head.clone()
    }

    async fn erase_content(&self, commit: CommitId, events: &[EventId]) -> Result<(), StoreError> {
        let change = Change::EraseContent { commit, events: events.to_vec() };
        self.submit(0, |reply| Job::Change(change, reply)).await
    }

    async fn put_artifact(&self, bytes: Vec<u8>) -> Result<Hash, StoreError> {
        if bytes.len() > MAX_ARTIFACT_BYTES {
            let why = format!("an artifact may have {MAX_ARTIFACT_BYTES} bytes, not {}", bytes.len());
            return Err(self.errors.refused(&why));
        }
        let (hash, bytes) = hashed(bytes).await?;
        self.submit(bytes.len(), |reply| Job::Change(Change::PutArtifact { hash, bytes }, reply)).await?;
        Ok(hash)
    }

    async fn get_artifact(&self, hash: Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let errors = self.errors.clone();
        let read = self.readers.read(move |log| {
            let bytes = log.artifact(&hash.to_string())?;
            match bytes {
                Some(bytes) if Hash::of(&bytes) != hash => {
                    Err(errors.damaged(&format!("the artifact {hash} is not what its hash says")))
                }
                Some(_) | None => Ok(bytes),
            }
        });
        read.await
    }

    async fn erase_artifacts(&self, hashes: &[Hash]) -> Result<(), StoreError> {
        let change = Change::EraseArtifacts { hashes: hashes.to_vec() };
        self.submit(0, |reply| Job::Change(change, reply)).await
    }

    async fn list_artifacts(&self, after: Option<Hash>, limit: usize) -> Result<Vec<StoredArtifact>, StoreError> {
        self.readers.read(move |log| log.artifacts(after, limit)).await
    }

    async fn remove_artifacts(&self, artifacts: &[StoredArtifact]) -> Result<(), StoreError> {
        let change = Change::RemoveArtifacts { artifacts: artifacts.to_vec() };
        self.submit(0, |reply| Job::Change(change, reply)).await
    }

    async fn close(&self) {
        // Nobody gets in any more; the writer does what is in its queue and ends.
        self.room.close();
        drop(self.jobs.send(Queued { job: Job::Close, room: None }));
        if let Some(thread) = self.writer.lock().await.take() {
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
        self.readers.close().await;
    }
}

async fn hashed(bytes: Vec<u8>) -> Result<(Hash, Vec<u8>), StoreError> {
    if bytes.len() <= HASH_ASIDE_BYTES {
        return Ok((Hash::of(&bytes), bytes));
    }
    let hashing = tokio::task::spawn_blocking(move || (Hash::of(&bytes), bytes));
    hashing.await.map_err(|error| StoreError::Unavailable(format!("hashing did not end: {error}")))
}
