//! A run as JUnit XML, for the systems that read it.
//!
//! The run is one `<testsuite>` of its cases; each step with a tool's report is a `<testsuite>` of its own, named
//! `suite/case/step`, with the reported results. A case stands for itself as a `<testcase>` unless reported results say
//! all there is to say: it has some, and it passed or one of them is what went wrong.
//!
//! | what | written as |
//! |---|---|
//! | PASSED | a `<testcase>`; each failed try before as `<flakyFailure>` or `<flakyError>` |
//! | FAILED | `<failure>`; `<error>` where the step could not be carried out, a service was not ready or workers were lost |
//! | TIMEOUT | `<failure type="test timeout">` |
//! | not run, SKIPPED | `<skipped>` with the reason |
//! | CANCELLED or ABORTED after its start, INTERRUPTED, BLOCKED, not finished | `<error>` of that type |

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite, XmlString};
use testledger_schemas::event::FailureReason;
use testledger_schemas::{ExecutionStatus, StepOutcome};

use super::model::{EndReason, ExecutionReport, ReportedEntry, RunReport, StepReport};

/// The run as JUnit XML. Texts are cleared of terminal escapes and of characters that XML cannot hold.
#[must_use]
pub fn write(report: &RunReport) -> String {
    write_all(std::slice::from_ref(report))
}

/// Several runs, one after the other, as one report. It bears the name and the id of a run where there is but one.
#[must_use]
pub fn write_all(reports: &[RunReport]) -> String {
    let roots = || reports.iter().filter_map(RunReport::root);
    let only = roots().next().filter(|_| reports.len() == 1);
    let mut written = Report::new(text(only.map_or("testledger", |root| &root.label)));
    if let Some(root) = only {
        written.set_uuid(root.id.0);
    }
    let total_ms = roots().map(ExecutionReport::duration_ms).fold(0, u64::saturating_add);
    written.set_time(Duration::from_millis(total_ms));
    for report in reports {
        written.add_test_suites(suites(report));
    }
    // Writing to a string can only fail for want of memory; an empty report is then no report to any reader.
    written.to_string().unwrap_or_default()
}

/// The suites of one run: its own cases, unless reported results say all, and one for each step with a report.
fn suites(report: &RunReport) -> Vec<TestSuite> {
    let Some(root) = report.root() else { return vec![] };
    let mut own = TestSuite::new(text(&root.suite));
    own.set_time(Duration::from_millis(root.duration_ms()));
    own.extra.insert(text("timestamp"), text(&root.requested_at.to_string()));
    own.add_property((text("testledger.execution"), text(&root.id.to_string())));
    let mut suites = Vec::new();
    for case in report.cases() {
        if !is_said_by_reports(case) {
            own.add_test_case(own_case(case));
        }
        suites.extend(case.final_steps().filter(|step| !step.reported.is_empty()).map(|step| step_suite(case, step)));
    }
    if !own.test_cases.is_empty() || suites.is_empty() {
        suites.insert(0, own);
    }
    suites
}

/// A text that XML can hold: `quick_junit` takes away escapes and control characters, but not the two non-characters
/// that XML 1.0 excludes (section 2.2).
fn text(raw: &str) -> XmlString {
    XmlString::new(raw.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}"))
}

/// Whether the reported results of a case say all there is to say of it.
fn is_said_by_reports(case: &ExecutionReport) -> bool {
    let mut results = case.final_steps().flat_map(|step| &step.reported).peekable();
    let has_any = results.peek().is_some();
    has_any && (case.status == ExecutionStatus::Passed || results.any(|entry| is_bad(entry.result.outcome)))
}

fn is_bad(outcome: StepOutcome) -> bool {
    !outcome.lets_the_case_go_on()
}

fn own_case(case: &ExecutionReport) -> TestCase {
    let mut status = case_status(case);
    status.add_reruns(case.retries().map(rerun));
    let mut written = TestCase::new(text(&case.label), status);
    written.set_classname(text(&case.suite));
    written.set_time(Duration::from_millis(case.duration_ms()));
    if let Some(output) = case.failing_step().map(StepReport::output).filter(|output| !output.is_empty()) {
        written.set_system_out(text(&output));
    }
    written
}

fn case_status(case: &ExecutionReport) -> TestCaseStatus {
    let reason = case.reason.map_or("", EndReason::words);
    match case.status {
        ExecutionStatus::Passed => TestCaseStatus::success(),
        ExecutionStatus::Cancelled if case.is_not_run() => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(text(&format!("not run: {reason}")));
            status
        }
        ExecutionStatus::Failed => failure(kind_of(case), "failed", case, reason),
        ExecutionStatus::Timeout => failure(NonSuccessKind::Failure, "test timeout", case, "it ran out of time"),
        ExecutionStatus::Cancelled | ExecutionStatus::Aborted => {
            failure(NonSuccessKind::Error, "cancelled", case, reason)
        }
        ExecutionStatus::Pending | ExecutionStatus::Running | ExecutionStatus::Retrying => {
            failure(NonSuccessKind::Error, "not finished", case, "its end is not recorded")
        }
    }
}

