//! What every store of views answers: lists by every filter and page, children, ids and their beginnings.

use testledger::views::query::{Cursor, ExecutionFilter, ExecutionPage, Order};
use testledger::views::{ViewError, Views};
use testledger_projections::executions::ExecutionView;
use testledger_projections::ports::Checkpoint;
use testledger_schemas::event::{ExecutionKind, Revision};
use testledger_schemas::plan::CaseType;
use testledger_schemas::{ExecutionStatus, Hash, Timestamp};

use crate::folding::{place, view};
use crate::history::Histories;
use crate::stores::{Every, Ledger, contract, count, replay};

/// How many questions with more to ask for are drawn.
const DRAWN: usize = 400;

/// Every combination of the simple things a filter may ask for, and some with all that it may.
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
    let mut draw = Histories::new(77, Hash::of(b"plan"));
    let simple = all.len() as u64;
    for _ in 0..DRAWN {
        let is_simple = draw.below(4) > 0;
        let base = if is_simple { ExecutionFilter::default() } else { all[draw.below(simple) as usize].clone() };
        all.push(drawn(base, &mut draw));
    }
    all
}

/// A filter that asks for more, each thing now and then.
fn drawn(base: ExecutionFilter, draw: &mut Histories) -> ExecutionFilter {
    let mut some = |share: u64| draw.below(share) == 0;
    let words = ["suite", "smoke", "by", "name", "case", "boom", "nowhere"];
    ExecutionFilter {
        case_type: some(5).then_some(CaseType::Bdd),
        revision: some(5).then(|| "c0ffee".to_owned()),
        actor: some(5).then(|| "ada".to_owned()),
        words: words.iter().filter(|_| some(12)).map(|word| (*word).to_owned()).collect(),
        since: some(5).then(|| Timestamp::from_unix_ms(FIRST_MS + 20_000)),
        until: some(5).then(|| Timestamp::from_unix_ms(FIRST_MS + 60_000)),
        min_duration_ms: some(5).then_some(100),
        max_duration_ms: some(5).then_some(2_000),
        order: Order::ALL[draw.below(4) as usize].1,
        ..base
    }
}

/// About when the histories begin.
const FIRST_MS: i64 = 1_795_425_120_000;

/// The views of a history, with what its generator always draws alike: types, revisions, actors.
pub fn varied(every: Every) -> Every {
    let mut draw = Histories::new(78, Hash::of(b"plan"));
    let vary = |(id, mut view): (_, ExecutionView)| {
        let number = draw.below(1_000);
        if view.kind == ExecutionKind::Case {
            view.case_type = Some([CaseType::Generic, CaseType::Bdd, CaseType::Manual][number as usize % 3]);
        }
        view.actor = ["ada", "grace", "unverified:edsger@localhost"][number as usize / 3 % 3].to_owned();
        view.revision = [None, Some("c0ffee"), Some("beef")][number as usize / 9 % 3]
            .map(|commit| Revision { commit: commit.to_owned(), dirty: number.is_multiple_of(2) });
        view.total_duration_ms = draw.below(3) * draw.below(2_500);
        (id, view)
    };
    every.into_iter().map(vary).collect()
}

/// What a list is, by its definition.
fn expected(every: &Every, filter: &ExecutionFilter) -> ExecutionPage {
    let order = filter.order;
    let comes_after = |view: &&ExecutionView| match filter.after {
        None => true,
        Some(place) if order.is_descending() => Cursor::of(view, order) < place,
        Some(place) => Cursor::of(view, order) > place,
    };
    let mut executions: Vec<_> =
        every.values().filter(|view| filter.accepts(view)).filter(comes_after).cloned().collect();
    executions.sort_by_key(|view| Cursor::of(view, order));
    if order.is_descending() {
        executions.reverse();
    }
    let is_more = executions.len() > filter.limit;
    executions.truncate(filter.limit);
    let next = executions.last().filter(|_| is_more).map(|last| Cursor::of(last, order));
    ExecutionPage { executions, next }
}

/// Follows a list from page to page. Returns how many pages it has.
async fn walk(views: &Views, every: &Every, mut filter: ExecutionFilter) -> usize {
    for page in 1.. {
        let found = views.list(&filter).await.unwrap();
        assert_eq!(found, expected(every, &filter), "{filter:?}");
        filter.after = found.next;
        if filter.after.is_none() {
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
        let every = varied(replay(&ledger.log).await);
        let store = ledger.store().await;
        store.save(&Checkpoint::START, every.clone().into_iter().collect(), &place(count(&commits), "x")).await.unwrap();
        let views = Views::over(ledger.log.clone(), store);
        let mut found = 0;
        for filter in every_filter() {
            found += usize::from(!expected(&every, &filter).executions.is_empty());
            walk(&views, &every, ExecutionFilter { limit: 4, ..filter }).await;
        }
        assert!(found > 200, "most questions have no answer: {found} have one");
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

    /// What was erased, or is not so any more, is not found by its words.
    async fn words_go_with_the_text_they_were_in(ledger: &Ledger) {
        let store = ledger.store().await;
        let (id, mut stored) = view(1, "shop/cart");
        stored.name = Some("The secret garden".to_owned());
        store.save(&Checkpoint::START, vec![(id, stored.clone())], &place(1, "one")).await.unwrap();
        let searched = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            ExecutionFilter { words, ..Default::default() }
        };
        for words in [&["secret"][..], &["garden", "cart"]] {
            assert_eq!(store.list(&searched(words)).await.unwrap().executions, [stored.clone()]);
        }
        assert_eq!(store.list(&searched(&["garden", "gate"])).await.unwrap().executions, []);
        stored.name = None;
        store.save(&place(1, "one"), vec![(id, stored.clone())], &place(2, "two")).await.unwrap();
        assert_eq!(store.list(&searched(&["secret"])).await.unwrap().executions, []);
        assert_eq!(store.list(&searched(&["cart"])).await.unwrap().executions, [stored]);
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
