//! The statistics of steps: what buckets add up to, and what rules make of it, against figures worked out by hand.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "../../tests/support/history.rs"]
mod history;
mod support;

use std::collections::BTreeMap;

use history::Histories;
use proptest::prelude::*;
use support::story::{DAY_MS, START_MS, Story, after_erasures, execution, reported, step_finished, step_run};
use support::{fold, fold_in, has_whole_numbers_only, recorded};
use testledger_projections::flaky_steps::rules::*;
use testledger_projections::flaky_steps::*;
use testledger_projections::projection::{Projection, Recorded};
use testledger_schemas::event::*;
use testledger_schemas::{ExecutionId, Hash, StepKey, StepOutcome, Timestamp};

use StepOutcome::{Cancelled, Error, Failed, Interrupted, Passed, Skipped, Timeout};

type Views = BTreeMap<FlakyKey, FlakyView>;

fn step_key(step: &str) -> StepKey {
    StepKey::derive("shop", "case", "", step)
}

fn day(offset: i64) -> Day {
    Day::of(Timestamp::from_unix_ms(START_MS + offset * DAY_MS))
}

/// The window as an adapter reads it: those of its documents that are there.
fn window(views: &Views, step: &str, to: Day, days: u32) -> Window {
    let (key, days) = (step_key(step), Days::up_to(to, days));
    let keys: Vec<FlakyKey> = Window::buckets(key, days).chain(Window::registers(days)).collect();
    let found: Vec<&FlakyView> = keys.iter().filter_map(|key| views.get(key)).collect();
    let buckets: Vec<Bucket> = found.iter().filter_map(|view| view.bucket().cloned()).collect();
    let registers: Vec<MassFailures> = found.iter().filter_map(|view| view.mass_failures().cloned()).collect();
    Window::of(key, days, &buckets, &left_out(&registers))
}

fn report(story: &Story, step: &str) -> StepReliability {
    let views = fold(&FlakySteps, &story.events);
    reliability(&window(&views, step, day(0), WINDOW_DAYS), &Thresholds::default())
}

fn verdict(report: &StepReliability, rule: Rule) -> (Option<u64>, bool) {
    let verdict = report.verdicts.iter().find(|verdict| verdict.rule == rule).unwrap();
    (verdict.figure, verdict.fires)
}

fn clean(commit: &str) -> Option<Revision> {
    Some(Revision { commit: commit.into(), dirty: false })
}

/// An execution of one step, tried as often as there are outcomes, each in an attempt of its own.
fn tell(story: &mut Story, of: u128, outcomes: &[StepOutcome]) {
    let of = execution(of);
    story.requested(of, Some("case"), None);
    for (attempt, outcome) in (1..).zip(outcomes) {
        story.started(of, attempt);
        story.step(of, &step_run(attempt, "step", 1), *outcome);
        let tally = OutcomeTally::from([(*outcome, 1)]);
        let is_last = attempt as usize == outcomes.len();
        if *outcome == Passed {
            story.passed(of, attempt, tally);
        } else {
            story.failed(of, attempt, !is_last, tally);
        }
    }
}

#[test]
fn a_pass_on_retry_at_the_same_revision_is_counted_once() {
    let mut story = Story { revision: clean("c0ffee"), ..Story::default() };
    tell(&mut story, 1, &[Passed]);
    tell(&mut story, 2, &[Failed, Timeout, Passed]);
    tell(&mut story, 3, &[Failed, Error]);
    let report = report(&story, "step");
    let expected = Counts { runs: 3, failures: 1, passed_on_retry: 1, mixed: 1, transitions: 1 };
    assert_eq!((report.counts, report.failure_rate), (expected, Some(333)));
    assert_eq!(verdict(&report, PASSED_ON_RETRY), (Some(1), true));
    assert_eq!(verdict(&report, SAME_CODE), (Some(1), true));
    // One revision with the samples P F F P F F: three flips of five possible. But three runs are too few for a rate.
    assert_eq!(verdict(&report, FLIP_RATE), (None, false));
    // Two of six passed: -1/3 log2 1/3 - 2/3 log2 2/3 = 0.918.
    assert_eq!(verdict(&report, ENTROPY), (Some(918), false));
    assert_eq!(report.state, StepState::Flaky);
}

