//! A real log in SQLite, and every way in which its owner may change it behind our back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use testledger::audit::{AuditReport, Finding, VerifyOptions, verify};
use testledger::event_store::EventLog;
use testledger::event_store::sqlite::SqliteLog;
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::StreamId;
use testledger_schemas::page::{Anchor, Page, PageEntry};

use super::history::Histories;

/// The seed of the log that is tampered with.
pub const SEED: u64 = 20_261_123;
/// How many suites it has, of six cases each: some hundred commits.
const SUITES: usize = 9;
/// What is appended before the anchor that somebody keeps, and what after it.
const TAIL_SUITES: usize = 2;

/// A log as it was written.
pub struct Original {
    folder: tempfile::TempDir,
    /// What somebody kept.
    pub anchor: Anchor,
    /// How many commits it has.
    pub commits: usize,
}

/// Writes the log, many streams at a time, so that pages hold more than one commit.
pub async fn build() -> Original {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("ledger.db")).await.unwrap();
    let plan = log.put_artifact(b"the plan".to_vec()).await.unwrap();
    let mut histories = Histories::new(SEED, plan);
    let suites: Vec<Vec<Commit>> = (0..SUITES).map(|n| histories.suite(&format!("suite-{n}"), 6)).collect();
    let commits = suites.iter().map(Vec::len).sum();
    let (first, tail) = suites.split_at(SUITES - TAIL_SUITES);
    append_all(&log, first).await;
    append_all(&log, tail).await;
    let anchor = log.last_page().await.unwrap().anchor();
    log.close().await;
    Original { folder, anchor, commits }
}

async fn append_all(log: &Arc<SqliteLog>, suites: &[Vec<Commit>]) {
    let writers = suites.iter().map(|commits| async move {
        for commit in commits {
            log.append(commit.clone()).await.unwrap();
        }
    });
    futures::future::join_all(writers).await;
}

impl Original {
    /// A copy of the log's file, to be tampered with.
    pub fn copy(&self, name: &str) -> PathBuf {
        let to = self.folder.path().join(format!("{name}.db"));
        std::fs::copy(self.folder.path().join("ledger.db"), &to).unwrap();
        to
    }
}

/// Opens and verifies a log.
pub async fn audit(path: &Path, expect: Option<Anchor>) -> AuditReport {
    let log = SqliteLog::open(path).await.unwrap();
    let options = VerifyOptions { expect, ..VerifyOptions::default() };
    let report = verify(&*log, &options, &|_| {}).await.unwrap();
    log.close().await;
    report
}

/// One way of tampering, and what must be found.
pub struct Case {
    /// What is done.
    pub name: &'static str,
    /// Does it.
    pub tamper: fn(&Connection),
    /// Whether a finding names it.
    pub names_it: fn(&Finding) -> bool,
    /// Whether only a kept `PAGE:HASH` can tell.
    pub needs_anchor: bool,
}

const fn case(name: &'static str, tamper: fn(&Connection), names_it: fn(&Finding) -> bool) -> Case {
    Case { name, tamper, names_it, needs_anchor: false }
}

const fn anchored(name: &'static str, tamper: fn(&Connection), names_it: fn(&Finding) -> bool) -> Case {
    Case { name, tamper, names_it, needs_anchor: true }
}

