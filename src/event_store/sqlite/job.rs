//! What the writer is asked to do.

use testledger_schemas::commit::{Commit, CommitId};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, StreamId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::event_store::queue::Waiting;
use crate::event_store::{AppendError, StoreError, StoredArtifact};

/// An answer that somebody may no longer wait for: the job is done all the same.
pub(super) type Reply<E> = oneshot::Sender<Result<(), E>>;

/// A commit that passed the checks that need no store.
pub(super) struct Append {
    pub(super) commit: Commit,
    pub(super) json: String,
    pub(super) reply: Reply<AppendError>,
}

/// One change of the artifacts or of erasable content.
pub(super) enum Change {
    PutArtifact { hash: Hash, bytes: Vec<u8> },
    EraseArtifacts { hashes: Vec<Hash> },
    RemoveArtifacts { artifacts: Vec<StoredArtifact> },
    EraseContent { commit: CommitId, events: Vec<EventId> },
}

/// What the writer is asked to do.
pub(super) enum Job {
    Append(Append),
    Change(Change, Reply<StoreError>),
    Close,
}

impl Job {
    /// Whether it takes something away.
    pub(super) fn is_erasure(&self) -> bool {
        match self {
            Self::Change(Change::EraseContent { .. } | Change::EraseArtifacts { .. }, _) => true,
            Self::Change(Change::PutArtifact { .. } | Change::RemoveArtifacts { .. }, _)
            | Self::Append(_)
            | Self::Close => false,
        }
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.json.len(),
            Self::Change(Change::PutArtifact { bytes, .. }, _) => bytes.len(),
            Self::Change(
                Change::EraseArtifacts { .. } | Change::RemoveArtifacts { .. } | Change::EraseContent { .. },
                _,
            )
            | Self::Close => 0,
        }
    }
}

/// A job with its room in the queue, which is free again when the job is done.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl Waiting for Queued {
    fn bytes(&self) -> usize {
        self.job.bytes()
    }

    fn stream(&self) -> Option<StreamId> {
        match &self.job {
            Job::Append(append) => Some(append.commit.id.stream),
            Job::Change(..) | Job::Close => None,
        }
    }
}
