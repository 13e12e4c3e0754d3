//! The writer: one thread that owns the one writing connection and commits in groups.

use std::collections::{HashSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::Connection;
use testledger_schemas::page::Page;
use tokio::sync::watch;

use crate::event_store::StoreError;
use crate::event_store::queue::next_batch;
use crate::event_store::sqlite::batch;
use crate::event_store::sqlite::file::LogFile;
use crate::event_store::sqlite::job::{Job, Queued};
use crate::event_store::sqlite::known::Known;
use crate::event_store::sqlite::queries::Queries;

/// How often an idle writer looks whether another process has appended.
const POLL: Duration = Duration::from_millis(25);

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
            next_batch(&mut self.waiting, &HashSet::new()).into_iter().map(|q| (q.job, q.room)).unzip();
        let queries = Queries { connection: &self.connection, errors: &self.file.errors };
        let head = &self.head;
        let mut seen = Known::default();
        let meanwhile = || look(head, &queries, &mut seen);
        batch::write(&self.file, &self.connection, &mut self.known, batch, meanwhile);
        show(head, &queries, &mut self.known);
        drop(room);
    }
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
