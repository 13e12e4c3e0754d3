//! What is read from the tables, by readers and by the writer alike. Each is one look-up in an index.

use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use serde::de::DeserializeOwned;
use testledger_schemas::Timestamp;
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::StreamId;
use testledger_schemas::page::Page;

use crate::event_store::sqlite::errors::Translator;
use crate::event_store::{RawCommit, StoreError, StoredArtifact};

/// What is wrong with a text that says the same in other bytes.
const INEXACT: &str = "its text is not the one this program wrote";

/// A connection with the translator of its errors.
#[derive(Clone, Copy)]
pub(super) struct Queries<'a> {
    pub(super) connection: &'a Connection,
    pub(super) errors: &'a Translator,
}

impl Queries<'_> {
    /// The commits of a stream with a number above `after`.
    pub(super) fn stream(&self, stream: StreamId, after: u64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let (from, end) = (CommitId { stream, number: after }.to_string(), end_of(stream));
        let sql = "SELECT id, json FROM commits WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3";
        let rows = self.rows(sql, params![from, end, limit_of(limit)], two_texts)?;
        rows.into_iter().map(|(id, json)| self.commit(&id, &json)).collect()
    }

    /// The end of a stream: the commit with its greatest id.
    pub(super) fn stream_head(&self, stream: StreamId) -> Result<StreamHead, StoreError> {
        let (from, end) = (CommitId { stream, number: 0 }.to_string(), end_of(stream));
        let sql = "SELECT id, json FROM commits WHERE id > ?1 AND id < ?2 ORDER BY id DESC LIMIT 1";
        let last = self.rows(sql, params![from, end], two_texts)?;
        let Some((id, json)) = last.first() else { return Ok(StreamHead::EMPTY) };
        self.commit(id, json).map(|commit| commit.head())
    }

    /// The commit with this id.
    pub(super) fn commit_by_id(&self, id: CommitId) -> Result<Option<Commit>, StoreError> {
        let id = id.to_string();
        self.row("SELECT json FROM commits WHERE id = ?1", params![id], |row| row.get::<_, String>(0))?
            .map(|json| self.commit(&id, &json))
            .transpose()
    }

    /// Every commit by id, readable or not.
    pub(super) fn scan(&self, after: Option<CommitId>, limit: usize) -> Result<Vec<RawCommit>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        // The types are asked for loosely: a column that was tampered with must show, not stop the scan.
        let sql = "SELECT CAST(id AS TEXT), CAST(json AS BLOB) FROM commits WHERE id > ?1 ORDER BY id LIMIT ?2";
        let raw = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
        let rows = self.rows(sql, params![after, limit_of(limit)], raw)?;
        Ok(rows.into_iter().map(|(id, json)| RawCommit { commit: exact(&id, &json), id }).collect())
    }

    /// The pages from a number on.
    pub(super) fn pages(&self, from: u64, limit: usize) -> Result<Vec<Page>, StoreError> {
        let sql = "SELECT number, first_position, json FROM pages WHERE number >= ?1 ORDER BY number LIMIT ?2";
        // From the first one on also what has a number below: it is not from this program, and an audit has to see it.
        let from = if from == 0 { i64::MIN } else { i64::try_from(from).unwrap_or(i64::MAX) };
        self.rows(sql, params![from, limit_of(limit)], page_row)?.into_iter().map(|row| self.page(row)).collect()
    }

    /// The page with the greatest number.
    pub(super) fn last_page(&self) -> Result<Page, StoreError> {
        let sql = "SELECT number, first_position, json FROM pages ORDER BY number DESC LIMIT 1";
        let row = self.row(sql, [], page_row)?;
        self.page(row.ok_or_else(|| self.errors.damaged("it has no page 0"))?)
    }

    /// The page that gives a position.
    pub(super) fn page_of(&self, position: u64) -> Result<Option<Page>, StoreError> {
        // An empty page begins where the next one does: of those the one with the greatest number has the position.
        let sql = "SELECT number, first_position, json FROM pages WHERE first_position <= ?1
                   ORDER BY first_position DESC, number DESC LIMIT 1";
        let at = i64::try_from(position).unwrap_or(i64::MAX);
        let page = self.row(sql, params![at], page_row)?.map(|row| self.page(row)).transpose()?;
        Ok(page.filter(|page| (page.first_position..page.next_position()).contains(&position)))
    }

    /// The bytes of an artifact, as they are stored.
    pub(super) fn artifact(&self, hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.row("SELECT bytes FROM artifacts WHERE hash = ?1", params![hash], |row| row.get(0))
    }

    /// The artifacts by hash, from after one on.
    pub(super) fn artifacts(&self, after: Option<Hash>, limit: usize) -> Result<Vec<StoredArtifact>, StoreError> {
        let sql = "SELECT hash, length(bytes), coalesce(put_at, 0), CAST(unixepoch('subsec') * 1000 AS INTEGER)
                   FROM artifacts LEFT JOIN artifact_puts USING (hash) WHERE hash > ?1 ORDER BY hash LIMIT ?2";
        let after = after.map(|hash| hash.to_string()).unwrap_or_default();
        let row = |row: &Row<'_>| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
        };
        let rows = self.rows(sql, params![after, limit_of(limit)], row)?;
        let listed = |(hash, bytes, put_at, now): (String, i64, i64, i64)| {
            let foreign = |_| self.errors.damaged(&format!("an artifact is called `{hash}`, which is no hash"));
            let put_at = Timestamp::from_unix_ms(put_at);
            Ok(StoredArtifact {
                hash: hash.parse().map_err(foreign)?,
                bytes: bytes.unsigned_abs(),
                put_at,
                age_ms: Timestamp::from_unix_ms(now).since_ms(put_at),
            })
        };
        rows.into_iter().map(listed).collect()
    }

    /// Changes whenever another connection has written to the file.
    pub(super) fn data_version(&self) -> Result<i64, StoreError> {
        let version = self.row("PRAGMA data_version", [], |row| row.get(0))?;
        version.ok_or_else(|| self.errors.damaged("it has no data version"))
    }

    fn commit(&self, id: &str, json: &str) -> Result<Commit, StoreError> {
        readable(id, json.as_bytes()).map_err(|why| self.errors.damaged(&format!("the commit {id}: {why}")))
    }

    fn page(&self, (number, first_position, json): (i64, i64, String)) -> Result<Page, StoreError> {
        let damaged = |why: String| self.errors.damaged(&format!("page {number}: {why}"));
        let page: Page = from_json(json.as_bytes()).map_err(damaged)?;
        if i64::try_from(page.number) != Ok(number) || i64::try_from(page.first_position) != Ok(first_position) {
            return Err(damaged("its number or position is not that of its row".to_owned()));
        }
        if serde_json::to_string(&page).ok().as_ref() != Some(&json) {
            return Err(damaged(INEXACT.to_owned()));
        }
        Ok(page)
    }

    fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let query =
            || self.connection.prepare_cached(sql)?.query_map(params, read)?.collect::<rusqlite::Result<Vec<T>>>();
        query().map_err(|error| self.errors.store(error))
    }

    fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let query = || self.connection.prepare_cached(sql)?.query_row(params, read).optional();
        query().map_err(|error| self.errors.store(error))
    }
}

/// The text after every id of a stream: `0` follows `/`, which ends the stream's name in each id.
fn end_of(stream: StreamId) -> String {
    format!("{stream}0")
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn two_texts(row: &Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn page_row(row: &Row<'_>) -> rusqlite::Result<(i64, i64, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

/// As [`readable`], and the text is byte by byte the one this program wrote: a field that is there twice, or a null,
/// would be read over and change no hash.
fn exact(id: &str, json: &[u8]) -> Result<Commit, String> {
    let commit = readable(id, json)?;
    if commit.to_json().as_bytes() == json { Ok(commit) } else { Err(INEXACT.to_owned()) }
}

fn readable(id: &str, json: &[u8]) -> Result<Commit, String> {
    let commit: Commit = from_json(json)?;
    if commit.id.to_string() == id { Ok(commit) } else { Err(format!("its row holds the commit {}", commit.id)) }
}
