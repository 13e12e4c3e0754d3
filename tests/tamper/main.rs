//! Whatever is changed in the database behind our back, the audit finds it; what is lawful, it does not.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod cases;
mod documents;
#[path = "../support/history.rs"]
mod history;
#[path = "../support/mongo.rs"]
mod mongo;
mod on_mongodb;
mod on_sqlite;
mod original;
mod stored;

use cases::Copied;
use on_sqlite::build;
use std::time::Duration;
use testledger::audit::{AuditReport, ErasureRequest, Sequencing, VerifyOptions, erase, export, verify, verify_export};
use testledger::event_store::memory::MemoryLog;
use testledger::event_store::sqlite::SqliteLog;
use testledger::event_store::{EventLog, SharedLog};
use testledger::ports::clock::SystemClock;
use testledger::ports::ids::SeededIds;
use testledger::views::Views;
use testledger_schemas::commit::CommitId;
use testledger_schemas::ids::EventId;

#[tokio::test]
async fn an_untouched_log_verifies_with_and_without_its_anchor() {
    let original = build().await;
    let report = original.copy("untouched").audit(Some(original.written.anchor)).await.unwrap();
    assert_eq!(report.anchor, Some(original.written.anchor));
    check_untouched(&report, original.written.commits);
}

#[tokio::test]
async fn an_untouched_log_on_mongodb_verifies_too() {
    let original = on_mongodb::build().await;
    let report = original.copy().await.audit(Some(original.written.anchor)).await.unwrap();
    check_untouched(&report, original.written.commits);
}

fn check_untouched(report: &AuditReport, commits: usize) {
    assert!(report.is_clean() && report.unsequenced == 0, "{}", report.to_text());
    assert_eq!(report.commits, commits as u64);
    assert!(commits >= 300 && report.streams > 40 && report.artifacts == 1, "{}", report.to_text());
}

#[tokio::test]
async fn every_tampering_is_found_and_named() {
    let (missed, of) = build().await.try_all().await;
    assert!(missed.is_empty(), "{} of {of} missed:\n{}", missed.len(), missed.join("\n"));
}

#[tokio::test]
async fn every_tampering_is_found_and_named_on_mongodb() {
    let (missed, of) = on_mongodb::build().await.try_all().await;
    assert!(missed.is_empty(), "{} of {of} missed:\n{}", missed.len(), missed.join("\n"));
}

/// On MongoDB an append is an insert. So whoever may insert may append, and no hash can tell who that was; but nobody
/// gets a place before anything that has one.
#[tokio::test]
async fn what_continues_a_stream_on_mongodb_is_an_append_and_comes_last() {
    let original = on_mongodb::build().await;
    let copy = original.copy().await;
    let before = copy.stored().await;
    let next = stored::continuing(&before.last_commit());
    let mut after = before.clone();
    after.put_commit(&next);
    copy.change(&before, &after).await;
    let report = copy.audit(Some(original.written.anchor)).await.unwrap();
    assert!(report.is_clean() && report.unsequenced == 0, "{}", report.to_text());
    assert_eq!(report.commits, original.written.commits as u64 + 1);
    let pages = copy.stored().await.all_pages();
    let place = pages.iter().find(|page| page.entries.iter().any(|entry| entry.commit == next.id)).unwrap();
    assert!(place.number > original.written.anchor.page);
}

/// An event with content that a log has.
async fn some_event(log: &dyn EventLog) -> (CommitId, EventId) {
    let rows = log.scan_commits(None, 500).await.unwrap();
    let commits = rows.into_iter().map(|row| row.commit.unwrap());
    let mut steps = commits.filter(|commit| commit.events.len() > 1 && commit.events[1].type_name == "StepStarted");
    let commit = steps.next_back().unwrap();
    (commit.id, commit.events[1].event_id)
}

#[tokio::test]
async fn what_is_erased_lawfully_verifies_and_is_named_and_a_cut_short_erasure_is_finished() {
    let original = build().await;
    let copy = original.copy("erased");
    let log = SqliteLog::open(&copy.path).await.unwrap();
    let target = some_event(&*log).await;
    let request = ErasureRequest { events: vec![target], grounds: "a leak".into(), actor: "dpo-7".into() };
    let done = erase(&*log, &request, &SeededIds::new(1), &SystemClock).await.unwrap();
    assert_eq!((done.events, done.already_named), (1, 0));
    log.close().await;

    let report = copy.audit(Some(original.written.anchor)).await.unwrap();
    assert!(report.is_clean(), "{}", report.to_text());
    assert_eq!((report.erased_total, report.erased[0].commit, report.erased[0].event), (1, target.0, target.1));
    assert!(report.to_text().contains(&format!("erased: the content of {}", target.1)), "{}", report.to_text());

    // As if the process had died between the record and the deed: the content is back.
    let before = copy.stored().await;
    let mut after = before.clone();
    let whole = original.copy("whole").stored().await;
    after.put_commit(&whole.commit(&target.0.to_string()));
    copy.change(&before, &after).await;
    let report = copy.audit(None).await.unwrap();
    assert!(report.is_clean() && report.unfinished_erasures.len() == 1, "{}", report.to_text());

    let log = SqliteLog::open(&copy.path).await.unwrap();
    let done = erase(&*log, &request, &SeededIds::new(2), &SystemClock).await.unwrap();
    assert_eq!((done.events, done.already_named), (1, 1));
    log.close().await;
    let again = copy.audit(None).await.unwrap();
    assert!(again.is_clean() && again.unfinished_erasures.is_empty() && again.erased_total == 1, "{}", again.to_text());
    assert_eq!(again.events, report.events, "what is named already is not named again");
}

