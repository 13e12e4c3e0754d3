//! What every store of views answers: lists by every filter and page, children, ids and their beginnings.

use std::cmp::Reverse;

use testledger::views::query::{Cursor, ExecutionFilter, ExecutionPage};
use testledger::views::{ViewError, Views};
use testledger_projections::executions::ExecutionView;
use testledger_projections::ports::Checkpoint;
use testledger_schemas::event::ExecutionKind;
use testledger_schemas::{ExecutionStatus, Hash, Timestamp};

use crate::folding::{place, view};
use crate::history::Histories;
use crate::stores::{Every, Ledger, contract, replay};

/// Every combination of what a filter may ask for.
pub fn every_filter() -> Vec<ExecutionFilter> {
    use ExecutionStatus::{Aborted, Cancelled, Failed};
    let statuses = [vec![], vec![Failed], vec![Failed, Cancelled, Aborted, Failed], ExecutionStatus::ALL.to_vec()];
    let kinds = [None, Some(ExecutionKind::Suite), Some(ExecutionKind::Case)];
    let tags = [None, Some("smoke"), Some("no such tag")];
    let suites = [None, Some("suite-3"), Some("no such suite")];
    let mut all = Vec::new();
    for statuses in &statuses {
        for kind in kinds {
            for tag in tags.map(|tag| tag.map(str::to_owned)) {
                for suite in suites.map(|suite| suite.map(str::to_owned)) {
                    for roots_only in [false, true] {
                        let (statuses, tag) = (statuses.clone(), tag.clone());
                        let filter = ExecutionFilter {
                            statuses,
                            kind,
                            tag,
                            suite: suite.clone(),
                            roots_only,
                            ..Default::default()
                        };
                        all.push(filter);
                    }
                }
            }
        }
    }
    all
}

/// What a list is, by its definition.
fn expected(every: &Every, filter: &ExecutionFilter) -> ExecutionPage {
    let comes_after = |view: &&ExecutionView| filter.before.is_none_or(|before| Cursor::of(view) < before);
    let mut executions: Vec<_> =
        every.values().filter(|view| filter.accepts(view)).filter(comes_after).cloned().collect();
    executions.sort_by_key(|view| Reverse(Cursor::of(view)));
    let is_more = executions.len() > filter.limit;
    executions.truncate(filter.limit);
    let next = executions.last().filter(|_| is_more).map(Cursor::of);
    ExecutionPage { executions, next }
}

/// Follows a list from page to page. Returns how many pages it has.
async fn walk(views: &Views, every: &Every, mut filter: ExecutionFilter) -> usize {
    for page in 1.. {
        let found = views.list(&filter).await.unwrap();
        assert_eq!(found, expected(every, &filter), "{filter:?}");
        filter.before = found.next;
        if filter.before.is_none() {
            return page;
        }
    }
    0
}

contract! {
    async fn lists_hold_what_their_filter_says_page_by_page(ledger: &Ledger) {
        let mut histories = Histories::new(21, Hash::of(b"plan"));
        let commits: Vec<_> = (0..5).flat_map(|n| histories.suite(&format!("suite-{n}"), 9)).collect();
        ledger.append(&commits).await;
        let views = ledger.views().await;
        views.catch_up(None).await.unwrap();
        let every = replay(&ledger.log).await;
        for filter in every_filter() {
            walk(&views, &every, ExecutionFilter { limit: 4, ..filter }).await;
        }
        assert_eq!(walk(&views, &every, ExecutionFilter { limit: 1, ..Default::default() }).await, every.len());
        for limit in [every.len(), every.len() + 1, usize::MAX] {
            assert_eq!(walk(&views, &every, ExecutionFilter { limit, ..Default::default() }).await, 1);
        }
        for view in every.values() {
            let mut children: Vec<_> = every.values().filter(|child| child.parent_id == Some(view.id)).cloned().collect();
            children.sort_by_key(|child| (child.first_position, child.id));
            for limit in [0, 1, 5, 100] {
                let some: Vec<_> = children.iter().take(limit).cloned().collect();
                assert_eq!(views.children(view.id, limit).await.unwrap(), some);
            }
            assert_eq!(views.get(view.id).await.unwrap().as_ref(), Some(view));
            assert_eq!(views.resolve(&view.id.to_string().to_uppercase()).await.unwrap(), *view);
        }
        ledger.log.close().await;
    }

    async fn an_id_is_found_by_its_beginning_if_that_is_one(ledger: &Ledger) {
        let store = ledger.store().await;
        let numbers = (0..9).map(|n| (0x0190_0000_u128 << 96) + n).chain([0x0191_0000_u128 << 96, u128::MAX]);
        let all: Vec<_> = numbers.map(|number| view(number, "x")).collect();
        store.save(&Checkpoint::START, all, &place(1, "one")).await.unwrap();
        let views = Views::over(ledger.log.clone(), store.clone());
        let ambiguous = views.resolve("01900000").await.unwrap_err();
        assert!(matches!(ambiguous, ViewError::Ambiguous { matches, .. } if matches.len() == 5));
        assert_eq!(views.resolve("01910000").await.unwrap().id.0.as_u128(), 0x0191_0000_u128 << 96);
        assert_eq!(views.resolve("ffffffff-ffff-ffff-ffff").await.unwrap().id.0.as_u128(), u128::MAX);
        assert!(matches!(views.resolve("fffffffe").await, Err(ViewError::NoSuchExecution(_))));
        assert!(matches!(views.resolve("0000").await, Err(ViewError::NotAnId(_))));
        assert!(matches!(views.resolve("0000000%").await, Err(ViewError::NotAnId(_))));
        assert_eq!(store.by_prefix("01900000", 0).await.unwrap(), []);
        assert_eq!(store.by_prefix("01900000", 100).await.unwrap().len(), 9);
    }

    /// Equal times, times before 1970, and none at all.
    async fn lists_are_ordered_by_time_and_id_whatever_the_times_are(ledger: &Ledger) {
        let store = ledger.store().await;
        let times = [Some(i64::MIN), Some(-1), None, Some(0), Some(1), Some(1), Some(1), Some(1_795_425_120_000), Some(i64::MAX)];
        let views = times.into_iter().zip(1..).map(|(at, number)| {
            let (id, mut view) = view(number, "x");
            view.requested_at = at.map(Timestamp::from_unix_ms);
            (id, view)
        });
        let every: Every = views.collect();
        store.save(&Checkpoint::START, every.clone().into_iter().collect(), &place(1, "one")).await.unwrap();
        let views = Views::over(ledger.log.clone(), store);
        for limit in 1..=10 {
            walk(&views, &every, ExecutionFilter { limit, ..Default::default() }).await;
        }
    }
}
