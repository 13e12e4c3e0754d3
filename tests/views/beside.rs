//! Traces and statistics of steps in every store: what is read there equals a fold from the first event in memory.

use std::sync::Arc;

use testledger::views::mongodb::MongoViews;
use testledger::views::replay::{At, position_at, replay as replay_at};
use testledger::views::sqlite::SqliteViews;
use testledger::views::steps::{StepStore, StepViews};
use testledger::views::traces::{TraceQuery, TraceShow, TraceViews, is_failed};
use testledger::views::{flaky, show};
use testledger_projections::flaky_steps::rules::WINDOW_RULES;
use testledger_projections::flaky_steps::{Day, Days, FlakySteps, StepState, Window};
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{Checkpoint, Saved};
use testledger_schemas::commit::Commit;
use testledger_schemas::{ExecutionId, Hash, StepKey};

use crate::history::Histories;
use crate::stores::{Kind, Ledger, contract, replay};
use crate::weeks::{Weeks, days_of, folded};

/// The window of the histories' own day.
const DAYS: u32 = 3;
/// Weeks at random, whose sums are compared.
const SUMMED: u64 = 12;

async fn traces(ledger: &Ledger) -> TraceViews {
    let log = ledger.log.clone();
    match &ledger.kind {
        Kind::Sqlite(folder) => TraceViews::sqlite(log, &folder.path().join("ledger.db")).await.unwrap(),
        Kind::Memory(_) => TraceViews::memory(log),
        Kind::Mongodb(server) => TraceViews::mongodb(log, &server.database).await.unwrap(),
    }
}

async fn steps(ledger: &Ledger) -> StepViews {
    let log = ledger.log.clone();
    match &ledger.kind {
        Kind::Sqlite(folder) => StepViews::sqlite(log, &folder.path().join("ledger.db")).await.unwrap(),
        Kind::Memory(_) => StepViews::memory(log),
        Kind::Mongodb(server) => StepViews::mongodb(log, &server.database).await.unwrap(),
    }
}

async fn read(views: &TraceViews, id: ExecutionId, query: TraceQuery) -> TraceShow {
    views.read(id, &query).await.unwrap().unwrap()
}

/// Follows a trace from page to page.
async fn walk(views: &TraceViews, id: ExecutionId, mut query: TraceQuery) -> Vec<u64> {
    let mut seen = vec![];
    loop {
        let page = read(views, id, query).await;
        assert!(page.items.len() as u64 <= query.limit);
        seen.extend(page.items.iter().map(|item| item.index));
        let Some(next) = page.next else { return seen };
        assert!(next > query.from || query.limit == 0);
        query.from = next;
    }
}

async fn windows(views: &StepViews, to: Day) -> Vec<Window> {
    let mut all = vec![];
    views.each_window(Days::up_to(to, DAYS), |window| all.push(window)).await.unwrap();
    all
}

fn day(commits: &[Commit]) -> Day {
    Day::of(commits.last().unwrap().recorded_at)
}

/// The store alone, to be asked for itself.
async fn step_store(ledger: &Ledger) -> Arc<dyn StepStore> {
    match &ledger.kind {
        Kind::Sqlite(folder) => SqliteViews::<FlakySteps>::open(&folder.path().join("ledger.db")).await.unwrap(),
        Kind::Memory(_) => Arc::new(MemoryViews::<FlakySteps>::default()),
        Kind::Mongodb(server) => MongoViews::<FlakySteps>::open(&server.database).await.unwrap(),
    }
}

