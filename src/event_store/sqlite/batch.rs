//! One batch: what waits for the writer goes into one transaction, with one page for all its commits.

use std::collections::HashMap;

use rusqlite::{Connection, Params, Transaction, params};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::ids::{EventId, StreamId};
use testledger_schemas::page::{Page, PageEntry};

use crate::event_store::rules::{self, Admission};
use crate::event_store::sqlite::file::{LogFile, insert_page};
use crate::event_store::sqlite::job::{Append, Change, Job, Reply};
use crate::event_store::sqlite::queries::Queries;
use crate::event_store::{AppendError, StoreError};

/// The ends of so many streams are remembered; then all are forgotten and looked up again.
const REMEMBERED_HEADS: usize = 4096;

/// What the writer knows of the file, true as long as no other connection has written.
#[derive(Default)]
pub(super) struct Known {
    data_version: Option<i64>,
    last_page: Option<Page>,
    heads: HashMap<StreamId, StreamHead>,
}

impl Known {
    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Forgets everything if another connection has written since; says whether one has.
    pub(super) fn refresh(&mut self, queries: &Queries<'_>) -> Result<bool, StoreError> {
        let version = queries.data_version()?;
        let stale = self.data_version != Some(version);
        if stale {
            self.forget();
            self.data_version = Some(version);
        }
        Ok(stale)
    }

    /// The last page.
    pub(super) fn last_page(&mut self, queries: &Queries<'_>) -> Result<&Page, StoreError> {
        let page = match self.last_page.take() {
            Some(page) => page,
            None => queries.last_page()?,
        };
        Ok(self.last_page.insert(page))
    }

    fn head(&mut self, queries: &Queries<'_>, stream: StreamId) -> Result<StreamHead, StoreError> {
        if let Some(head) = self.heads.get(&stream) {
            return Ok(*head);
        }
        let head = queries.stream_head(stream)?;
        if self.heads.len() >= REMEMBERED_HEADS {
            self.heads.clear();
        }
        self.heads.insert(stream, head);
        Ok(head)
    }
}

/// Answers that go out once it is known whether the transaction stands.
enum Answer {
    Append(Reply<AppendError>, Result<(), AppendError>),
    Change(Reply<StoreError>, Result<(), StoreError>),
}

impl Answer {
    /// Sends the answer; a success that did not become durable turns into `lost`.
    fn send(self, lost: Option<&StoreError>) {
        let lost = lost.cloned();
        match self {
            Self::Append(reply, Ok(())) => drop(reply.send(lost.map_or(Ok(()), |error| Err(error.into())))),
            Self::Append(reply, error) => drop(reply.send(error)),
            Self::Change(reply, Ok(())) => drop(reply.send(lost.map_or(Ok(()), Err))),
            Self::Change(reply, error) => drop(reply.send(error)),
        }
    }
}

/// Writes a batch that has at most one commit of each stream: so a refusal never rests on something that the same
/// transaction may yet take back.
pub(super) fn write(
    file: &LogFile,
    connection: &Connection,
    known: &mut Known,
    batch: Vec<Job>,
    meanwhile: impl FnMut(),
) {
    let transaction = match file.begin(connection, meanwhile) {
        Ok(transaction) => transaction,
        Err(error) => return refuse_all(batch, &error),
    };
    let queries = Queries { connection, errors: &file.errors };
    if let Err(error) = known.refresh(&queries) {
        return refuse_all(batch, &error);
    }
    let erases = batch.iter().any(Job::is_erasure);
    let mut open = OpenBatch { queries, known, commits: Vec::new(), broken: None };
    let answers: Vec<_> = batch.into_iter().filter_map(|job| open.perform(job)).collect();
    let sealed = open.seal(transaction);
    if sealed.is_err() {
        known.forget();
    } else if erases {
        file.empty_write_ahead(connection);
    }
    answers.into_iter().for_each(|answer| answer.send(sealed.as_ref().err()));
}

fn refuse_all(batch: Vec<Job>, error: &StoreError) {
    for job in batch {
        match job {
            Job::Append(append) => Answer::Append(append.reply, Ok(())).send(Some(error)),
            Job::Change(_, reply) => Answer::Change(reply, Ok(())).send(Some(error)),
            Job::Close => {}
        }
    }
}

