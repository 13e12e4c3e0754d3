//! What the writer is asked to do, and how many bytes of it may wait.

use std::sync::Arc;

use testledger_schemas::commit::{Commit, CommitId};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::EventId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::event_store::{AppendError, StoreError};

/// So many KiB of jobs may wait for the writer; who comes then waits for room.
const QUEUE_KIB: usize = 128 << 10;
/// What every job counts at least, in KiB: it bounds the number of small ones to 8,192.
const LEAST_KIB: usize = 16;

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
            Self::Change(Change::PutArtifact { .. }, _) | Self::Append(_) | Self::Close => false,
        }
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.json.len(),
            Self::Change(Change::PutArtifact { bytes, .. }, _) => bytes.len(),
            Self::Change(Change::EraseArtifacts { .. } | Change::EraseContent { .. }, _) | Self::Close => 0,
        }
    }
}

/// A job with its room in the queue, which is free again when the job is done.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// The room in the queue.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(QUEUE_KIB))
}

/// How much room a job of so many bytes takes.
pub(super) fn room_for(bytes: usize) -> u32 {
    u32::try_from((LEAST_KIB + bytes / 1024).min(QUEUE_KIB)).unwrap_or(u32::MAX)
}