contract! {
    async fn traces_equal_a_fold_in_memory_page_by_page(ledger: &Ledger) {
        let mut histories = Histories::new(101, Hash::of(b"plan"));
        let (first, second) = (histories.suite("one", 70), histories.suite("two", 5));
        let (views, memory) = (traces(ledger).await, TraceViews::memory(ledger.log.clone()));
        ledger.append(&first).await;
        views.catch_up().await.unwrap();
        ledger.append_more(&second, &first).await;
        assert_eq!(views.catch_up().await.unwrap().position, memory.catch_up().await.unwrap().position);
        for id in replay(&ledger.log).await.into_keys() {
            let whole = TraceQuery { limit: 5_000, ..TraceQuery::default() };
            let (stored, folded) = (read(&views, id, whole).await, read(&memory, id, whole).await);
            assert_eq!(stored, folded, "{id}");
            let failed: Vec<u64> = folded.items.iter().filter(|item| is_failed(item)).map(|item| item.index).collect();
            assert_eq!(walk(&views, id, TraceQuery { limit: 2, failed_only: true, from: 0 }).await, failed, "{id}");
        }
        let suite = first[0].id.stream.execution().unwrap();
        assert!(!read(&views, suite, TraceQuery::default()).await.trace.use_embedded_steps);
        for limit in [1, 7, 50, 51, 70, 71] {
            let seen = walk(&views, suite, TraceQuery { limit, ..TraceQuery::default() }).await;
            assert_eq!(seen, (0..70).collect::<Vec<_>>(), "{limit}");
        }
        assert_eq!(views.read(ExecutionId(uuid::Uuid::from_u128(1)), &TraceQuery::default()).await.unwrap(), None);
        ledger.log.close().await;
    }

    async fn windows_of_steps_equal_a_fold_in_memory(ledger: &Ledger) {
        let mut histories = Histories::new(102, Hash::of(b"plan"));
        // More buckets than are read at once.
        let commits: Vec<Commit> = (0..4).flat_map(|n| histories.suite(&format!("suite-{n}"), 50)).collect();
        let (views, memory) = (steps(ledger).await, StepViews::memory(ledger.log.clone()));
        ledger.append(&commits).await;
        assert_eq!(views.catch_up().await.unwrap().position, memory.catch_up().await.unwrap().position);
        let to = day(&commits);
        let (stored, folded) = (windows(&views, to).await, windows(&memory, to).await);
        assert!(stored.len() > 500, "{}", stored.len());
        assert_eq!(stored, folded);
        assert!(stored.is_sorted_by_key(|window| window.step_key));
        assert_eq!(windows(&views, to.before(100)).await, []);
        for window in stored.iter().step_by(97) {
            let key = window.step_key;
            assert_eq!(views.window(key, Days::up_to(to, DAYS)).await.unwrap().as_ref(), Some(window));
            assert_eq!(views.window(key, Days::up_to(to.before(100), DAYS)).await.unwrap(), None);
            let prefix: String = key.to_string().chars().take(8).collect();
            let begin_so: Vec<StepKey> = stored.iter().map(|it| it.step_key).filter(|it| it.to_string().starts_with(&prefix)).collect();
            assert_eq!(views.by_prefix(&prefix, 5).await.unwrap(), begin_so);
        }
        assert_eq!(views.by_prefix("", 3).await.unwrap(), stored[..3].iter().map(|it| it.step_key).collect::<Vec<_>>());
        assert_eq!(views.by_prefix("g", 3).await.unwrap(), []);
        let sums = views.sums(Days::up_to(to, DAYS)).await.unwrap();
        assert_eq!(sums, stored.iter().map(Window::sums).collect::<Vec<_>>());
        let query = flaky::FlakyQuery { days: Days::up_to(to, DAYS), all: true, rule: None, limit: 10 };
        let list = flaky::list(&views, &query).await.unwrap();
        assert_eq!(list, flaky::list(&memory, &query).await.unwrap());
        // Without those that have nothing to tell, and by one rule: what is in the whole list, no more and no less.
        let whole = flaky::list(&memory, &flaky::FlakyQuery { limit: 1_000_000, ..query }).await.unwrap().steps;
        let mut lists_with_steps = 0;
        for rule in [None].into_iter().chain(WINDOW_RULES.iter().copied().map(Some)) {
            let listed = flaky::list(&views, &flaky::FlakyQuery { all: false, rule, limit: 1_000_000, ..query }).await.unwrap();
            let tells = |step: &&flaky::StepReport| match rule {
                Some(rule) => step.reliability.verdicts.iter().any(|it| it.rule == rule && it.tells()),
                None => step.reliability.state != StepState::Healthy || step.reliability.verdicts.iter().any(|it| it.fires),
            };
            let mut expected: Vec<_> = whole.iter().filter(tells).collect();
            let mut found: Vec<_> = listed.steps.iter().collect();
            expected.sort_by_key(|step| step.reliability.step_key);
            found.sort_by_key(|step| step.reliability.step_key);
            assert_eq!(found, expected, "{rule:?}");
            lists_with_steps += usize::from(!found.is_empty());
            assert_eq!((listed.seen, listed.rule), (list.seen, rule));
        }
        // Any, passed on retry, same code, entropy; the others need more runs than there are.
        assert_eq!(lists_with_steps, 4);
        assert_eq!((list.steps.len() as u64 + list.omitted, list.seen), (stored.len() as u64, stored.len() as u64));
        assert!(list.steps.is_sorted_by(|a, b| a.reliability.state >= b.reliability.state));
        ledger.log.close().await;
    }

    async fn sums_equal_those_of_windows(ledger: &Ledger) {
        let store = step_store(ledger).await;
        let views = StepViews::over(ledger.log.clone(), store.clone());
        for seed in 0..SUMMED {
            let events = Weeks::of(seed);
            let before = store.checkpoint().await.unwrap();
            let after = Checkpoint { position: events.len() as u64, ..before.clone() };
            assert_eq!(store.save(&before, folded(&events).await, &after).await.unwrap(), Saved::Yes);
            let (days, mut windows) = (days_of(&events, seed), vec![]);
            views.each_window(days, |window| windows.push(window.sums())).await.unwrap();
            assert_eq!(views.sums(days).await.unwrap(), windows, "seed {seed}");
            store.reset().await.unwrap();
        }
        ledger.log.close().await;
    }

    async fn buckets_come_by_step_and_day(ledger: &Ledger) {
        let commits = Histories::new(103, Hash::of(b"plan")).suite("suite", 6);
        ledger.append(&commits).await;
        let store = step_store(ledger).await;
        StepViews::over(ledger.log.clone(), store.clone()).catch_up().await.unwrap();
        let to = day(&commits);
        let days = Days { first: to.before(1), last: to };
        let all = store.buckets(None, days, 10_000).await.unwrap();
        assert!(!all.is_empty() && all.is_sorted_by_key(|bucket| (bucket.step_key, bucket.day)));
        for limit in [0, 1, 2, all.len(), all.len() + 1] {
            let some = store.buckets(None, days, limit).await.unwrap();
            assert_eq!(some, all[..limit.min(all.len())], "{limit}");
        }
        for bucket in &all {
            let rest: Vec<_> = all.iter().filter(|it| it.step_key > bucket.step_key).cloned().collect();
            assert_eq!(store.buckets(Some(bucket.step_key), days, 10_000).await.unwrap(), rest);
            assert_eq!(store.first_from(&bucket.step_key.to_string()).await.unwrap(), Some(bucket.step_key));
        }
        let after = Days { first: to.after(1), last: to.after(9) };
        assert_eq!(store.buckets(None, after, 10).await.unwrap(), []);
        assert_eq!(store.first_from("g").await.unwrap(), None);
        ledger.log.close().await;
    }
}