#[test]
fn attempts_of_a_step_within_an_attempt_count_as_well() {
    let (of, mut story) = (execution(1), Story::default());
    story.requested(of, Some("case"), None);
    story.started(of, 1);
    story.step(of, &step_run(1, "step", 1), Failed);
    story.step(of, &step_run(1, "step", 2), Passed);
    story.passed(of, 1, OutcomeTally::from([(Passed, 1)]));
    let report = report(&story, "step");
    assert_eq!((report.counts.runs, report.counts.failures, report.counts.passed_on_retry), (1, 0, 1));
    // What failed first is known: so flaky failures cluster, too.
    assert_eq!((report.clusters.len(), report.clusters[0].error.fingerprint.as_str()), (1, "f00d"));
}

#[test]
fn two_executions_of_one_commit_show_both_results_with_the_same_code() {
    let mut story = Story { revision: clean("c0ffee"), ..Story::default() };
    tell(&mut story, 1, &[Failed]);
    tell(&mut story, 2, &[Passed]);
    let flaky = report(&story, "step");
    assert_eq!((flaky.counts.passed_on_retry, verdict(&flaky, SAME_CODE)), (0, (Some(1), true)));
    assert_eq!(flaky.state, StepState::Flaky);
    // A working tree with changes of its own is another code each time.
    for revision in [None, Some(Revision { commit: "c0ffee".into(), dirty: true })] {
        let mut story = Story { revision, ..Story::default() };
        tell(&mut story, 1, &[Failed]);
        tell(&mut story, 2, &[Passed]);
        let report = report(&story, "step");
        assert_eq!((verdict(&report, SAME_CODE), report.state), ((Some(0), false), StepState::Healthy));
    }
}

#[test]
fn infrastructure_losses_and_what_was_not_judged_stand_apart() {
    let mut story = Story::default();
    let of = execution(1);
    story.requested(of, Some("case"), None);
    story.started(of, 1);
    for (step_attempt, outcome) in (1..).zip([Interrupted, Cancelled, Skipped]) {
        story.step(of, &step_run(1, "step", step_attempt), outcome);
    }
    let run = step_run(1, "step", 4);
    let error = Some(StepErrorFacts { kind: ErrorKind::Infrastructure, fingerprint: "dead".into() });
    story.tell(of, StepFinished { error, ..step_finished(&run, Error) });
    story.step(of, &step_run(1, "step", 5), Passed);
    let report = report(&story, "step");
    assert_eq!((report.lost, report.not_judged), (2, 2));
    assert_eq!(report.counts, Counts { runs: 1, ..Counts::default() });
    assert_eq!((report.state, report.clusters.len()), (StepState::Healthy, 0));
}

#[test]
fn a_run_over_midnight_is_one_run() {
    let (of, mut story) = (execution(1), Story::default());
    story.requested(of, Some("case"), None);
    story.started(of, 1);
    story.now = -DAY_MS;
    story.step(of, &step_run(1, "step", 1), Failed);
    story.now = 0;
    story.step(of, &step_run(1, "step", 2), Passed);
    let views = fold(&FlakySteps, &story.events);
    assert_eq!(views.values().filter_map(FlakyView::bucket).count(), 2);
    let counts = window(&views, "step", day(0), 2).counts();
    assert_eq!(counts, Counts { runs: 1, failures: 0, passed_on_retry: 1, mixed: 1, transitions: 0 });
    assert_eq!(window(&views, "step", day(0), 1).counts(), Counts { runs: 1, ..Counts::default() });
    // The flip is between the days, and only who joins them sees it.
    let state = |days| reliability(&window(&views, "step", day(0), days), &Thresholds::default()).state;
    assert_eq!((state(1), state(2)), (StepState::Healthy, StepState::Flaky));
}

#[test]
fn equal_failures_cluster_the_most_frequent_first() {
    let mut story = Story::default();
    for (of, fingerprint) in (1..).zip(["rare", "often", "often", "rarer", "often", "rare"]) {
        let (of, run) = (execution(of), step_run(1, "step", 1));
        story.requested(of, Some("case"), None);
        story.started(of, 1);
        let error = Some(StepErrorFacts { kind: ErrorKind::Timeout, fingerprint: fingerprint.into() });
        story.tell(of, StepFinished { error, ..step_finished(&run, Failed) });
    }
    let clusters = report(&story, "step").clusters;
    let found: Vec<_> = clusters.iter().map(|it| (it.error.fingerprint.as_str(), it.runs)).collect();
    assert_eq!(found, [("often", 3), ("rare", 2), ("rarer", 1)]);
    assert!(clusters[0].first_at < clusters[0].last_at && clusters[2].first_at == clusters[2].last_at);
}

