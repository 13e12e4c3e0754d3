//! What a SQLite file can be besides a good log: refused or reported, each with the mend, and never changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use testledger::event_store::sqlite::{APPLICATION_ID, MAX_ARTIFACT_BYTES, SqliteLog};
use testledger::event_store::{AppendError, EventLog, StoreError};
use testledger_schemas::commit::StreamHead;
use testledger_schemas::hash::Hash;

use crate::adapters::run;
use crate::support::{append_many, check_whole, commit, commit_of, event, stream, until_position};

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    (folder, path)
}

/// The message of a refusal; anything else fails.
async fn refusal(path: &Path) -> String {
    match SqliteLog::open(path).await.err() {
        Some(StoreError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A log with some commits, closed.
async fn filled(path: &Path, commits: usize) {
    let log = SqliteLog::open(path).await.unwrap();
    append_many(&*log, stream(1), commits).await;
    log.close().await;
}

fn change(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn the_file_of_another_program_is_refused_and_left_alone() {
    run(async {
        let (_folder, path) = place();
        change(&path, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1);");
        let before = std::fs::read(&path).unwrap();
        assert!(refusal(&path).await.contains("another program; name another file with --store"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    });
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    run(async {
        let (_folder, path) = place();
        filled(&path, 1).await;
        change(&path, "PRAGMA user_version = 2");
        let before = std::fs::read(&path).unwrap();
        assert!(refusal(&path).await.contains("has format 2 and this program knows 1; use a newer testledger"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    });
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    run(async {
        let (_folder, path) = place();
        let text = "a text of some length, and no database at all\n".repeat(100);
        std::fs::write(&path, &text).unwrap();
        assert!(refusal(&path).await.contains("not a SQLite database"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    });
}

#[test]
fn an_empty_file_becomes_a_log() {
    run(async {
        let (_folder, path) = place();
        std::fs::write(&path, "").unwrap();
        filled(&path, 2).await;
        let marks: i64 = Connection::open(&path).unwrap().query_row("PRAGMA application_id", [], |r| r.get(0)).unwrap();
        assert_eq!(marks, APPLICATION_ID);
    });
}

#[test]
fn a_place_where_nothing_can_be_written_is_refused() {
    run(async {
        let (folder, _) = place();
        // Not even root may write here, unlike in a folder without the right to write.
        assert!(refusal(Path::new("/proc/testledger.db")).await.contains("--store"));
        assert!(refusal(folder.path()).await.contains("--store"), "a folder");
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(refusal(&folder.path().join("file/ledger.db")).await.contains("--store"), "a folder that is a file");
    });
}

#[test]
fn a_damaged_file_is_reported_as_damaged() {
    run(async {
        let (_folder, path) = place();
        filled(&path, 200).await;
        let whole = std::fs::read(&path).unwrap();
        for (what, bytes) in [
            ("cut in half", whole[..whole.len() / 2].to_vec()),
            ("overwritten", [&whole[..100], &vec![0xa5; whole.len() - 100]].concat()),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            let error = read_everything(&path).await.expect_err(what);
            assert!(matches!(&error, StoreError::Damaged(why) if why.contains("ledger.db")), "{what}: {error}");
        }
    });
}

async fn read_everything(path: &Path) -> Result<(), StoreError> {
    let log = SqliteLog::open(path).await?;
    log.read_pages(0, 1000).await?;
    log.read_stream(stream(1), 0, 1000).await.map(|_| ())
}

#[test]
fn rows_that_were_changed_by_hand_are_reported_by_name() {
    run(async {
        for (sql, named) in [
            ("UPDATE commits SET json = '{' WHERE id LIKE '%3'", "/0000000003"),
            ("UPDATE commits SET id = replace(id, '0000000003', '0000000007')", "/0000000007"),
            ("UPDATE pages SET first_position = 9 WHERE number = 2", "page 2"),
            ("UPDATE pages SET json = replace(json, '\"_id\":2', '\"_id\":3') WHERE number = 2", "page 2"),
            ("DELETE FROM pages", "page 0"),
            ("DROP TABLE commits", "commits"),
        ] {
            let (_folder, path) = place();
            filled(&path, 3).await;
            change(&path, sql);
            let error = read_everything(&path).await.expect_err(sql);
            assert!(matches!(&error, StoreError::Damaged(why) if why.contains(named)), "{sql}: {error}");
        }
    });
}

#[test]
fn an_unreadable_commit_does_not_stop_a_scan() {
    run(async {
        let (_folder, path) = place();
        filled(&path, 3).await;
        change(&path, "UPDATE commits SET json = 'x' WHERE id LIKE '%2'");
        change(&path, "INSERT INTO commits (id, json) VALUES ('a/stranger', '{}')");
        let log = SqliteLog::open(&path).await.unwrap();
        let scanned = log.scan_commits(None, 10).await.unwrap();
        let readable: Vec<_> = scanned.iter().map(|raw| (raw.id.len() > 20, raw.commit.is_ok())).collect();
        assert_eq!(readable, [(false, false), (true, true), (true, false), (true, true)]);
    });
}

#[test]
fn a_changed_artifact_is_reported() {
    run(async {
        let (_folder, path) = place();
        let log = SqliteLog::open(&path).await.unwrap();
        let hash = log.put_artifact(b"plan".to_vec()).await.unwrap();
        change(&path, "UPDATE artifacts SET bytes = x'00'");
        assert!(
            matches!(log.get_artifact(hash).await, Err(StoreError::Damaged(why)) if why.contains(&hash.to_string()))
        );
        assert!(matches!(log.put_artifact(vec![0; MAX_ARTIFACT_BYTES + 1]).await, Err(StoreError::Refused(_))));
        assert_eq!(log.get_artifact(Hash::of(&[])).await.unwrap(), None);
    });
}

#[test]
fn patience_with_another_process_ends_and_begins_again() {
    run(async {
        let (_folder, path) = place();
        let log = SqliteLog::open_patiently(&path, Duration::from_millis(100)).await.unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let commit = commit(stream(1), StreamHead::EMPTY, 1);
        let waited = log.append(commit.clone()).await;
        assert!(matches!(&waited, Err(AppendError::Store(StoreError::Unavailable(why))) if why.contains("locked")));
        assert!(log.read_stream(stream(1), 0, 9).await.unwrap().is_empty(), "readers do not wait for writers");
        other.execute_batch("COMMIT").unwrap();
        log.append(commit.clone()).await.unwrap();
        assert_eq!(check_whole(&*log).await, [commit.id]);
    });
}

#[test]
fn erased_text_is_nowhere_on_the_disk() {
    run(async {
        let (folder, path) = place();
        let log = SqliteLog::open(&path).await.unwrap();
        let leak = "the-secret-that-leaked-";
        let commit = commit_of(stream(1), StreamHead::EMPTY, vec![event(&leak.repeat(900))]);
        log.append(commit.clone()).await.unwrap();
        let artifact = log.put_artifact(leak.repeat(9000).into_bytes()).await.unwrap();
        append_many(&*log, stream(2), 5).await;
        assert!(is_in_some_file(folder.path(), leak), "it was there");
        log.erase_content(commit.id, &[commit.events[0].event_id]).await.unwrap();
        log.erase_artifacts(&[artifact]).await.unwrap();
        assert!(!is_in_some_file(folder.path(), leak));
        until_position(&*log, 6).await;
        assert_eq!(check_whole(&*log).await.len(), 6);
    });
}

/// Looked for by a process of its own: closing a file here would let go of the locks that SQLite has on it.
fn is_in_some_file(folder: &Path, text: &str) -> bool {
    let found = Command::new("grep").args(["-rlaF", text]).arg(folder).output().unwrap();
    assert!(found.stderr.is_empty(), "{}", String::from_utf8_lossy(&found.stderr));
    !found.stdout.is_empty()
}

#[test]
fn a_creation_that_was_cut_short_is_taken_up_again() {
    run(async {
        let (_folder, path) = place();
        change(&path, "PRAGMA journal_mode = WAL");
        filled(&path, 2).await;
        assert!(SqliteLog::open(&path).await.is_ok());
    });
}

#[test]
fn many_that_open_a_new_file_at_once_find_one_page_0() {
    run(async {
        for _ in 0..60 {
            let (_folder, path) = place();
            let logs = futures::future::join_all((0..8).map(|_| SqliteLog::open(&path))).await;
            let mut pages = Vec::new();
            for log in logs {
                pages.extend(log.unwrap().read_pages(0, 9).await.unwrap());
            }
            assert!(pages.len() == 8 && pages.iter().all(|page| *page == pages[0]));
        }
    });
}

#[test]
fn after_closing_there_is_one_file_with_everything() {
    run(async {
        let (folder, path) = place();
        filled(&path, 5).await;
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["ledger.db"]);
    });
}