/// A log alone is enough: any store would do.
#[test]
fn a_replay_ends_exactly_at_its_position() {
    crate::stores::run(async {
        let ledger = Ledger::sqlite().await;
        let commits = Histories::new(104, Hash::of(b"plan")).suite("suite", 6);
        ledger.append(&commits).await;
        let total = crate::stores::count(&commits);
        for position in 0..=total {
            let then = replay_at(&ledger.log, At::Position(position)).await.unwrap();
            assert_eq!((then.position, then.progress.folded, then.progress.position), (position, position, position));
            let every = crate::stores::all_of(&then.views).await;
            assert!(every.values().all(|view| view.last_position <= position), "{position}");
            assert_eq!(every.values().map(|view| view.last_version).sum::<u64>(), position, "every event is in a view");
            for view in every.into_values() {
                let last = view.last_version;
                let shown = show::show_as_of(&then.views, view).await.unwrap();
                assert!(last > 3 || shown.attempts.is_empty(), "{position}");
            }
        }
        assert!(replay_at(&ledger.log, At::Position(total + 1)).await.is_err());
        let whole = replay_at(&ledger.log, At::Position(total)).await.unwrap();
        assert_eq!(crate::stores::all_of(&whole.views).await, replay(&ledger.log).await);
        for commit in &commits {
            assert_eq!(position_at(&ledger.log, commit.recorded_at).await.unwrap(), expected(&commits, commit));
        }
        ledger.log.close().await;
    });
}

/// By the definition: the last position whose commit was recorded at that time or before it.
fn expected(commits: &[Commit], at: &Commit) -> u64 {
    let (mut position, mut found) = (0, 0);
    for commit in commits {
        position += commit.events.len() as u64;
        if commit.recorded_at <= at.recorded_at {
            found = position;
        }
    }
    found
}