#[test]
fn a_test_that_its_tool_tried_again_was_mixed() {
    let (of, run, mut story) = (execution(1), step_run(1, "pytest", 1), Story::default());
    story.requested(of, Some("case"), None);
    story.started(of, 1);
    story.step_started(of, &run);
    let mut event = reported(&run, &[Passed, Passed, Failed]);
    event.results[1].detail = Some("flaky".into());
    let event_id = story.tell(of, event);
    story.step_finished(of, &run, Failed);
    for (test, expected) in [
        ("test_0", Counts { runs: 1, ..Counts::default() }),
        ("test_1", Counts { runs: 1, passed_on_retry: 1, mixed: 1, ..Counts::default() }),
        ("test_2", Counts { runs: 1, failures: 1, ..Counts::default() }),
        ("pytest", Counts { runs: 1, failures: 1, ..Counts::default() }),
    ] {
        assert_eq!(report(&story, test).counts, expected, "{test}");
    }
    // The name of a test may be erased: the label says where it stands.
    let label = report(&story, "test_2").label;
    let named_by = label.named_by.unwrap();
    assert_eq!((label.step.as_str(), named_by.event_id, named_by.row), ("pytest", event_id, 2));
    assert_eq!(report(&story, "pytest").label.named_by, None);
}

/// A suite of so many cases, of which the first fail.
fn tell_suite(story: &mut Story, number: u128, cases: u128, failing: u128) {
    let suite = execution(number * 1000);
    story.requested(suite, None, None);
    for case in 1..=cases {
        let of = execution(number * 1000 + case);
        let outcome = if case <= failing { Failed } else { Passed };
        story.requested(of, Some("case"), Some(suite));
        story.started(of, 1);
        story.step(of, &step_run(1, &format!("step-{case}"), 1), outcome);
        let tally = OutcomeTally::from([(outcome, 1)]);
        if outcome == Passed {
            story.passed(of, 1, tally)
        } else {
            story.failed(of, 1, false, tally)
        };
    }
    story.failed(suite, 1, false, OutcomeTally::new());
}

#[test]
fn a_run_in_which_nearly_everything_failed_says_nothing_of_its_steps() {
    let mut story = Story::default();
    tell_suite(&mut story, 1, 10, 0);
    tell_suite(&mut story, 2, 10, 9);
    tell_suite(&mut story, 3, 10, 8);
    tell_suite(&mut story, 4, 9, 9);
    let views = fold(&FlakySteps, &story.events);
    let register = views[&FlakyKey::MassFailures(day(0))].mass_failures().unwrap();
    assert_eq!((register.count, register.runs[0].root_id), (1, execution(2000)));
    let tally = Judged { judged: 10, failed: 9 };
    assert_eq!(register.runs[0].tally, RunTally { cases: tally, steps: tally });
    for (step, counts, mass_failures) in [
        ("step-1", Counts { runs: 3, failures: 2, transitions: 1, ..Counts::default() }, 1),
        ("step-9", Counts { runs: 3, failures: 1, transitions: 1, ..Counts::default() }, 1),
        ("step-10", Counts { runs: 2, ..Counts::default() }, 1),
    ] {
        let window = window(&views, step, day(0), WINDOW_DAYS);
        assert_eq!((window.counts(), window.mass_failures), (counts, mass_failures), "{step}");
    }
    // While the run is under way nobody knows; the bucket keeps all of it.
    let before = fold(&FlakySteps, &story.events[..story.events.len() / 2]);
    assert!(before.contains_key(&FlakyKey::Bucket(step_key("step-1"), day(0))));
    let bucket = views[&FlakyKey::Bucket(step_key("step-1"), day(0))].bucket().unwrap();
    assert_eq!((bucket.counts.runs, bucket.counts.failures), (4, 3));
}

