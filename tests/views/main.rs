//! The views over real logs: exactly once, equal in every store, and what may be asked of them.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "../support/history.rs"]
mod history;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use history::{Histories, end_of};
use testledger::audit::{ErasureRequest, erase};
use testledger::event_store::SharedLog;
use testledger::event_store::memory::MemoryLog;
use testledger::event_store::sqlite::SqliteLog;
use testledger::ports::clock::SystemClock;
use testledger::ports::ids::SeededIds;
use testledger::views::events::{Events, EventsQuery};
use testledger::views::query::{ExecutionFilter, ExecutionStore};
use testledger::views::sqlite::SqliteViews;
use testledger::views::{ViewError, Views, list, show, show_text};
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::memory::MemoryViews;
use testledger_schemas::commit::{Commit, Envelope, RecordedEvent};
use testledger_schemas::event::ExecutionKind;
use testledger_schemas::{EventId, ExecutionId, ExecutionStatus, Hash, Timestamp};

async fn append_all(log: &SharedLog, commits: Vec<Commit>) {
    for commit in commits {
        log.append(commit).await.unwrap();
    }
}

/// Waits until the log has given every event its position (in memory a sequencer comes behind).
async fn settled(log: &SharedLog, events: u64) {
    let mut head = log.head();
    tokio::time::timeout(Duration::from_secs(60), head.wait_for(|head| *head >= events)).await.unwrap().unwrap();
}

fn count(commits: &[Commit]) -> u64 {
    commits.iter().map(|commit| commit.events.len() as u64).sum()
}

/// The views that a fold from the first event gives.
async fn replay(log: &SharedLog) -> BTreeMap<ExecutionId, ExecutionView> {
    let store = Arc::new(MemoryViews::<Executions>::default());
    Views::over(log.clone(), store.clone()).catch_up(None).await.unwrap();
    store.all()
}

