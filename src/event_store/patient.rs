//! A log that waits for its store: what did not reach it, or has an unknown outcome, is sent again until the patience is
//! used up. Appends are sent again byte for byte: the store tells a repeated append from a conflict by the event ids.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, StreamId};
use testledger_schemas::page::Page;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::event_store::{AppendError, EventLog, RawCommit, SharedLog, StoreError, StoredArtifact};

/// The wait before the second try; each further one is twice as long, up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait between two tries.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// A log that waits for its store.
pub struct PatientLog {
    inner: SharedLog,
    patience: Duration,
}

/// An error that may mean no more than that the store is away for now.
trait Passing {
    fn is_passing(&self) -> bool;
}

impl Passing for StoreError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Damaged(_) | Self::Refused(_) => false,
        }
    }
}

impl Passing for AppendError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) => error.is_passing(),
            Self::Conflict { .. } | Self::Invalid { .. } => false,
        }
    }
}

impl PatientLog {
    /// The log, with so much patience for its store.
    #[must_use]
    pub fn new(inner: SharedLog, patience: Duration) -> Arc<Self> {
        Arc::new(Self { inner, patience })
    }

    async fn try_until_known<T, E, F>(&self, mut call: impl FnMut() -> F + Send) -> Result<T, E>
    where
        E: Passing + std::fmt::Display,
        F: Future<Output = Result<T, E>> + Send,
    {
        let began = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            match call().await {
                Err(error) if error.is_passing() && began.elapsed() + wait <= self.patience => {
                    tracing::warn!(%error, "the store is away: trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LAST_WAIT);
                }
                known => return known,
            }
        }
    }
}

#[async_trait]
impl EventLog for PatientLog {
    async fn append(&self, commit: Commit) -> Result<(), AppendError> {
        self.try_until_known(|| self.inner.append(commit.clone())).await
    }

    async fn read_stream(&self, stream: StreamId, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        self.try_until_known(|| self.inner.read_stream(stream, after, limit)).await
    }

    async fn stream_head(&self, stream: StreamId) -> Result<StreamHead, StoreError> {
        self.try_until_known(|| self.inner.stream_head(stream)).await
    }

    async fn read_pages(&self, from: u64, limit: usize) -> Result<Vec<Page>, StoreError> {
        self.try_until_known(|| self.inner.read_pages(from, limit)).await
    }

    async fn last_page(&self) -> Result<Page, StoreError> {
        self.try_until_known(|| self.inner.last_page()).await
    }

    async fn page_of(&self, position: u64) -> Result<Option<Page>, StoreError> {
        self.try_until_known(|| self.inner.page_of(position)).await
    }

    async fn read_commits(&self, ids: &[CommitId]) -> Result<Vec<Option<Commit>>, StoreError> {
        self.try_until_known(|| self.inner.read_commits(ids)).await
    }

    async fn scan_commits(&self, after: Option<CommitId>, limit: usize) -> Result<Vec<RawCommit>, StoreError> {
        self.try_until_known(|| self.inner.scan_commits(after, limit)).await
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.inner.head()
    }

    async fn erase_content(&self, commit: CommitId, events: &[EventId]) -> Result<(), StoreError> {
        self.try_until_known(|| self.inner.erase_content(commit, events)).await
    }

    async fn put_artifact(&self, bytes: Vec<u8>) -> Result<Hash, StoreError> {
        self.try_until_known(|| self.inner.put_artifact(bytes.clone())).await
    }

    async fn get_artifact(&self, hash: Hash) -> Result<Option<Vec<u8>>, StoreError> {
        self.try_until_known(|| self.inner.get_artifact(hash)).await
    }

    async fn erase_artifacts(&self, hashes: &[Hash]) -> Result<(), StoreError> {
        self.try_until_known(|| self.inner.erase_artifacts(hashes)).await
    }

    async fn list_artifacts(&self, after: Option<Hash>, limit: usize) -> Result<Vec<StoredArtifact>, StoreError> {
        self.try_until_known(|| self.inner.list_artifacts(after, limit)).await
    }

    async fn remove_artifacts(&self, artifacts: &[StoredArtifact]) -> Result<(), StoreError> {
        self.try_until_known(|| self.inner.remove_artifacts(artifacts)).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_store::faults::Faults;
    use crate::event_store::memory::MemoryLog;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_for_a_while_is_waited_for() {
        let log = MemoryLog::with_faults(Faults { seed: 7, unavailable: 900, ..Faults::none() });
        let patient = PatientLog::new(log, Duration::from_secs(3600));
        let hash = patient.put_artifact(b"kept".to_vec()).await.unwrap();
        assert_eq!(patient.get_artifact(hash).await.unwrap(), Some(b"kept".to_vec()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_stays_away_is_given_up_in_time() {
        let log = MemoryLog::with_faults(Faults { seed: 7, unavailable: 1000, ..Faults::none() });
        let patient = PatientLog::new(log, Duration::from_secs(60));
        let began = Instant::now();
        assert!(matches!(patient.last_page().await, Err(StoreError::Unavailable(_))));
        assert!((55..=60).contains(&began.elapsed().as_secs()));
    }
}
