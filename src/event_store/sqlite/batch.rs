//! One batch: what waits for the writer goes into one transaction, with one page for all its commits.

use rusqlite::{Connection, Params, Transaction, params};
use testledger_schemas::commit::{Commit, CommitId};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::EventId;
use testledger_schemas::page::{Page, PageEntry};

use crate::event_store::rules::{self, Admission};
use crate::event_store::sqlite::file::{LogFile, insert_page};
use crate::event_store::sqlite::job::{Append, Change, Job, Reply};
use crate::event_store::sqlite::known::Known;
use crate::event_store::sqlite::queries::Queries;
use crate::event_store::{AppendError, StoreError};

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
                self.execute(sql, params![hash.to_string(), bytes])?;
                let sql =
                    "INSERT INTO artifact_puts (hash, put_at) VALUES (?1, CAST(unixepoch('subsec') * 1000 AS INTEGER))
                           ON CONFLICT (hash) DO UPDATE SET put_at = excluded.put_at";
                self.execute(sql, params![hash.to_string()])
            }
            Change::EraseArtifacts { hashes } => hashes.iter().try_for_each(|hash| self.remove(*hash, i64::MAX)),
            Change::RemoveArtifacts { artifacts } => {
                artifacts.iter().try_for_each(|listed| self.remove(listed.hash, listed.put_at.unix_ms()))
            }
            Change::EraseContent { commit, events } => self.erase(*commit, events),
        }
    }

    /// Takes an artifact away, unless it was put after this time.
    fn remove(&mut self, hash: Hash, put_until: i64) -> Result<(), StoreError> {
        let hash = hash.to_string();
        self.execute("DELETE FROM artifact_puts WHERE hash = ?1 AND put_at <= ?2", params![hash, put_until])?;
        let sql = "DELETE FROM artifacts WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM artifact_puts WHERE hash = ?1)";
        self.execute(sql, params![hash])
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
        self.known.advance(&self.commits, page);
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
mod tests;
