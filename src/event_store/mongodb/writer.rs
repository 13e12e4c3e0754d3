//! The writer: one task that takes what waits and appends it in groups, a few at a time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use mongodb::bson::RawDocumentBuf;
use testledger_schemas::commit::{Commit, StreamHead};
use testledger_schemas::ids::StreamId;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::event_store::AppendError;
use crate::event_store::mongodb::batch;
use crate::event_store::mongodb::shared::Shared;
use crate::event_store::queue::{Waiting, next_batch};

/// So many groups are under way at once, never two with commits of one stream: while one waits for the journals, the next
/// ones are on their way to them.
const GROUPS_UNDER_WAY: usize = 6;
/// A further group goes only with so many appends: few wait for the group before, and share the next one. With many
/// processes, each with a commit now and then, a server would else spend itself on single inserts.
const WORTH_A_FURTHER_GROUP: usize = 8;
/// The ends of so many streams are remembered; then all are forgotten and looked up again.
const REMEMBERED_HEADS: usize = 16_384;

/// A commit that passed the checks that need no store, as it will be stored.
pub(super) struct Append {
    pub(super) commit: Commit,
    pub(super) document: Arc<RawDocumentBuf>,
    pub(super) reply: oneshot::Sender<Result<(), AppendError>>,
    /// Its room in the queue, free again when it is answered.
    pub(super) _room: OwnedSemaphorePermit,
}

impl Append {
    /// Answers whoever still waits.
    pub(super) fn answer(self, answer: Result<(), AppendError>) {
        drop(self.reply.send(answer));
    }
}

impl Waiting for Append {
    fn bytes(&self) -> usize {
        self.document.as_bytes().len()
    }

    fn stream(&self) -> Option<StreamId> {
        Some(self.commit.id.stream)
    }
}

/// The ends of streams as this process has seen them become durable. An end may be older than the stream's, never wrong:
/// a majority takes nothing back. So a commit that continues it may be sent, and its key tells whether somebody was
/// quicker.
#[derive(Default)]
pub(super) struct Known(HashMap<StreamId, StreamHead>);

impl Known {
    /// Whether a commit continues what is known to be there; a stream's first one continues nothing.
    pub(super) fn is_continued_by(&self, commit: &Commit) -> bool {
        let before =
            StreamHead { number: commit.id.number - 1, version: commit.first_version - 1, hash: commit.prev_hash };
        before == StreamHead::EMPTY || self.0.get(&commit.id.stream) == Some(&before)
    }

    pub(super) fn learn(&mut self, commit: &Commit) {
        if self.0.len() >= REMEMBERED_HEADS {
            self.0.clear();
        }
        self.0.insert(commit.id.stream, commit.head());
    }

    pub(super) fn forget(&mut self, stream: StreamId) {
        self.0.remove(&stream);
    }

    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }
}

/// Appends until nobody can send any more and all that was sent is answered.
pub(super) async fn run(shared: Arc<Shared>, mut jobs: mpsc::UnboundedReceiver<Append>) {
    let (mut waiting, mut known, mut is_open) = (VecDeque::new(), Known::default(), true);
    let (mut under_way, mut busy) = (FuturesUnordered::new(), HashSet::new());
    while is_open || !under_way.is_empty() {
        tokio::select! {
            job = jobs.recv(), if is_open => match job {
                Some(job) => waiting.push_back(job),
                None => is_open = false,
            },
            Some(group) = under_way.next() => batch::settle(&shared, &mut known, &mut busy, group),
        }
        // What may wait in the channel is bounded by the room of the queue.
        while let Ok(job) = jobs.try_recv() {
            waiting.push_back(job);
        }
        while under_way.is_empty() || (under_way.len() < GROUPS_UNDER_WAY && waiting.len() >= WORTH_A_FURTHER_GROUP) {
            let group = next_batch(&mut waiting, &busy);
            if group.is_empty() {
                break;
            }
            busy.extend(group.iter().map(|append| append.commit.id.stream));
            under_way.push(batch::send(&shared, &known, group));
        }
    }
}
