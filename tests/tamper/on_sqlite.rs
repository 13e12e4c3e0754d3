//! The log in SQLite: copies of its file, and what can be done to rows and texts only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use testledger::audit::{AuditReport, Finding, VerifyOptions, verify};
use testledger::event_store::sqlite::SqliteLog;
use testledger::event_store::{EventLog, StoreError};
use testledger_schemas::commit::Commit;
use testledger_schemas::page::{Anchor, Page};

use super::cases::*;
use super::original::{Written, write};
use super::stored::{Shape, Stored, continuing};

/// A log as it was written, in a file.
pub struct Original {
    folder: tempfile::TempDir,
    pub written: Written,
}

/// Writes the log.
pub async fn build() -> Original {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("ledger.db")).await.unwrap();
    let written = write(&*log).await;
    log.close().await;
    Original { folder, written }
}

impl Original {
    /// A copy of the log's file, to be tampered with.
    pub fn copy(&self, name: &str) -> Copy {
        let path = self.folder.path().join(format!("{name}.db"));
        std::fs::copy(self.folder.path().join("ledger.db"), &path).unwrap();
        Copy { path }
    }

    /// Tries every case on a copy of its own. Returns what was missed, and how many there are.
    pub async fn try_all(&self) -> (Vec<String>, usize) {
        let mut missed = vec![];
        for (index, case) in CASES.iter().enumerate() {
            missed.extend(try_case(&self.copy(&format!("case-{index}")), self.written.anchor, case).await.err());
        }
        for (index, case) in SQLITE_CASES.iter().enumerate() {
            let copy = self.copy(&format!("own-{index}"));
            let mut db = Connection::open(&copy.path).unwrap();
            (case.tamper)(&mut db);
            db.close().unwrap();
            missed.extend(judge(&copy, self.written.anchor, case).await.err());
        }
        (missed, CASES.len() + SQLITE_CASES.len())
    }
}

/// A copy of the file.
pub struct Copy {
    pub path: PathBuf,
}

/// Opens and verifies a log.
pub async fn audit(path: &Path, expect: Option<Anchor>) -> Result<AuditReport, StoreError> {
    let log = SqliteLog::open(path).await?;
    let options = VerifyOptions { expect, ..VerifyOptions::default() };
    let report = verify(&*log, &options, &|_| {}).await;
    log.close().await;
    report
}

impl Copied for Copy {
    async fn stored(&self) -> Stored {
        let db = Connection::open(&self.path).unwrap();
        let json = |text: String| serde_json::from_str(&text).unwrap();
        Stored {
            commits: rows(&db, "SELECT id, json FROM commits", |row| (row.0, json(row.1))),
            pages: rows(&db, "SELECT CAST(number AS TEXT), json FROM pages", |(number, text)| {
                (number.parse().unwrap(), json(text))
            }),
            artifacts: rows(&db, "SELECT hash, hex(bytes) FROM artifacts", |(hash, hex)| {
                let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
                (hash, (0..hex.len()).step_by(2).map(byte).collect())
            }),
        }
    }

