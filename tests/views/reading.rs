//! Reading the log behind the views, and showing what they say.

use std::time::Duration;

use testledger::event_store::SharedLog;
use testledger::event_store::memory::MemoryLog;
use testledger::event_store::sqlite::SqliteLog;
use testledger::views::events::{Events, EventsQuery};
use testledger::views::query::ExecutionFilter;
use testledger::views::{Views, list, show, show_text};
use testledger_schemas::Hash;

use crate::history::Histories;
use crate::stores::{append, count, settled};

#[tokio::test]
async fn events_come_in_order_from_any_place_and_of_one_execution_alone() {
    let folder = tempfile::tempdir().unwrap();
    let log: SharedLog = SqliteLog::open(&folder.path().join("ledger.db")).await.unwrap();
    let commits = Histories::new(61, Hash::of(b"plan")).suite("suite", 10);
    let total = count(&commits);
    append(&log, &commits).await;
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
        append(&log, &histories.case("suite", "first", None)).await;
        let second = histories.case("suite", "second", None);
        let (stream, due) = (second[0].id.stream, count(&second));
        let query = EventsQuery { streams: [stream].into(), follow: true, ..EventsQuery::default() };
        let mut events = Events::new(log.clone(), query);
        let follower = tokio::spawn(async move {
            for version in 1..=due {
                assert_eq!(events.next().await.unwrap().unwrap().version, version);
            }
        });
        append(&log, &second).await;
        tokio::time::timeout(Duration::from_secs(60), follower).await.unwrap().unwrap();
        log.close().await;
    }
}

#[tokio::test]
async fn an_execution_is_shown_with_its_attempts_steps_and_cases() {
    let log: SharedLog = MemoryLog::new();
    let commits = Histories::new(81, Hash::of(b"plan")).suite("checkout", 12);
    let total = count(&commits);
    append(&log, &commits).await;
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