/// A failed assertion, or something that kept the case from being carried out.
fn kind_of(case: &ExecutionReport) -> NonSuccessKind {
    match case.reason {
        Some(EndReason::Failure(FailureReason::Setup | FailureReason::Infrastructure)) => NonSuccessKind::Error,
        Some(EndReason::Failure(FailureReason::Step | FailureReason::Case) | EndReason::Cancel(_)) | None => {
            case.failing_step().and_then(|step| step.outcome).map_or(NonSuccessKind::Failure, kind_of_outcome)
        }
    }
}

fn kind_of_outcome(outcome: StepOutcome) -> NonSuccessKind {
    match outcome {
        StepOutcome::Failed | StepOutcome::Timeout | StepOutcome::Passed | StepOutcome::Skipped => {
            NonSuccessKind::Failure
        }
        StepOutcome::Error | StepOutcome::Cancelled | StepOutcome::Interrupted | StepOutcome::Blocked => {
            NonSuccessKind::Error
        }
    }
}

fn failure(kind: NonSuccessKind, type_name: &str, case: &ExecutionReport, otherwise: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(text(type_name));
    match case.failing_step() {
        Some(step) => {
            status.set_message(text(&format!("step {}: {}", step.run.step, first_line(&step.message, otherwise))));
            status.set_description(text(&details_of(step)));
        }
        None => {
            status.set_message(text(otherwise));
        }
    }
    status
}

fn first_line<'a>(message: &'a str, otherwise: &'a str) -> &'a str {
    message.lines().find(|line| !line.trim().is_empty()).unwrap_or(otherwise)
}

fn details_of(step: &StepReport) -> String {
    let unsaid = step.expectations.iter().filter(|line| !step.message.contains(line.as_str()));
    std::iter::once(&step.message).chain(unsaid).map(String::as_str).collect::<Vec<_>>().join("\n")
}

fn rerun(step: &StepReport) -> TestRerun {
    let mut rerun = TestRerun::new(step.outcome.map_or(NonSuccessKind::Failure, kind_of_outcome));
    rerun.set_time(Duration::from_millis(step.duration_ms));
    let place = format!("attempt {}, step {}", step.run.attempt, step.run.step);
    rerun.set_message(text(&format!("{place}: {}", first_line(&step.message, "it failed"))));
    rerun.set_description(text(&details_of(step)));
    rerun
}

fn step_suite(case: &ExecutionReport, step: &StepReport) -> TestSuite {
    let mut suite = TestSuite::new(text(&format!("{}/{}/{}", case.suite, case.label, step.run.step)));
    suite.set_time(Duration::from_millis(step.duration_ms));
    suite.add_test_cases(step.reported.iter().map(reported_case));
    suite
}

/// A reported result, with `place::name` taken apart again for those who sort by class.
fn reported_case(entry: &ReportedEntry) -> TestCase {
    let (place, name) = entry.case.name.split_once("::").unwrap_or(("", &entry.case.name));
    let mut written = TestCase::new(text(name), reported_status(entry));
    if !place.is_empty() {
        written.set_classname(text(place));
    }
    written.set_time(Duration::from_millis(entry.result.duration_ms));
    written
}

fn reported_status(entry: &ReportedEntry) -> TestCaseStatus {
    let detail = entry.result.detail.as_deref().unwrap_or_default();
    let message = &entry.case.message;
    let bad = |kind, type_name: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(text(first_line(message, detail)));
        status.set_description(text(message));
        typed(status, type_name)
    };
    match entry.result.outcome {
        StepOutcome::Passed => {
            let mut status = TestCaseStatus::success();
            if detail == "flaky" {
                status.add_rerun(flaky(message));
            }
            status
        }
        StepOutcome::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(text(first_line(message, detail)));
            typed(status, if detail == "xfail" { "pytest.xfail" } else { detail })
        }
        StepOutcome::Failed => bad(NonSuccessKind::Failure, detail),
        StepOutcome::Timeout => bad(NonSuccessKind::Failure, "test timeout"),
        StepOutcome::Error => bad(NonSuccessKind::Error, detail),
        StepOutcome::Cancelled | StepOutcome::Interrupted | StepOutcome::Blocked => {
            bad(NonSuccessKind::Error, entry.result.outcome.as_str())
        }
    }
}

fn typed(mut status: TestCaseStatus, type_name: &str) -> TestCaseStatus {
    if !type_name.is_empty() {
        status.set_type(text(type_name));
    }
    status
}

fn flaky(message: &str) -> TestRerun {
    let mut rerun = TestRerun::new(NonSuccessKind::Failure);
    rerun.set_message(text(first_line(message, "an earlier try failed")));
    rerun.set_description(text(message));
    rerun
}

#[cfg(test)]
mod tests;