async fn all_of(views: &Views) -> BTreeMap<ExecutionId, ExecutionView> {
    let (mut all, mut filter) = (BTreeMap::new(), ExecutionFilter { limit: 7, ..ExecutionFilter::default() });
    loop {
        let page = views.list(&filter).await.unwrap();
        all.extend(page.executions.into_iter().map(|view| (view.id, view)));
        filter.before = page.next;
        if filter.before.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn views_folded_on_the_way_equal_a_replay_and_what_the_log_says() {
    for seed in 1..=5 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let log: SharedLog = SqliteLog::open(&path).await.unwrap();
        let mut histories = Histories::new(seed, Hash::of(b"plan"));
        let views = Views::sqlite(log.clone(), &path).await.unwrap();
        let commits: Vec<Commit> = (0..4).flat_map(|n| histories.suite(&format!("suite-{n}"), 8)).collect();
        for commit in &commits {
            log.append(commit.clone()).await.unwrap();
            if histories.below(10) == 0 {
                views.catch_up(None).await.unwrap();
            }
        }
        let progress = views.catch_up(None).await.unwrap();
        assert_eq!((progress.position, progress.paused), (count(&commits), None), "seed {seed}");
        let stored = all_of(&views).await;
        assert_eq!(stored, replay(&log).await, "seed {seed}");
        check_against_the_log(&stored, &commits, seed);
        log.close().await;
    }
}

/// The last commit of each stream says how it ended, and a suite's cases add up.
fn check_against_the_log(views: &BTreeMap<ExecutionId, ExecutionView>, commits: &[Commit], seed: u64) {
    let last: BTreeMap<_, _> = commits.iter().map(|commit| (commit.id.stream.execution().unwrap(), commit)).collect();
    assert_eq!(views.len(), last.len(), "seed {seed}");
    for (id, commit) in last {
        let view = &views[&id];
        assert_eq!((view.status, view.is_final), (end_of(commit), true), "seed {seed} {id}");
        assert_eq!(
            (view.last_version, view.anomalies.as_slice()),
            (commit.last_version(), &[][..]),
            "seed {seed} {id}"
        );
        let mut statuses = BTreeMap::new();
        for child in views.values().filter(|child| child.parent_id == Some(id)) {
            *statuses.entry(child.status).or_default() += 1;
        }
        assert_eq!(view.children.statuses, statuses, "seed {seed} {id}");
        assert_eq!(view.children.finished, statuses.values().sum::<u64>(), "seed {seed} {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_race_over_one_file_count_every_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let log: SharedLog = SqliteLog::open(&path).await.unwrap();
    let mut histories = Histories::new(11, Hash::of(b"plan"));
    let commits: Vec<Commit> = (0..12).flat_map(|n| histories.suite(&format!("suite-{n}"), 20)).collect();
    let total = count(&commits);
    let mut workers = Vec::new();
    for _ in 0..3 {
        let views = Views::sqlite(log.clone(), &path).await.unwrap();
        workers.push(tokio::spawn(async move {
            let mut folded = 0;
            loop {
                let progress = views.catch_up(None).await.unwrap();
                folded += progress.folded;
                if progress.position >= total {
                    return folded;
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    append_all(&log, commits).await;
    let mut folded = 0;
    for worker in workers {
        folded += worker.await.unwrap();
    }
    assert_eq!(folded, total, "each event was folded by exactly one worker");
    let views = Views::sqlite(log.clone(), &path).await.unwrap();
    assert_eq!(all_of(&views).await, replay(&log).await);
    log.close().await;
}

#[tokio::test]
async fn both_stores_answer_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let log: SharedLog = SqliteLog::open(&path).await.unwrap();
    let mut histories = Histories::new(21, Hash::of(b"plan"));
    append_all(&log, (0..5).flat_map(|n| histories.suite(&format!("suite-{n}"), 9)).collect()).await;
    let (sqlite, memory) = (Views::sqlite(log.clone(), &path).await.unwrap(), Views::memory(log.clone()));
    sqlite.catch_up(None).await.unwrap();
    memory.catch_up(None).await.unwrap();
    let every = all_of(&sqlite).await;
    let filters = [
        ExecutionFilter::default(),
        ExecutionFilter { statuses: vec![ExecutionStatus::Failed, ExecutionStatus::Cancelled], ..Default::default() },
        ExecutionFilter { kind: Some(ExecutionKind::Suite), ..Default::default() },
        ExecutionFilter { tag: Some("smoke".into()), limit: 5, ..Default::default() },
        ExecutionFilter { suite: Some("suite-3".into()), roots_only: true, ..Default::default() },
        ExecutionFilter { suite: Some("no such suite".into()), ..Default::default() },
    ];
    for mut filter in filters {
        let mut seen = 0;
        loop {
            let page = sqlite.list(&filter).await.unwrap();
            assert_eq!(page, memory.list(&filter).await.unwrap(), "{filter:?}");
            assert!(page.executions.iter().all(|view| filter.accepts(view)), "{filter:?}");
            seen += page.executions.len();
            filter.before = page.next;
            if filter.before.is_none() {
                break;
            }
        }
        assert_eq!(seen, every.values().filter(|view| filter.accepts(view)).count(), "{filter:?}");
    }
    for (id, view) in &every {
        assert_eq!(sqlite.children(*id, 100).await.unwrap(), memory.children(*id, 100).await.unwrap());
        assert_eq!(sqlite.get(*id).await.unwrap().as_ref(), Some(view));
        assert_eq!(memory.resolve(&id.to_string()).await.unwrap(), *view);
        assert_eq!(sqlite.resolve(&id.to_string().to_uppercase()).await.unwrap(), *view);
    }
    let (id, _) = every.first_key_value().unwrap();
    let beginning = &id.to_string()[..8];
    for views in [&sqlite, &memory] {
        assert!(
            matches!(views.resolve(beginning).await, Err(ViewError::Ambiguous { matches, .. }) if matches.len() == 5)
        );
        assert!(matches!(views.resolve("ffffffff").await, Err(ViewError::NoSuchExecution(_))));
        assert!(matches!(views.resolve("0000").await, Err(ViewError::NotAnId(_))));
        assert!(matches!(views.resolve("0000000%").await, Err(ViewError::NotAnId(_))));
    }
    log.close().await;
}

#[tokio::test]
async fn views_of_another_version_or_another_log_are_folded_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let log: SharedLog = SqliteLog::open(&path).await.unwrap();
    append_all(&log, Histories::new(31, Hash::of(b"plan")).suite("one", 5)).await;
    let views = Views::sqlite(log.clone(), &path).await.unwrap();
    views.catch_up(None).await.unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("UPDATE view_checkpoints SET version = version + 1", []).unwrap();
    db.execute("UPDATE view_executions SET view = 'of another shape'", []).unwrap();
    let progress = views.catch_up(None).await.unwrap();
    assert_eq!(progress.folded, progress.position);
    assert_eq!(all_of(&views).await, replay(&log).await);

    let other: SharedLog = MemoryLog::new();
    let commits = Histories::new(32, Hash::of(b"plan")).suite("two", 5);
    let total = count(&commits);
    append_all(&other, commits).await;
    settled(&other, total).await;
    let store: Arc<dyn ExecutionStore> = SqliteViews::open(&path).await.unwrap();
    let views = Views::over(other.clone(), store);
    views.catch_up(None).await.unwrap();
    assert_eq!(all_of(&views).await, replay(&other).await, "views of the first log are gone");
    log.close().await;
    other.close().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_pauses_the_views_and_is_named() {
    let log: SharedLog = MemoryLog::new();
    let mut histories = Histories::new(41, Hash::of(b"plan"));
    let before = histories.case("suite", "before", None);
    let good = count(&before);
    append_all(&log, before).await;
    let stream = ExecutionId(uuid::Uuid::from_u128(99)).into();
    let mut event = RecordedEvent::write(
        EventId(uuid::Uuid::from_u128(98)),
        String::new(),
        &testledger_schemas::event::ExecutionReady {}.into(),
    )
    .unwrap();
    event.type_name = "SomethingNewer".into();
    let envelope = Envelope {
        recorded_at: Timestamp::from_unix_ms(0),
        actor: "ada".into(),
        worker: None,
        claim_epoch: None,
        correlation_id: None,
        causation_id: None,
    };
    let head = log.stream_head(stream).await.unwrap();
    log.append(Commit::seal(stream, head, envelope, vec![event]).unwrap()).await.unwrap();
    append_all(&log, histories.case("suite", "after", None)).await;
    settled(&log, good + 2).await;
    let views = Views::memory(log.clone());
    for _ in 0..2 {
        let progress = views.catch_up(None).await.unwrap();
        let paused = progress.paused.unwrap();
        assert_eq!((progress.position, paused.position), (good, good + 1));
        assert!(paused.reason.contains("SomethingNewer"), "{}", paused.reason);
    }
    assert_eq!(all_of(&views).await.len(), 1);
    log.close().await;
}

#[tokio::test]
async fn erased_text_leaves_the_views_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let log: SharedLog = SqliteLog::open(&path).await.unwrap();
    let commits = Histories::new(51, Hash::of(b"plan")).suite("secretive", 6);
    let targets: Vec<_> = commits
        .iter()
        .flat_map(|commit| commit.events.iter().map(|event| (commit.id, event)))
        .filter(|(_, event)| event.content_hash.is_some())
        .map(|(commit, event)| (commit, event.event_id))
        .collect();
    append_all(&log, commits).await;
    let views = Views::sqlite(log.clone(), &path).await.unwrap();
    views.catch_up(None).await.unwrap();
    assert!(all_of(&views).await.values().all(|view| view.name.is_some()));
    let request = ErasureRequest { events: targets, grounds: "all of it".into(), actor: "dpo-7".into() };
    erase(&*log, &request, &SeededIds::new(5), &SystemClock).await.unwrap();
    views.catch_up(None).await.unwrap();
    let stored = all_of(&views).await;
    assert_eq!(stored, replay(&log).await, "folded before the erasure or after it: the same");
    for view in stored.values() {
        let message = view.first_failure.as_ref().and_then(|failure| failure.message.clone());
        assert_eq!((&view.name, &view.source, &view.host, message), (&None, &None, &None, None));
    }
    log.close().await;
}

#[tokio::test]
async fn events_come_in_order_from_any_place_and_of_one_execution_alone() {
    let folder = tempfile::tempdir().unwrap();
    let log: SharedLog = SqliteLog::open(&folder.path().join("ledger.db")).await.unwrap();
    let commits = Histories::new(61, Hash::of(b"plan")).suite("suite", 10);
    let total = count(&commits);
    append_all(&log, commits.clone()).await;
    let walk = async |query: EventsQuery| {
        let (mut events, mut lines) = (Events::new(log.clone(), query), Vec::new());
        while let Some(line) = events.next().await.unwrap() {
            lines.push(line);
        }
        lines
    };
    let all = walk(EventsQuery::default()).await;
    assert_eq!(all.iter().map(|line| line.position).collect::<Vec<_>>(), (1..=total).collect::<Vec<_>>());
    for after in [1, 2, total / 2, total - 1, total, total + 5] {
        let rest: Vec<_> = all.iter().filter(|line| line.position > after).cloned().collect();
        assert_eq!(walk(EventsQuery { after, ..EventsQuery::default() }).await, rest, "after {after}");
    }
    let stream = commits[4].id.stream;
    let of_one: Vec<_> = all.iter().filter(|line| line.stream == stream).cloned().collect();
    assert_eq!(walk(EventsQuery { streams: [stream].into(), ..EventsQuery::default() }).await, of_one);
    assert_eq!(
        of_one.iter().map(|line| line.version).collect::<Vec<_>>(),
        (1..=of_one.len() as u64).collect::<Vec<_>>()
    );
    assert!(all.iter().all(|line| line.to_text().contains(&line.type_name)));
    log.close().await;
}

#[tokio::test]
async fn who_follows_sees_what_is_appended_later() {
    let logs: [SharedLog; 2] =
        [SqliteLog::open(&tempfile::tempdir().unwrap().keep().join("ledger.db")).await.unwrap(), MemoryLog::new()];
    for log in logs {
        let mut histories = Histories::new(71, Hash::of(b"plan"));
        append_all(&log, histories.case("suite", "first", None)).await;
        let second = histories.case("suite", "second", None);
        let (stream, due) = (second[0].id.stream, count(&second));
        let query = EventsQuery { streams: [stream].into(), follow: true, ..EventsQuery::default() };
        let mut events = Events::new(log.clone(), query);
        let follower = tokio::spawn(async move {
            for version in 1..=due {
                assert_eq!(events.next().await.unwrap().unwrap().version, version);
            }
        });
        append_all(&log, second).await;
        tokio::time::timeout(Duration::from_secs(60), follower).await.unwrap().unwrap();
        log.close().await;
    }
}

#[tokio::test]
async fn an_execution_is_shown_with_its_attempts_steps_and_cases() {
    let log: SharedLog = MemoryLog::new();
    let commits = Histories::new(81, Hash::of(b"plan")).suite("checkout", 12);
    let total = count(&commits);
    append_all(&log, commits.clone()).await;
    settled(&log, total).await;
    let views = Views::memory(log.clone());
    views.catch_up(None).await.unwrap();
    let suite = views.get(commits[0].id.stream.execution().unwrap()).await.unwrap().unwrap();
    let shown = show::show(&views, suite).await.unwrap();
    assert_eq!((shown.children.len(), shown.attempts.len()), (12, 1));
    let text = show_text::text(&shown);
    assert!(text.contains("checkout/case-3") && text.contains("12/12 cases"), "{text}");
    let table = list::table(&views.list(&ExecutionFilter::default()).await.unwrap(), Some(200));
    assert!(table.contains("checkout/case-3") && table.starts_with("ID"), "{table}");
    for child in shown.children {
        let view = views.get(child.id).await.unwrap().unwrap();
        let shown = show::show(&views, view.clone()).await.unwrap();
        assert_eq!(shown.attempts.len() as u32, view.attempt);
        let Some(last) = shown.attempts.last() else { continue };
        let over = last.steps.iter().filter(|step| step.outcome.is_some() && !step.will_retry).count() as u64;
        assert_eq!(over, view.steps.outcomes.values().sum::<u64>());
        let reported: u64 = last.steps.iter().filter(|it| !it.will_retry).flat_map(|it| it.reported.values()).sum();
        assert_eq!(reported, view.reported.values().sum::<u64>(), "results of runs that were tried again do not count");
        assert!(show_text::text(&shown).contains("step-0"));
    }
    log.close().await;
}