/// A batch whose transaction is open.
struct OpenBatch<'a> {
    queries: Queries<'a>,
    known: &'a mut Known,
    commits: Vec<Commit>,
    /// A statement that failed: SQLite may have rolled everything back by itself, so nothing more may be written.
    broken: Option<StoreError>,
}

impl OpenBatch<'_> {
    fn perform(&mut self, job: Job) -> Option<Answer> {
        match job {
            Job::Append(Append { commit, json, reply }) => {
                let appended = self.append(commit, &json);
                Some(Answer::Append(reply, appended))
            }
            Job::Change(change, reply) => Some(Answer::Change(reply, self.apply(&change))),
            Job::Close => None,
        }
    }

    fn append(&mut self, commit: Commit, json: &str) -> Result<(), AppendError> {
        let head = self.known.head(&self.queries, commit.id.stream)?;
        let stored = if commit.id.number <= head.number { self.queries.commit_by_id(commit.id)? } else { None };
        match rules::admit(&commit, head, stored.as_ref())? {
            Admission::AlreadyThere => Ok(()),
            Admission::New => {
                let insert = "INSERT INTO commits (id, json) VALUES (?1, ?2)";
                self.execute(insert, params![commit.id.to_string(), json])?;
                self.commits.push(commit);
                Ok(())
            }
        }
    }

    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::PutArtifact { hash, bytes } => {
                let sql = "INSERT INTO artifacts (hash, bytes) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING";
                self.execute(sql, params![hash.to_string(), bytes])
            }
            Change::EraseArtifacts { hashes } => hashes
                .iter()
                .try_for_each(|hash| self.execute("DELETE FROM artifacts WHERE hash = ?1", params![hash.to_string()])),
            Change::EraseContent { commit, events } => self.erase(*commit, events),
        }
    }

    /// Takes content and nonce away and keeps the hash, which stands in for the content in the commit's hash.
    fn erase(&mut self, id: CommitId, events: &[EventId]) -> Result<(), StoreError> {
        let missing = || self.queries.errors.refused(&format!("there is no commit {id}"));
        let mut commit = self.queries.commit_by_id(id)?.ok_or_else(missing)?;
        let named = commit.events.iter_mut().filter(|event| events.contains(&event.event_id));
        named.for_each(|event| event.content = None);
        self.execute("UPDATE commits SET json = ?2 WHERE id = ?1", params![id.to_string(), commit.to_json()])
    }

    fn execute(&mut self, sql: &str, params: impl Params) -> Result<(), StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let run = || self.queries.connection.prepare_cached(sql)?.execute(params);
        let done = run().map(|_| ()).map_err(|error| self.queries.errors.store(error));
        self.broken = done.as_ref().err().cloned();
        done
    }

    /// Writes the page of the batch's new commits and ends the transaction: only then is anything acknowledged.
    fn seal(mut self, transaction: Transaction<'_>) -> Result<(), StoreError> {
        let page = self.next_page()?;
        page.iter().try_for_each(|page| insert_page(&transaction, page)).map_err(|e| self.queries.errors.store(e))?;
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        transaction.commit().map_err(|error| self.queries.errors.store(error))?;
        self.known.heads.extend(self.commits.iter().map(|commit| (commit.id.stream, commit.head())));
        self.known.last_page = page.or(self.known.last_page.take());
        Ok(())
    }

    fn next_page(&mut self) -> Result<Option<Page>, StoreError> {
        if self.commits.is_empty() || self.broken.is_some() {
            return Ok(None);
        }
        let entries = self.commits.iter().map(PageEntry::of).collect();
        Ok(Some(Page::following(self.known.last_page(&self.queries)?, entries, None, false)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testledger_schemas::event::{ExecutionReady, WorkerContent, WorkerStarted};
    use testledger_schemas::{Erasable, Event, ExecutionId, RecordedEvent, Timestamp, commit::Envelope};
    use tokio::sync::oneshot::{self, Receiver};
    use uuid::Uuid;

    use super::*;

    fn commit(stream: u128, head: StreamHead, event: Event) -> Commit {
        let envelope = Envelope {
            recorded_at: Timestamp::from_unix_ms(0),
            actor: "ada".to_owned(),
            worker: None,
            claim_epoch: None,
            correlation_id: None,
            causation_id: None,
        };
        let event = RecordedEvent::write(EventId(Uuid::now_v7()), "00".to_owned(), &event).unwrap();
        Commit::seal(ExecutionId(Uuid::from_u128(stream)).into(), head, envelope, vec![event]).unwrap()
    }

    fn large(stream: u128) -> Commit {
        let content = Erasable::Kept(WorkerContent { host: "x".repeat(900_000) });
        let event = WorkerStarted { pid: 1, boot_id: String::new(), started_ticks: 1, version: String::new(), content };
        commit(stream, StreamHead::EMPTY, event.into())
    }

    fn job(commit: &Commit) -> (Job, Receiver<Result<(), AppendError>>) {
        let (reply, answer) = oneshot::channel();
        (Job::Append(Append { commit: commit.clone(), json: commit.to_json(), reply }), answer)
    }

    fn write_all(
        file: &LogFile,
        connection: &Connection,
        known: &mut Known,
        commits: &[Commit],
    ) -> Vec<Result<(), AppendError>> {
        let (jobs, answers): (Vec<_>, Vec<_>) = commits.iter().map(job).unzip();
        write(file, connection, known, jobs, || {});
        answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect()
    }

    #[test]
    fn a_full_disk_takes_the_whole_batch_back_and_what_was_sent_again_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = LogFile::new(&folder.path().join("ledger.db"), Duration::from_secs(1));
        let connection = file.open_writer().unwrap();
        let mut known = Known::default();
        let small = commit(1, StreamHead::EMPTY, ExecutionReady {}.into());
        let stale = commit(3, StreamHead { version: 7, number: 7, ..StreamHead::EMPTY }, ExecutionReady {}.into());
        let batch = [small.clone(), large(2), stale.clone()];
        // SQLite answers SQLITE_FULL at this many pages, as on a full disk.
        connection.query_row("PRAGMA max_page_count = 30", [], |_| Ok(())).unwrap();
        let full = write_all(&file, &connection, &mut known, &batch);
        assert!(matches!(&full[0], Err(AppendError::Store(StoreError::Unavailable(_)))), "{full:?}");
        assert!(matches!(&full[1], Err(AppendError::Store(StoreError::Unavailable(why))) if why.contains("full")));
        assert!(matches!(&full[2], Err(AppendError::Conflict { expected: 7, actual: 0, .. })), "{full:?}");
        let queries = Queries { connection: &connection, errors: &file.errors };
        assert_eq!((queries.scan(None, 9).unwrap().len(), queries.last_page().unwrap().number), (0, 0));

        connection.query_row("PRAGMA max_page_count = 1000000", [], |_| Ok(())).unwrap();
        let roomy = write_all(&file, &connection, &mut known, &batch);
        assert!(roomy[0].is_ok() && roomy[1].is_ok() && roomy[2].is_err(), "{roomy:?}");
        let page = queries.last_page().unwrap();
        assert_eq!((page.number, page.entries.len(), page.last_position()), (1, 2, 2));
    }

    #[test]
    fn a_stream_that_cannot_be_read_fails_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = LogFile::new(&folder.path().join("ledger.db"), Duration::from_secs(1));
        let connection = file.open_writer().unwrap();
        let first = commit(1, StreamHead::EMPTY, ExecutionReady {}.into());
        assert!(write_all(&file, &connection, &mut Known::default(), std::slice::from_ref(&first))[0].is_ok());
        connection.execute("UPDATE commits SET json = '{}'", []).unwrap();
        let next =
            [commit(1, first.head(), ExecutionReady {}.into()), commit(2, StreamHead::EMPTY, ExecutionReady {}.into())];
        let answers = write_all(&file, &connection, &mut Known::default(), &next);
        assert!(matches!(answers[0], Err(AppendError::Store(StoreError::Damaged(_)))), "{answers:?}");
        assert!(answers[1].is_ok(), "{answers:?}");
    }
}