#[tokio::test]
async fn what_is_erased_lawfully_on_mongodb_verifies_and_is_named() {
    let original = on_mongodb::build().await;
    let copy = original.copy().await;
    let log = copy.open().await.unwrap();
    let target = some_event(&*log).await;
    let request = ErasureRequest { events: vec![target], grounds: "a leak".into(), actor: "dpo-7".into() };
    let done = erase(&*log, &request, &SeededIds::new(1), &SystemClock).await.unwrap();
    assert_eq!((done.events, done.already_named), (1, 0));
    log.close().await;
    let report = copy.audit(Some(original.written.anchor)).await.unwrap();
    assert!(report.is_clean(), "{}", report.to_text());
    assert_eq!((report.erased_total, report.erased[0].commit, report.erased[0].event), (1, target.0, target.1));
    // Back again, as from a dump of before: the erasure was cut short, and can be run again.
    let before = copy.stored().await;
    let mut after = before.clone();
    after.put_commit(&original.copy().await.stored().await.commit(&target.0.to_string()));
    copy.change(&before, &after).await;
    let report = copy.audit(None).await.unwrap();
    assert!(report.is_clean() && report.unfinished_erasures.len() == 1, "{}", report.to_text());
}

#[tokio::test]
async fn an_artifact_goes_with_the_last_event_that_names_it() {
    let original = build().await;
    let copy = original.copy("artifacts");
    let log = SqliteLog::open(&copy.path).await.unwrap();
    let mut requests = Vec::new();
    for row in log.scan_commits(None, 10_000).await.unwrap() {
        let commit = row.commit.unwrap();
        requests.extend(
            commit.events.iter().filter(|it| it.type_name == "ExecutionRequested").map(|it| (commit.id, it.event_id)),
        );
    }
    let ids = SeededIds::new(3);
    let last = requests.pop().unwrap();
    let request = ErasureRequest { events: requests, grounds: "all but one".into(), actor: "dpo-7".into() };
    let done = erase(&*log, &request, &ids, &SystemClock).await.unwrap();
    assert_eq!((done.artifacts.len(), done.kept_artifacts.len()), (0, 1));
    let plan = done.kept_artifacts[0];
    assert!(log.get_artifact(plan).await.unwrap().is_some());
    let request = ErasureRequest { events: vec![last], grounds: "the last one".into(), actor: "dpo-7".into() };
    let done = erase(&*log, &request, &ids, &SystemClock).await.unwrap();
    assert_eq!(done.artifacts, [plan]);
    assert!(log.get_artifact(plan).await.unwrap().is_none());
    log.close().await;
    let report = copy.audit(None).await.unwrap();
    assert!(report.is_clean(), "{}", report.to_text());
}

#[tokio::test]
async fn an_export_is_verified_without_the_store_and_every_cut_of_it_shows() {
    let original = build().await;
    let log = SqliteLog::open(&original.copy("exported").path).await.unwrap();
    let mut bytes = Vec::new();
    let totals = export(&*log, &mut bytes, Default::default()).await.unwrap();
    assert_eq!(totals.commits, original.written.commits as u64);
    let report = verify_export(&mut &bytes[..], Some(original.written.anchor)).unwrap();
    assert!(report.is_clean() && report.commits == totals.commits, "{}", report.to_text());

    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(verify_export(&mut lines[..lines.len() - 1].join("\n").as_bytes(), None).is_err(), "the end is missing");
    for drop in [5, 50, lines.len() - 2] {
        let kept: Vec<&str> = lines.iter().enumerate().filter(|(n, _)| *n != drop).map(|(_, line)| *line).collect();
        let verdict = verify_export(&mut kept.join("\n").as_bytes(), None);
        assert!(!verdict.is_ok_and(|report| report.is_clean()), "line {drop} is missing");
    }
    let changed = text.replacen("lovelace", "hopper", 1);
    let verdict = verify_export(&mut changed.as_bytes(), None);
    assert!(!verdict.is_ok_and(|report| report.is_clean()));

    let middle = testledger::audit::PageRange { from: totals.pages / 2, to: Some(totals.pages / 2 + 9) };
    let mut bytes = Vec::new();
    assert_eq!(export(&*log, &mut bytes, middle).await.unwrap().pages, 10);
    let report = verify_export(&mut &bytes[..], None).unwrap();
    assert!(report.is_clean() && report.pages == 10, "{}", report.to_text());
    log.close().await;
}

#[tokio::test]
async fn a_sequencer_that_comes_behind_is_waited_for() {
    let log: std::sync::Arc<MemoryLog> = MemoryLog::new();
    let plan = log.put_artifact(b"the plan".to_vec()).await.unwrap();
    let commits = history::Histories::new(7, plan).suite("in memory", 6);
    let total = commits.len() as u64;
    for commit in commits {
        log.append(commit).await.unwrap();
    }
    let sequencing = Sequencing::Behind { grace: Duration::from_secs(60) };
    let report = verify(&*log, &VerifyOptions { expect: None, sequencing }, &|_| {}).await.unwrap();
    assert!(report.is_clean() && report.unsequenced == 0 && report.commits == total, "{}", report.to_text());
    log.close().await;
}

#[tokio::test]
async fn a_commit_row_that_cannot_be_read_pauses_the_views_before_it() {
    let original = build().await;
    let path = original.copy("unreadable").path;
    let log: SharedLog = SqliteLog::open(&path).await.unwrap();
    let page = log.read_pages(5, 1).await.unwrap().swap_remove(0);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("UPDATE commits SET json = '{}' WHERE id = ?1", [page.entries[0].commit.to_string()]).unwrap();
    let progress = Views::memory(log.clone()).catch_up(None).await.unwrap();
    assert_eq!(progress.paused.map(|it| it.position), Some(page.first_position));
    assert_eq!(progress.position, page.first_position - 1);
    log.close().await;
}