/// All of them.
pub const CASES: &[Case] = &[
    case(
        "a byte of data changed",
        |db| edit(db, WITH_STEP, |c| set(c, "/events/1/data/run/step", json!("step-9"))),
        is_edited,
    ),
    case(
        "a byte of content changed",
        |db| edit(db, WITH_STEP, |c| set(c, "/events/1/content/value/name", json!("b step"))),
        is_edited,
    ),
    case("a nonce changed", |db| edit(db, WITH_STEP, |c| set(c, "/events/1/content/nonce", json!("00"))), is_edited),
    case(
        "the time changed",
        |db| edit(db, WITH_STEP, |c| set(c, "/recorded_at", json!("2026-01-01T00:00:00.000Z"))),
        is_edited,
    ),
    case("the actor changed", |db| edit(db, WITH_STEP, |c| set(c, "/actor", json!("eve"))), is_edited),
    case(
        "a type changed (number to text)",
        |db| edit(db, WITH_STEP, |c| set(c, "/events/1/data/run/attempt", json!("1"))),
        is_edited,
    ),
    case(
        "a type changed (number to fraction)",
        |db| edit(db, WITH_STEP, |c| set(c, "/events/1/data/run/attempt", json!(1.5))),
        is_edited,
    ),
    case(
        "an event's name changed",
        |db| edit(db, WITH_STEP, |c| set(c, "/events/1/type", json!("ExecutionReady"))),
        is_edited,
    ),
    case(
        "a shape's version changed",
        |db| edit(db, WITH_STEP, |c| set(c, "/events/1/schema_version", json!(2))),
        is_edited,
    ),
    case("a field added to data", |db| edit(db, WITH_STEP, |c| add(c, "/events/1/data", "more", json!(1))), is_edited),
    case(
        "a field added to content",
        |db| edit(db, WITH_STEP, |c| add(c, "/events/1/content/value", "more", json!(1))),
        is_edited,
    ),
    case("a field added to the commit", |db| edit(db, WITH_STEP, |c| add(c, "", "more", json!(1))), is_unreadable),
    case(
        "a null field added to the commit",
        |db| edit(db, WITH_STEP, |c| add(c, "", "worker", Value::Null)),
        is_altered,
    ),
    case("a field there twice", |db| replace(db, "\"action\":", "\"action\":7,\"action\":"), is_altered),
    case("a blank added", |db| replace(db, "\"data\":{", "\"data\": {"), is_altered),
    case(
        "an event deleted",
        |db| {
            edit(db, WITH_TWO, |c| {
                events(c).remove(0);
            })
        },
        is_edited,
    ),
    case(
        "an event inserted",
        |db| {
            edit(db, WITH_TWO, |c| {
                let twin = events(c)[0].clone();
                events(c).push(twin);
            })
        },
        is_edited,
    ),
    case("two events swapped", |db| edit(db, WITH_TWO, |c| events(c).swap(0, 1)), is_edited),
    case("an event renumbered", |db| edit(db, WITH_STEP, |c| set(c, "/first_version", json!(9))), is_edited),
    case("a commit edited and hashed again", edit_and_hash, |f| matches!(f, Finding::CommitReplaced { .. })),
    case("a commit deleted", |db| run(db, "DELETE FROM commits WHERE id = (SELECT max(id) FROM commits)"), is_missing),
    case("the last commits deleted without their pages", delete_last_commits, is_missing),
    case("a commit inserted at a stream's end", insert_commit, is_unpaged),
    case(
        "a commit inserted under a strange key",
        |db| run(db, "INSERT INTO commits (id, json) VALUES ('zzz', '{}')"),
        is_unpaged,
    ),
    case("two commits swapped", swap_commits, is_unreadable),
    case("a commit renumbered", |db| renumber_commit(db, false), is_missing),
    case("a commit renumbered within, too", |db| renumber_commit(db, true), is_missing),
    case(
        "the last pages cut without their commits",
        |db| run(db, "DELETE FROM pages WHERE number > (SELECT max(number) - 5 FROM pages)"),
        is_unpaged,
    ),
    case(
        "a page in the middle cut",
        |db| run(db, "DELETE FROM pages WHERE number = 7"),
        |f| matches!(f, Finding::PagesMissing { page: 7, last: 7 }),
    ),
    case(
        "page 0 cut",
        |db| run(db, "DELETE FROM pages WHERE number = 0"),
        |f| matches!(f, Finding::PagesMissing { page: 0, last: 0 }),
    ),
    case(
        "a page edited",
        |db| edit_page(db, 9, false, |page| page.entries[0].events += 1),
        |f| matches!(f, Finding::PageEdited { page: 9 }),
    ),
    case(
        "a page edited and hashed again",
        |db| edit_page(db, 9, true, |page| page.token = Some("x".into())),
        |f| matches!(f, Finding::PageChainBroken { page: 10 }),
    ),
    case("a page's order changed and hashed again", reorder_page, |f| matches!(f, Finding::PageChainBroken { .. })),
    case(
        "a page's field added",
        |db| run(db, "UPDATE pages SET json = json_set(json, '$.more', 1) WHERE number = 9"),
        |f| matches!(f, Finding::PageUnreadable { page: 9, .. }),
    ),
    case(
        "a page's position column changed",
        |db| run(db, "UPDATE pages SET first_position = 1 WHERE number = 9"),
        |f| matches!(f, Finding::PageUnreadable { page: 9, .. }),
    ),
    case(
        "a page renumbered",
        |db| edit_page(db, 9, true, |page| page.number = 9_000),
        |f| matches!(f, Finding::PagesMissing { page: 9, .. }),
    ),
    case("a commit edited, its page too, one level up", edit_one_level_up, |f| {
        matches!(f, Finding::PageChainBroken { .. })
    }),
    case("a commit edited, and every page after it hashed again", edit_and_hash_pages, |f| {
        matches!(f, Finding::StreamChainBroken { .. })
    }),
    case("the log's id changed", change_log_id, |f| matches!(f, Finding::PageChainBroken { page: 1 })),
    case("a commit placed twice", place_twice, |f| matches!(f, Finding::CommitTwice { .. })),
    case(
        "content taken away unlawfully",
        |db| {
            edit(db, WITH_STEP, |c| {
                c.pointer_mut("/events/1").unwrap().as_object_mut().unwrap().remove("content");
            })
        },
        |f| matches!(f, Finding::ContentGone { .. }),
    ),
    case(
        "content and its hash taken away",
        |db| {
            edit(db, WITH_STEP, |c| {
                let event = c.pointer_mut("/events/1").unwrap().as_object_mut().unwrap();
                event.remove("content");
                event.remove("content_hash");
            })
        },
        is_edited,
    ),
    case("an artifact deleted", |db| run(db, "DELETE FROM artifacts"), |f| matches!(f, Finding::ArtifactGone { .. })),
    case(
        "an artifact changed",
        |db| run(db, "UPDATE artifacts SET bytes = x'00'"),
        |f| matches!(f, Finding::ArtifactEdited { .. }),
    ),
    anchored("the tail cut whole", cut_tail, |f| matches!(f, Finding::TailCut { .. })),
    anchored("the log rewritten as a whole", rewrite_all, |f| matches!(f, Finding::Rewritten { .. })),
];