/// A case whose one step is tried again within an attempt, with a report each time; and its register, if it has one.
fn guarded(reports: &[[StepOutcome; 12]], attempts_of_case: bool) -> Option<RunTally> {
    let (of, mut story) = (execution(1), Story::default());
    story.requested(of, Some("case"), None);
    story.started(of, 1);
    for (number, outcomes) in (1..).zip(reports) {
        let is_last = number as usize == reports.len();
        let run = if attempts_of_case { step_run(number, "pytest", 1) } else { step_run(1, "pytest", number) };
        story.step_started(of, &run);
        story.reported(of, &run, outcomes);
        story.step_finished(of, &run, Failed);
        if attempts_of_case && !is_last {
            story.failed(of, number, true, OutcomeTally::from([(Failed, 1)]));
            story.started(of, number + 1);
        }
    }
    story.failed(of, 1, false, OutcomeTally::from([(Failed, 1)]));
    let views = fold(&FlakySteps, &story.events);
    views.get(&FlakyKey::MassFailures(day(0))).map(|view| view.mass_failures().unwrap().runs[0].tally)
}

#[test]
fn a_report_of_failures_alone_is_guarded_and_only_its_last_try_counts() {
    // The twelve results, and the step whose report they are.
    let all = Some(Judged { judged: 13, failed: 13 });
    for attempts_of_case in [false, true] {
        let steps = |reports: &[[StepOutcome; 12]]| guarded(reports, attempts_of_case).map(|tally| tally.steps);
        assert_eq!(steps(&[[Failed; 12]]), all);
        assert_eq!(steps(&[[Passed; 12], [Failed; 12]]), all);
        assert_eq!(steps(&[[Failed; 12], [Passed; 12]]), None);
    }
}

#[test]
fn more_runs_of_a_day_than_are_listed_are_counted() {
    let mut story = Story::default();
    let outcome = |run: u128| if run.is_multiple_of(3) { Failed } else { Passed };
    (0..1000).for_each(|run| tell(&mut story, run + 1, &[outcome(run)]));
    let views = fold(&FlakySteps, &story.events);
    let view = &views[&FlakyKey::Bucket(step_key("step"), day(0))];
    let bucket = view.bucket().unwrap();
    // F P P F P P ...: 334 failures; two transitions in three runs, the last run is a failure.
    let expected = Counts { runs: 1000, failures: 334, transitions: 666, ..Counts::default() };
    assert_eq!((bucket.counts, bucket.runs.len(), bucket.older.runs), (expected, MAX_LISTED_RUNS, 800));
    assert_eq!(window(&views, "step", day(0), 1).counts(), expected);
    assert!(serde_json::to_vec(view).unwrap().len() < 128 << 10);
}

#[test]
fn the_version_of_the_projection_follows_from_its_rules() {
    assert_eq!(FlakySteps::VERSION, 2 + RUNS.version + DURATIONS.version + MASS_FAILURE.version);
}

/// What one run is to do, for a story that is drawn.
#[derive(Clone, Debug)]
struct Drawn {
    day: i64,
    outcomes: Vec<StepOutcome>,
    revision: Option<u8>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let outcome = prop_oneof![4 => Just(Passed), 2 => Just(Failed), 1 => Just(Timeout), 1 => Just(Interrupted), 1 => Just(Skipped)];
    let outcomes = prop::collection::vec(outcome, 1..4);
    (0i64..40, outcomes, prop::option::of(0u8..3)).prop_map(|(day, outcomes, revision)| Drawn {
        day,
        outcomes,
        revision,
    })
}