    async fn change(&self, before: &Stored, after: &Stored) {
        let db = Connection::open(&self.path).unwrap();
        for key in before.commits.keys().filter(|key| !after.commits.contains_key(*key)) {
            db.execute("DELETE FROM commits WHERE id = ?1", [key]).unwrap();
        }
        for (key, value) in after.commits.iter().filter(|(key, value)| before.commits.get(*key) != Some(value)) {
            let text = match Shape::<Commit>::of(value) {
                Shape::Typed(commit) => commit.to_json(),
                Shape::Other(value) => value.to_string(),
            };
            db.execute("INSERT OR REPLACE INTO commits (id, json) VALUES (?1, ?2)", [key, &text]).unwrap();
        }
        for number in before.pages.keys().filter(|number| !after.pages.contains_key(*number)) {
            db.execute("DELETE FROM pages WHERE number = ?1", [*number as i64]).unwrap();
        }
        for (number, value) in after.pages.iter().filter(|(number, value)| before.pages.get(*number) != Some(value)) {
            let text = match Shape::<Page>::of(value) {
                Shape::Typed(page) => serde_json::to_string(&page).unwrap(),
                Shape::Other(value) => value.to_string(),
            };
            let sql = "INSERT OR REPLACE INTO pages (number, first_position, json) VALUES (?1, ?2, ?3)";
            db.execute(sql, params![*number as i64, value["first_position"].as_i64().unwrap(), text]).unwrap();
        }
        if before.artifacts != after.artifacts {
            db.execute("DELETE FROM artifacts", []).unwrap();
        }
        for (hash, bytes) in after.artifacts.iter().filter(|_| before.artifacts != after.artifacts) {
            db.execute("INSERT INTO artifacts (hash, bytes) VALUES (?1, ?2)", params![hash, bytes]).unwrap();
        }
        db.close().unwrap();
    }

    async fn audit(&self, expect: Option<Anchor>) -> Result<AuditReport, StoreError> {
        audit(&self.path, expect).await
    }
}

fn rows<K: Ord, V>(db: &Connection, sql: &str, read: impl Fn((String, String)) -> (K, V)) -> BTreeMap<K, V> {
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(|row| read(row.unwrap())).collect()
}

/// What only rows and texts allow.
pub const SQLITE_CASES: &[Case<Connection>] = &[
    case("a null field added to the commit", |db| replace(db, "\"actor\":", "\"worker\":null,\"actor\":"), is_altered),
    case("a field there twice", |db| replace(db, "\"action\":", "\"action\":7,\"action\":"), is_altered),
    case("a blank added", |db| replace(db, "\"data\":{", "\"data\": {"), is_altered),
    // Here a commit and its page are one transaction.
    case("a commit inserted", insert_commit, is_unpaged),
    case(
        "the last pages cut without their commits",
        |db| run(db, "DELETE FROM pages WHERE number > (SELECT max(number) - 5 FROM pages)"),
        is_unpaged,
    ),
    case(
        "page 0 cut",
        |db| run(db, "DELETE FROM pages WHERE number = 0"),
        |f| matches!(f, Finding::PagesMissing { page: 0, last: 0 }),
    ),
    case(
        "a page's position column changed",
        |db| run(db, "UPDATE pages SET first_position = 1 WHERE number = 9"),
        |f| matches!(f, Finding::PageUnreadable { page: 9, .. }),
    ),
    case(
        "a page inserted before the first one",
        |db| run(db, "INSERT INTO pages SELECT -1, first_position, json FROM pages WHERE number = 9"),
        is_page_unreadable,
    ),
];

fn run(db: &mut Connection, sql: &str) {
    assert!(db.execute(sql, []).unwrap() > 0, "{sql} changed nothing");
}

fn replace(db: &mut Connection, from: &str, to: &str) {
    let sql = "SELECT id, json FROM commits WHERE json_extract(json, '$.events[1].type') = 'StepStarted' ORDER BY id";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (id, json): (String, String) = db.query_row(sql, [], row).unwrap();
    let changed = json.replacen(from, to, 1);
    assert_ne!(json, changed);
    assert_eq!(serde_json::from_str::<Commit>(&changed).unwrap().check(), Ok(()), "no hash tells");
    assert_eq!(db.execute("UPDATE commits SET json = ?2 WHERE id = ?1", [id, changed]).unwrap(), 1);
}

fn insert_commit(db: &mut Connection) {
    let sql = "SELECT json FROM commits ORDER BY id DESC LIMIT 1";
    let json: String = db.query_row(sql, [], |row| row.get(0)).unwrap();
    let next = continuing(&serde_json::from_str(&json).unwrap());
    let row = [next.id.to_string(), next.to_json()];
    db.execute("INSERT INTO commits (id, json) VALUES (?1, ?2)", row).unwrap();
}
