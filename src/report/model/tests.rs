//! Tests of the fold.

use testledger_schemas::event::{CancelReason, FailureReason};
use testledger_schemas::{ExecutionStatus, StepOutcome};

use super::*;
use crate::report::samples::{ROOT, Sample, every_ending};

fn case<'a>(report: &'a RunReport, label: &str) -> &'a ExecutionReport {
    report.cases().find(|case| case.label == label).unwrap()
}

#[test]
fn every_ending_is_told_apart() {
    let report = every_ending().report();
    let root = report.root().unwrap();
    assert_eq!((root.id, root.status, root.label.as_str()), (ROOT, ExecutionStatus::Failed, "checkout"));
    let words: Vec<(&str, &str)> = report.cases().map(|case| (case.label.as_str(), case.status_word())).collect();
    let expected = [
        ("passes", "PASSED"),
        ("passes-on-second-try", "PASSED"),
        ("fails", "FAILED"),
        ("errs", "FAILED"),
        ("slow", "TIMEOUT"),
        ("unmet", "NOT RUN"),
        ("stopped", "CANCELLED"),
        ("aborted", "ABORTED"),
        ("unit", "FAILED"),
    ];
    assert_eq!(words, expected);
    assert_eq!(case(&report, "unmet").reason, Some(EndReason::Cancel(CancelReason::DependencyFailed)));
    assert_eq!(case(&report, "fails").failing_step().unwrap().run.step, "two");
}

#[test]
fn retries_are_bad_runs_that_were_not_the_last_word() {
    let report = every_ending().report();
    let second = case(&report, "passes-on-second-try");
    assert!(second.is_passed_on_retry());
    assert_eq!(second.retries().count(), 1, "an interrupted run is no retry");
    assert_eq!((second.attempts.len(), second.duration_ms()), (2, 2_600));
    assert!(!case(&report, "fails").is_passed_on_retry());
}

#[test]
fn counts_are_of_last_attempts() {
    let report = every_ending().report();
    assert_eq!(report.statuses()[&ExecutionStatus::Passed], 2);
    assert_eq!(report.statuses()[&ExecutionStatus::Cancelled], 2);
    assert_eq!(report.not_run(), 1);
    assert_eq!(report.step_outcomes()[&StepOutcome::Passed], 3);
    assert!(!report.step_outcomes().contains_key(&StepOutcome::Interrupted));
    let reported = report.reported_outcomes();
    let count = |outcome| reported.get(&outcome).copied().unwrap_or(0);
    assert_eq!(
        (
            count(StepOutcome::Passed),
            count(StepOutcome::Failed),
            count(StepOutcome::Error),
            count(StepOutcome::Skipped)
        ),
        (5, 4, 3, 2)
    );
}

#[test]
fn a_final_execution_is_one_that_will_not_be_tried_again() {
    let mut sample = Sample::command("pytest -q");
    sample.start(ROOT, 1);
    sample.fail(ROOT, 1, FailureReason::Step, true);
    assert!(!sample.report().root().unwrap().is_final());
    sample.start(ROOT, 2);
    sample.pass(ROOT, 2);
    let report = sample.report();
    let root = report.root().unwrap();
    assert!(root.is_final());
    assert_eq!((root.label.as_str(), root.reason, root.kind), ("pytest -q", None, ExecutionKind::Case));
}

#[test]
fn events_that_do_not_fit_change_nothing() {
    let mut sample = Sample::default();
    let stranger = ExecutionId::for_key("stranger");
    sample.start(stranger, 1);
    sample.step(stranger, (1, "one", 1), StepOutcome::Failed);
    assert!(sample.report().root().is_none());
    let mut sample = Sample::command("true");
    sample.finish_step(ROOT, (1, "one", 1), StepOutcome::Failed, |_, _| {});
    assert!(sample.report().root().unwrap().attempts.is_empty());
}

#[test]
fn durations_are_readable() {
    for (ms, text) in [
        (0, "0ms"),
        (999, "999ms"),
        (1_240, "1.24s"),
        (59_999, "59.99s"),
        (125_000, "2m 05s"),
        (3_665_000, "1h 01m 05s"),
    ] {
        assert_eq!(words::duration(ms), text);
    }
}