/// What a window says, worked out from the runs themselves without any bucket.
fn expected(runs: &[Drawn], from: i64, to: i64) -> (Counts, u64, u64, u64) {
    let within = || runs.iter().filter(|run| (from..=to).contains(&run.day));
    let all = |outcome: StepOutcome| within().flat_map(|run| &run.outcomes).filter(|it| **it == outcome).count() as u64;
    let judged: Vec<Vec<bool>> = within()
        .map(|run| {
            run.outcomes.iter().filter(|it| ![Interrupted, Skipped].contains(it)).map(|it| *it == Passed).collect()
        })
        .filter(|samples: &Vec<bool>| !samples.is_empty())
        .collect();
    let ends: Vec<bool> = judged.iter().map(|samples| *samples.last().unwrap()).collect();
    let mixed = |samples: &&Vec<bool>| samples.contains(&true) && samples.contains(&false);
    let counts = Counts {
        runs: judged.len() as u64,
        failures: ends.iter().filter(|end| !**end).count() as u64,
        passed_on_retry: judged.iter().filter(mixed).filter(|samples| *samples.last().unwrap()).count() as u64,
        mixed: judged.iter().filter(mixed).count() as u64,
        transitions: ends.windows(2).filter(|two| two[0] != two[1]).count() as u64,
    };
    (counts, all(Interrupted), all(Skipped), all(Passed))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_window_of_buckets_says_what_the_runs_themselves_say(mut runs in prop::collection::vec(drawn(), 0..40), days in 1u32..35) {
        runs.sort_by_key(|run| run.day);
        let mut story = Story::default();
        for (number, run) in (1..).zip(&runs) {
            story.now = story.now.max(run.day * DAY_MS);
            story.revision = run.revision.and_then(|revision| clean(&format!("v{revision}")));
            tell(&mut story, number, &run.outcomes);
        }
        let views = fold(&FlakySteps, &story.events);
        let last = 39;
        let found = window(&views, "step", day(last), days);
        let from = last - i64::from(days) + 1;
        let said = (found.counts(), found.lost, found.not_judged, found.durations.len());
        prop_assert_eq!(said, expected(&runs, from, last));
        let again = reliability(&found, &Thresholds::default());
        prop_assert_eq!(again, reliability(&window(&views, "step", day(last), days), &Thresholds::default()));
    }

    #[test]
    fn the_documents_do_not_depend_on_batches(seed: u64, sizes in prop::collection::vec(1usize..40, 1..6)) {
        let mut histories = Histories::new(seed, Hash::of(b"plan"));
        let events = recorded(&[histories.suite("one", 5), histories.suite("two", 3)].concat());
        prop_assert_eq!(fold_in(&FlakySteps, &events, sizes), fold_in(&FlakySteps, &events, vec![usize::MAX]));
    }

    #[test]
    fn no_text_that_could_be_erased_is_in_any_document(seed: u64) {
        let mut histories = Histories::new(seed, Hash::of(b"plan"));
        let mut story = Story::after(recorded(&histories.suite("one", 4)));
        let views = fold(&FlakySteps, &story.events);
        prop_assert_eq!(&views, &fold(&FlakySteps, &all_erased(&story.events)));
        let text = serde_json::to_string(&views.values().collect::<Vec<_>>()).unwrap();
        for erasable in ["test_1", "said so", "by name", "a step"] {
            prop_assert!(!text.contains(erasable), "{erasable}");
        }
        story.erase(story.events[3].event_id);
        prop_assert_eq!(fold(&FlakySteps, &story.events), fold(&FlakySteps, &after_erasures(&story.events)));
    }

    #[test]
    fn documents_hold_whole_numbers_only_and_are_read_back(seed: u64) {
        let mut histories = Histories::new(seed, Hash::of(b"plan"));
        for view in fold(&FlakySteps, &recorded(&histories.suite("one", 4))).values() {
            let value = serde_json::to_value(view).unwrap();
            prop_assert!(has_whole_numbers_only(&value), "{value}");
            prop_assert_eq!(&serde_json::from_value::<FlakyView>(value).unwrap(), view);
        }
    }
}

fn all_erased(events: &[Recorded]) -> Vec<Recorded> {
    let without = |it: &Recorded| Recorded { event: support::story::without_text(&it.event), ..it.clone() };
    events.iter().map(without).collect()
}

#[test]
fn a_step_is_the_same_wherever_it_stands_in_its_case() {
    let mut story = Story::default();
    for (of, index) in [(1, 0), (2, 7)] {
        let (of, run): (ExecutionId, _) = (execution(of), step_run(1, "step", 1));
        story.requested(of, Some("case"), None);
        story.started(of, 1);
        story.tell(of, StepStarted { index, ..support::story::step_started(&run) });
        story.step_finished(of, &run, Passed);
    }
    assert_eq!(report(&story, "step").counts.runs, 2);
}

#[test]
fn a_report_of_many_results_is_one_bucket_each() {
    let (of, run, mut story) = (execution(1), step_run(1, "pytest", 1), Story::default());
    story.requested(of, Some("case"), None);
    story.started(of, 1);
    story.step_started(of, &run);
    story.reported(of, &run, &[Passed; 20_000]);
    story.step_finished(of, &run, Passed);
    let views = fold(&FlakySteps, &story.events);
    assert_eq!(views.values().filter_map(FlakyView::bucket).count(), 20_001);
    assert_eq!(report(&story, "test_19999").counts.runs, 1);
}
