//! The fold of executions and the worker: the same views whatever the batches are, and every event once.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "../../tests/support/history.rs"]
mod history;
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use history::Histories;
use proptest::prelude::*;
use support::{ListFeed, run};
use testledger_projections::executions::{ExecutionView, Executions, MAX_ANOMALIES};
use testledger_projections::flaky_steps::FlakySteps;
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{Checkpoint, Saved, ViewStore, ViewStoreError};
use testledger_projections::projection::{MAX_ECHO_ROUNDS, Projection, Recorded};
use testledger_projections::worker::{CatchUpError, catch_up};
use testledger_schemas::event::*;
use testledger_schemas::{Event, ExecutionId, ExecutionStatus, Hash};

/// A store that says "overtaken" or dies at every n-th save, after or before the deed.
struct Shaky {
    inner: MemoryViews<Executions>,
    saves: AtomicUsize,
}

#[async_trait]
impl ViewStore<Executions> for Shaky {
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError> {
        self.inner.checkpoint().await
    }
    async fn load(&self, keys: &[ExecutionId]) -> Result<Vec<Option<ExecutionView>>, ViewStoreError> {
        self.inner.load(keys).await
    }
    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(ExecutionId, ExecutionView)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError> {
        let lost = || ViewStoreError::Unavailable("lost".into());
        match self.saves.fetch_add(1, Ordering::Relaxed) % 4 {
            1 => Err(lost()),
            2 => self.inner.save(before, views, after).await.and(Err(lost())),
            3 => {
                // Another worker comes first with the same batch.
                self.inner.save(before, views.clone(), after).await?;
                self.inner.save(before, views, after).await
            }
            _ => self.inner.save(before, views, after).await,
        }
    }
    async fn reset(&self) -> Result<(), ViewStoreError> {
        self.inner.reset().await
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_views_do_not_depend_on_batches_or_on_lost_answers(seed: u64, sizes in prop::collection::vec(1usize..40, 1..6)) {
        let mut histories = Histories::new(seed, Hash::of(b"plan"));
        let commits = [histories.suite("one", 5), histories.suite("two", 4)].concat();
        let whole = MemoryViews::<Executions>::default();
        run(catch_up(&Executions, &ListFeed::new(&commits, vec![usize::MAX]), &whole, None)).unwrap();
        let feed = ListFeed::new(&commits, sizes);
        let shaky = Shaky { inner: MemoryViews::default(), saves: AtomicUsize::new(0) };
        for _ in 0..10_000 {
            match run(catch_up(&Executions, &feed, &shaky, None)) {
                Ok(progress) => { prop_assert_eq!(progress.position, feed.events.len() as u64); break }
                Err(CatchUpError::Store(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        prop_assert_eq!(shaky.inner.all(), whole.all());
        prop_assert!(whole.all().values().all(|view| view.anomaly_count == 0 && view.is_final));
    }
}

#[test]
fn a_projection_stops_before_poison_and_goes_on_when_it_can_be_read() {
    let commits = Histories::new(5, Hash::of(b"plan")).suite("one", 3);
    let mut feed = ListFeed::new(&commits, vec![4]);
    feed.poison = Some(11);
    let store = MemoryViews::<Executions>::default();
    for _ in 0..2 {
        let progress = run(catch_up(&Executions, &feed, &store, None)).unwrap();
        assert_eq!((progress.position, progress.paused.map(|it| it.position)), (10, Some(11)));
    }
    feed.poison = None;
    let progress = run(catch_up(&Executions, &feed, &store, None)).unwrap();
    assert_eq!((progress.position, progress.paused), (feed.events.len() as u64, None));
}

/// Folds events of one execution, given as they are, legal or not.
fn fold(events: Vec<Event>) -> ExecutionView {
    let commits = Histories::new(9, Hash::of(b"plan")).case("suite", "case", None);
    let first = Recorded::of(&commits[0], 0, &commits[0].events[0], 1).unwrap();
    let id = first.stream.execution().unwrap();
    let mut view = Executions.initial(&id);
    Executions.apply(&id, &mut view, &first);
    for (position, event) in (2..).zip(events) {
        let recorded = Recorded { position, version: position, event, ..first.clone() };
        Executions.apply(&id, &mut view, &recorded);
    }
    view
}

/// An event that leads to a status.
fn leading_to(status: ExecutionStatus) -> Option<Event> {
    let (steps, cases) = (OutcomeTally::new(), StatusTally::new());
    let (attempt, duration_ms, reason, will_retry) = (1, 1, CancelReason::User, false);
    let failed = FailureReason::Step;
    Some(match status {
        ExecutionStatus::Pending => return None,
        ExecutionStatus::Running => ExecutionStarted { attempt, content: Default::default() }.into(),
        ExecutionStatus::Passed => ExecutionPassed { attempt, duration_ms, steps, cases }.into(),
        ExecutionStatus::Failed => {
            ExecutionFailed { attempt, reason: failed, will_retry, duration_ms, steps, cases }.into()
        }
        ExecutionStatus::Cancelled => ExecutionCancelled { reason, duration_ms, steps, cases }.into(),
        ExecutionStatus::Timeout => ExecutionTimedOut { attempt, will_retry, duration_ms, steps, cases }.into(),
        ExecutionStatus::Retrying => {
            ExecutionRetryScheduled { attempt: 2, not_before: testledger_schemas::Timestamp::default() }.into()
        }
        ExecutionStatus::Aborted => ExecutionAborted { reason }.into(),
    })
}

/// The events that lead lawfully to a status.
fn way_to(status: ExecutionStatus) -> Vec<Event> {
    use ExecutionStatus::{Aborted, Cancelled, Failed, Passed, Pending, Retrying, Running, Timeout};
    let way = match status {
        Pending => vec![],
        Running => vec![Running],
        Passed | Failed | Cancelled | Timeout => vec![Running, status],
        Retrying => vec![Running, Failed, Retrying],
        Aborted => vec![Running, Failed, Retrying, Aborted],
    };
    way.into_iter().filter_map(leading_to).collect()
}

#[test]
fn every_pair_of_statuses_is_followed_and_the_illegal_ones_are_flagged() {
    for from in ExecutionStatus::ALL {
        for to in ExecutionStatus::ALL {
            let Some(last) = leading_to(to) else { continue };
            let mut events = way_to(from);
            assert_eq!((fold(events.clone()).status, fold(events.clone()).anomaly_count), (from, 0));
            events.push(last);
            let view = fold(events);
            let flagged = u64::from(from.transition(to).is_err());
            assert_eq!((view.status, view.anomaly_count), (to, flagged), "{from} -> {to}");
            assert_eq!(view.is_final, to.is_final(false), "{from} -> {to}");
        }
    }
}

#[test]
fn anomalies_are_listed_up_to_a_bound_and_counted_beyond() {
    let view = fold((0..100).filter_map(|_| leading_to(ExecutionStatus::Aborted)).collect());
    assert_eq!((view.anomalies.len(), view.anomaly_count), (MAX_ANOMALIES, 100));
}

/// A projection whose one view tells itself something, again and again.
#[derive(Clone)]
struct Parrot {
    rounds: u64,
}

impl Projection for Parrot {
    const NAME: &'static str = "parrot";
    const VERSION: u32 = 1;
    type Key = ExecutionId;
    type View = u64;
    type Echo = u64;

    fn keys(&self, recorded: &Recorded) -> Vec<ExecutionId> {
        recorded.stream.execution().into_iter().collect()
    }
    fn initial(&self, _: &ExecutionId) -> u64 {
        0
    }
    fn apply(&self, key: &ExecutionId, _: &mut u64, _: &Recorded) -> Vec<(ExecutionId, u64)> {
        vec![(*key, self.rounds)]
    }
    fn hear(&self, view: &mut u64, echo: &u64, _: u64) -> Vec<(ExecutionId, u64)> {
        *view += 1;
        (*echo > 1).then(|| (ExecutionId(uuid::Uuid::from_u128(u128::from(*echo))), echo - 1)).into_iter().collect()
    }
}

#[test]
fn an_echo_is_passed_on_but_not_for_ever() {
    let feed = ListFeed::new(&Histories::new(5, Hash::of(b"plan")).case("suite", "case", None)[..1], vec![1]);
    let store = MemoryViews::<Parrot>::default();
    let refused = run(catch_up(&Parrot { rounds: MAX_ECHO_ROUNDS as u64 + 1 }, &feed, &store, None));
    assert!(matches!(refused, Err(CatchUpError::EndlessEcho { position: 1 })), "{refused:?}");
    assert_eq!(store.all().len(), 0);
    run(catch_up(&Parrot { rounds: MAX_ECHO_ROUNDS as u64 }, &feed, &store, None)).unwrap();
    assert_eq!(store.all().values().sum::<u64>(), MAX_ECHO_ROUNDS as u64);
}

/// The executions, in batches of so many views, or of so many bytes.
#[derive(Clone)]
struct Narrow<const VIEWS: usize, const BYTES: usize>;

impl<const VIEWS: usize, const BYTES: usize> Projection for Narrow<VIEWS, BYTES> {
    const NAME: &'static str = "narrow";
    const VERSION: u32 = 1;
    const BATCH_VIEWS: usize = VIEWS;
    const BATCH_BYTES: usize = BYTES;
    type Key = ExecutionId;
    type View = ExecutionView;
    type Echo = <Executions as Projection>::Echo;

    fn keys(&self, recorded: &Recorded) -> Vec<ExecutionId> {
        Executions.keys(recorded)
    }
    fn initial(&self, key: &ExecutionId) -> ExecutionView {
        Executions.initial(key)
    }
    fn apply(&self, key: &ExecutionId, view: &mut ExecutionView, event: &Recorded) -> Vec<(ExecutionId, Self::Echo)> {
        Executions.apply(key, view, event)
    }
    fn hear(&self, view: &mut ExecutionView, echo: &Self::Echo, position: u64) -> Vec<(ExecutionId, Self::Echo)> {
        Executions.hear(view, echo, position)
    }
}

/// Remembers how many views the largest batch had, and how often views were loaded.
struct Measured<P: Projection> {
    inner: MemoryViews<P>,
    largest: AtomicUsize,
    loads: AtomicUsize,
}

impl<P: Projection> Default for Measured<P> {
    fn default() -> Self {
        Self { inner: MemoryViews::default(), largest: AtomicUsize::new(0), loads: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl<P: Projection> ViewStore<P> for Measured<P> {
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError> {
        self.inner.checkpoint().await
    }
    async fn load(&self, keys: &[P::Key]) -> Result<Vec<Option<P::View>>, ViewStoreError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.inner.load(keys).await
    }
    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(P::Key, P::View)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError> {
        self.largest.fetch_max(views.len(), Ordering::Relaxed);
        self.inner.save(before, views, after).await
    }
    async fn reset(&self) -> Result<(), ViewStoreError> {
        self.inner.reset().await
    }
}

/// The most views that one batch wrote.
fn largest_batch<const VIEWS: usize, const BYTES: usize>() -> usize {
    let commits = Histories::new(17, Hash::of(b"plan")).suite("suite", 40);
    let whole = MemoryViews::<Executions>::default();
    run(catch_up(&Executions, &ListFeed::new(&commits, vec![usize::MAX]), &whole, None)).unwrap();
    let feed = ListFeed { obeys: true, ..ListFeed::new(&commits, vec![usize::MAX]) };
    let store = Measured::default();
    let progress = run(catch_up(&Narrow::<VIEWS, BYTES>, &feed, &store, None)).unwrap();
    assert_eq!(progress.folded, feed.events.len() as u64, "every event once");
    assert_eq!(store.inner.all(), whole.all());
    store.largest.load(Ordering::Relaxed)
}

#[test]
fn a_batch_that_touches_too_much_is_halved() {
    let (views, bytes) = (largest_batch::<3, { usize::MAX }>(), largest_batch::<{ usize::MAX }, { 3 * 4096 }>());
    assert!((1..=3).contains(&views) && (1..=3).contains(&bytes), "{views}, {bytes}");
}

/// Nobody knows beforehand which buckets a batch touches, and still they are not looked up one by one.
#[test]
fn a_batch_loads_its_views_a_few_times() {
    let mut histories = Histories::new(19, Hash::of(b"plan"));
    let (mut commits, store) = (vec![], Measured::default());
    for round in 0..2 {
        commits.extend(histories.suite("suite", 40));
        run(catch_up(&FlakySteps, &ListFeed::new(&commits, vec![usize::MAX]), &store, None)).unwrap();
        // First the runs, then all buckets. In the second round those are there, and the batch is folded again.
        assert_eq!(store.loads.swap(0, Ordering::Relaxed), 2, "round {round}");
    }
    assert!(store.largest.load(Ordering::Relaxed) > 200);
}
