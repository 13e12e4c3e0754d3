//! The writer: one thread that owns the one writing connection and commits in groups.

use std::collections::{HashSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;
use testledger_schemas::page::Page;
use tokio::sync::watch;

use crate::event_store::StoreError;
use crate::event_store::sqlite::batch;
use crate::event_store::sqlite::file::LogFile;
use crate::event_store::sqlite::job::{Job, Queued};
use crate::event_store::sqlite::known::Known;
use crate::event_store::sqlite::queries::Queries;

/// How often an idle writer looks whether another process has appended.
const POLL: Duration = Duration::from_millis(25);
/// A batch has at most so many jobs: it is also the bound of a page's entries.
const MAX_BATCH_JOBS: usize = 256;
/// A batch has at most so many bytes, unless one job alone has more.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// The state of the writer's thread.
pub(super) struct Writer {
    file: LogFile,
    connection: Connection,
    known: Known,
    head: watch::Sender<u64>,
    waiting: VecDeque<Queued>,
    closing: bool,
}

impl Writer {
    /// The writer of an open file, with the last position it found.
    pub(super) fn new(file: LogFile, connection: Connection) -> Result<Self, StoreError> {
        let mut known = Known::default();
        let queries = Queries { connection: &connection, errors: &file.errors };
        known.refresh(&queries)?;
        let head = watch::Sender::new(known.last_page(&queries)?.last_position());
        Ok(Self { file, connection, known, head, waiting: VecDeque::new(), closing: false })
    }

    pub(super) fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Works until the log is closed or dropped, and everything that was asked for before is done.
    pub(super) fn run(mut self, jobs: &Receiver<Queued>) {
        loop {
            self.closing |= self.take_waiting(jobs);
            if !self.waiting.is_empty() {
                self.write_batch();
            } else if self.closing {
                return;
            }
        }
    }

    /// Takes all that waits; where nothing does, waits a moment for it. True when no more will come.
    fn take_waiting(&mut self, jobs: &Receiver<Queued>) -> bool {
        if self.waiting.is_empty() && !self.closing {
            match jobs.recv_timeout(POLL) {
                Ok(queued) => self.waiting.push_back(queued),
                Err(RecvTimeoutError::Timeout) => self.look_around(),
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
        // What may wait in the channel is bounded by the room of the queue.
        self.waiting.extend(jobs.try_iter());
        let before = self.waiting.len();
        self.waiting.retain(|queued| !matches!(queued.job, Job::Close));
        self.waiting.len() < before
    }

    /// Notices what other processes have appended.
    fn look_around(&mut self) {
        let queries = Queries { connection: &self.connection, errors: &self.file.errors };
        // An error here is not lost: the next append or read meets it and has somebody to tell.
        look(&self.head, &queries, &mut self.known);
    }

    fn write_batch(&mut self) {
        let (batch, room): (Vec<_>, Vec<_>) =
            next_batch(&mut self.waiting).into_iter().map(|q| (q.job, q.room)).unzip();
        let queries = Queries { connection: &self.connection, errors: &self.file.errors };
        let head = &self.head;
        let mut seen = Known::default();
        let meanwhile = || look(head, &queries, &mut seen);
        batch::write(&self.file, &self.connection, &mut self.known, batch, meanwhile);
        show(head, &queries, &mut self.known);
        drop(room);
    }
}

/// The jobs that go together: in order, at most one commit of each stream, the others stay for the next batch.
fn next_batch(waiting: &mut VecDeque<Queued>) -> Vec<Queued> {
    let (mut batch, mut bytes, mut streams) = (Vec::new(), 0, HashSet::new());
    let mut stay = VecDeque::new();
    for queued in std::mem::take(waiting) {
        let fits = batch.is_empty() || (batch.len() < MAX_BATCH_JOBS && bytes + queued.job.bytes() <= MAX_BATCH_BYTES);
        let alone = match &queued.job {
            Job::Append(append) => !streams.contains(&append.commit.id.stream),
            Job::Change(..) | Job::Close => true,
        };
        if let Job::Append(append) = &queued.job {
            streams.insert(append.commit.id.stream);
        }
        if fits && alone {
            bytes += queued.job.bytes();
            batch.push(queued);
        } else {
            stay.push_back(queued);
        }
    }
    *waiting = stay;
    batch
}

/// Notices what other connections have written.
fn look(head: &watch::Sender<u64>, queries: &Queries<'_>, known: &mut Known) {
    if known.refresh(queries).is_ok_and(|stale| stale) {
        show(head, queries, known);
    }
}

/// Moves the head to the last page; never back.
fn show(head: &watch::Sender<u64>, queries: &Queries<'_>, known: &mut Known) {
    let Ok(position) = known.last_page(queries).map(Page::last_position) else {
        // Looked at again the next time, because nothing is known then.
        return known.forget();
    };
    head.send_if_modified(|head| {
        let forward = position > *head;
        *head = position.max(*head);
        forward
    });
}

#[cfg(test)]
mod tests {
    use testledger_schemas::commit::{Commit, Envelope, StreamHead};
    use testledger_schemas::event::ExecutionReady;
    use testledger_schemas::ids::EventId;
    use testledger_schemas::{ExecutionId, RecordedEvent, Timestamp};
    use tokio::sync::oneshot;
    use uuid::Uuid;

    use super::*;
    use crate::event_store::sqlite::job::{Append, Change};

    fn append(stream: u128, number: u64, bytes: usize) -> Queued {
        let head = StreamHead { number: number - 1, ..StreamHead::EMPTY };
        let envelope = Envelope {
            recorded_at: Timestamp::from_unix_ms(0),
            actor: "ada".to_owned(),
            worker: None,
            claim_epoch: None,
            correlation_id: None,
            causation_id: None,
        };
        let event = RecordedEvent::write(EventId(Uuid::nil()), String::new(), &ExecutionReady {}.into()).unwrap();
        let commit = Commit::seal(ExecutionId(Uuid::from_u128(stream)).into(), head, envelope, vec![event]).unwrap();
        let job = Job::Append(Append { commit, json: "x".repeat(bytes), reply: oneshot::channel().0 });
        Queued { job, room: None }
    }

    fn erase() -> Queued {
        Queued { job: Job::Change(Change::EraseArtifacts { hashes: vec![] }, oneshot::channel().0), room: None }
    }

    /// Streams and numbers of each batch, in order; 0 for a change.
    fn batches(jobs: Vec<Queued>) -> Vec<Vec<(u128, u64)>> {
        let (mut waiting, mut batches) = (VecDeque::from(jobs), Vec::new());
        while !waiting.is_empty() {
            let place = |queued: Queued| match queued.job {
                Job::Append(append) => (append.commit.id.stream.id.as_u128(), append.commit.id.number),
                Job::Change(..) | Job::Close => (0, 0),
            };
            batches.push(next_batch(&mut waiting).into_iter().map(place).collect());
        }
        batches
    }

    #[test]
    fn a_batch_has_one_commit_of_a_stream_and_keeps_their_order() {
        let jobs = vec![append(1, 1, 9), append(2, 1, 9), append(1, 2, 9), erase(), append(1, 3, 9), append(2, 2, 9)];
        let expected = [vec![(1, 1), (2, 1), (0, 0)], vec![(1, 2), (2, 2)], vec![(1, 3)]];
        assert_eq!(batches(jobs), expected);
    }

    #[test]
    fn a_batch_is_bounded_and_one_large_job_goes_alone() {
        let many = batches((1..=600).map(|stream| append(stream, 1, 9)).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 88]);
        let large = MAX_BATCH_BYTES + 1;
        let sizes = batches(vec![append(1, 1, large), append(2, 1, large), append(3, 1, 9), append(1, 2, 9)]);
        assert_eq!(sizes, [vec![(1, 1)], vec![(2, 1)], vec![(3, 1), (1, 2)]]);
    }
}