/// Commits in the middle of the log that begin with a step's start, with two events or more.
const WITH_STEP: &str = "SELECT id FROM commits WHERE json_extract(json, '$.events[1].type') = 'StepStarted'
    ORDER BY id LIMIT 1";
const WITH_TWO: &str =
    "SELECT id FROM commits WHERE json_array_length(json, '$.events') = 2 ORDER BY id LIMIT 1 OFFSET 20";

fn is_edited(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitEdited { .. })
}
fn is_unreadable(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitUnreadable { .. })
}
fn is_altered(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitAltered { .. })
}
fn is_missing(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitMissing { .. })
}
fn is_unpaged(finding: &Finding) -> bool {
    matches!(finding, Finding::CommitWithoutPage { .. })
}

fn run(db: &Connection, sql: &str) {
    assert!(db.execute(sql, []).unwrap() > 0, "{sql} changed nothing");
}

fn one(db: &Connection, sql: &str) -> String {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn json_of(db: &Connection, id: &str) -> String {
    db.query_row("SELECT json FROM commits WHERE id = ?1", [id], |row| row.get(0)).unwrap()
}

fn put_commit(db: &Connection, id: &str, json: &str) {
    assert_eq!(db.execute("UPDATE commits SET json = ?2 WHERE id = ?1", params![id, json]).unwrap(), 1);
}

/// Changes the document of the commit that a query names.
fn edit(db: &Connection, which: &str, change: impl FnOnce(&mut Value)) {
    let id = one(db, which);
    let before: Value = serde_json::from_str(&json_of(db, &id)).unwrap();
    let mut after = before.clone();
    change(&mut after);
    assert_ne!(before, after);
    // In the program's own order of fields, where it still is a commit: only the change itself may be found.
    let text = match serde_json::from_value::<Commit>(after.clone()) {
        Ok(commit) if serde_json::to_value(&commit).unwrap() == after => commit.to_json(),
        Ok(_) | Err(_) => after.to_string(),
    };
    put_commit(db, &id, &text);
}

fn replace(db: &Connection, from: &str, to: &str) {
    let id = one(db, WITH_STEP);
    let json = json_of(db, &id);
    let changed = json.replacen(from, to, 1);
    assert_ne!(json, changed);
    assert_eq!(serde_json::from_str::<Commit>(&changed).unwrap().check(), Ok(()), "no hash tells");
    put_commit(db, &id, &changed);
}

fn set(commit: &mut Value, pointer: &str, value: Value) {
    *commit.pointer_mut(pointer).unwrap() = value;
}

fn add(commit: &mut Value, pointer: &str, key: &str, value: Value) {
    commit.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert(key.into(), value);
}

fn events(commit: &mut Value) -> &mut Vec<Value> {
    commit.pointer_mut("/events").unwrap().as_array_mut().unwrap()
}

fn commits(db: &Connection) -> Vec<Commit> {
    let mut rows = db.prepare("SELECT json FROM commits ORDER BY id").unwrap();
    let all = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
    all.map(|json| serde_json::from_str(&json.unwrap()).unwrap()).collect()
}

fn pages(db: &Connection) -> Vec<Page> {
    let mut rows = db.prepare("SELECT json FROM pages ORDER BY number").unwrap();
    let all = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
    all.map(|json| serde_json::from_str(&json.unwrap()).unwrap()).collect()
}

fn put_page(db: &Connection, row: u64, page: &Page) {
    let json = serde_json::to_string(page).unwrap();
    let sql = "UPDATE pages SET number = ?2, first_position = ?3, json = ?4 WHERE number = ?1";
    let params = params![row as i64, page.number as i64, page.first_position as i64, json];
    assert_eq!(db.execute(sql, params).unwrap(), 1);
}

fn edit_page(db: &Connection, number: u64, hash_again: bool, change: impl FnOnce(&mut Page)) {
    let mut page = pages(db).swap_remove(number as usize);
    change(&mut page);
    if hash_again {
        page.hash = page.computed_hash();
    }
    put_page(db, number, &page);
}

/// A change that a commit's own hash does not tell.
fn reworded(db: &Connection) -> Commit {
    let mut commit: Commit = serde_json::from_str(&json_of(db, &one(db, WITH_STEP))).unwrap();
    commit.actor = "eve".into();
    commit.hash = commit.computed_hash().unwrap();
    assert_eq!(commit.check(), Ok(()));
    commit
}

fn edit_and_hash(db: &Connection) {
    let commit = reworded(db);
    put_commit(db, &commit.id.to_string(), &commit.to_json());
}

fn edit_one_level_up(db: &Connection) {
    let commit = reworded(db);
    put_commit(db, &commit.id.to_string(), &commit.to_json());
    let mut page = pages(db).into_iter().find(|page| page.entries.iter().any(|it| it.commit == commit.id)).unwrap();
    page.entries.iter_mut().filter(|it| it.commit == commit.id).for_each(|it| it.hash = commit.hash);
    page.hash = page.computed_hash();
    put_page(db, page.number, &page);
}

/// The last page's commits, where the page stays.
fn delete_last_commits(db: &Connection) {
    let page = pages(db).pop().unwrap();
    for entry in page.entries {
        db.execute("DELETE FROM commits WHERE id = ?1", [entry.commit.to_string()]).unwrap();
    }
}

/// A commit that is whole in itself and continues its stream.
fn insert_commit(db: &Connection) {
    let last = commits(db).pop().unwrap();
    let mut next = last.clone();
    next.id.number += 1;
    next.first_version = last.last_version() + 1;
    next.prev_hash = last.hash;
    next.hash = next.computed_hash().unwrap();
    assert_eq!(next.check(), Ok(()));
    db.execute("INSERT INTO commits (id, json) VALUES (?1, ?2)", params![next.id.to_string(), next.to_json()]).unwrap();
}

fn swap_commits(db: &Connection) {
    let all = commits(db);
    let (a, b) = (&all[3], &all[4]);
    put_commit(db, &a.id.to_string(), &b.to_json());
    put_commit(db, &b.id.to_string(), &a.to_json());
}

fn renumber_commit(db: &Connection, within: bool) {
    let last = commits(db).pop().unwrap();
    let mut moved = last.clone();
    moved.id.number += 5;
    let json = if within { moved.to_json() } else { last.to_json() };
    let sql = "UPDATE commits SET id = ?2, json = ?3 WHERE id = ?1";
    assert_eq!(db.execute(sql, params![last.id.to_string(), moved.id.to_string(), json]).unwrap(), 1);
}

/// Two commits of one page change places.
fn reorder_page(db: &Connection) {
    let page = pages(db).into_iter().find(|page| page.entries.len() > 1 && page.number > 3).unwrap();
    edit_page(db, page.number, true, |page| page.entries.swap(0, 1));
}

fn change_log_id(db: &Connection) {
    edit_page(db, 0, true, |page| {
        let header = page.header.as_mut().unwrap();
        header.log_id = testledger_schemas::ids::LogId(uuid::Uuid::from_u128(7));
        page.prev_hash = Page::origin(header.log_id);
    });
}

/// A page that continues the last one in good order and places a commit again.
fn place_twice(db: &Connection) {
    let last = pages(db).pop().unwrap();
    let again = Page::following(&last, vec![PageEntry::of(&commits(db)[5])], None, false);
    insert_page(db, &again);
}

fn insert_page(db: &Connection, page: &Page) {
    let sql = "INSERT INTO pages (number, first_position, json) VALUES (?1, ?2, ?3)";
    let json = serde_json::to_string(page).unwrap();
    db.execute(sql, params![page.number as i64, page.first_position as i64, json]).unwrap();
}

/// The last pages and their commits: what is left is a whole log, as it once was.
fn cut_tail(db: &Connection) {
    let all = pages(db);
    for page in all.iter().rev().take(8) {
        db.execute("DELETE FROM pages WHERE number = ?1", [page.number as i64]).unwrap();
        for entry in &page.entries {
            assert_eq!(db.execute("DELETE FROM commits WHERE id = ?1", [entry.commit.to_string()]).unwrap(), 1);
        }
    }
}

/// Writes these commits' hashes into their pages and computes the hashes of all pages anew.
fn chain_pages(db: &Connection, hashes: &HashMap<CommitId, Hash>) {
    let mut last: Option<Page> = None;
    for mut page in pages(db) {
        for entry in &mut page.entries {
            entry.hash = hashes.get(&entry.commit).copied().unwrap_or(entry.hash);
        }
        page.prev_hash = last.as_ref().map_or(page.prev_hash, |last| last.hash);
        page.hash = page.computed_hash();
        put_page(db, page.number, &page);
        last = Some(page);
    }
}

/// All pages agree with the edited commit, but its stream's next commit does not.
fn edit_and_hash_pages(db: &Connection) {
    let commit = reworded(db);
    put_commit(db, &commit.id.to_string(), &commit.to_json());
    chain_pages(db, &HashMap::from([(commit.id, commit.hash)]));
}

/// The owner writes another history: one commit reworded, every hash after it computed anew.
fn rewrite_all(db: &Connection) {
    let reworded = reworded(db).id;
    let mut heads: HashMap<StreamId, StreamHead> = HashMap::new();
    let mut hashes = HashMap::new();
    for mut commit in commits(db) {
        let head = heads.get(&commit.id.stream).copied().unwrap_or(StreamHead::EMPTY);
        if commit.id == reworded {
            commit.actor = "eve".into();
        }
        commit.prev_hash = head.hash;
        commit.hash = commit.computed_hash().unwrap();
        heads.insert(commit.id.stream, commit.head());
        hashes.insert(commit.id, commit.hash);
        put_commit(db, &commit.id.to_string(), &commit.to_json());
    }
    chain_pages(db, &hashes);
}

/// Tampers with a copy and audits it. Returns what is wrong with the audit, if something is.
pub async fn try_case(original: &Original, index: usize, case: &Case) -> Result<(), String> {
    let path = original.copy(&format!("case-{index}"));
    let db = Connection::open(&path).unwrap();
    (case.tamper)(&db);
    db.close().unwrap();
    let expect = case.needs_anchor.then_some(original.anchor);
    if case.needs_anchor && !audit(&path, None).await.is_clean() {
        return Err(format!("{}: found without the anchor, so it does not test the anchor", case.name));
    }
    let report = audit(&path, expect).await;
    if report.findings.iter().any(case.names_it) {
        return Ok(());
    }
    Err(format!("{}: not named, but only: {}", case.name, report.to_text()))
}
