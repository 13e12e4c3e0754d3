//! One line for each thing that happened: a case that ended or will be tried again, a service, a lost worker.

use testledger_schemas::event::{CancellationRequested, ExecutionKind, ServiceEnd, ServiceStopped};
use testledger_schemas::{Event, StepOutcome};

use super::failure;
use super::style::{DIM, STRONG, indented, of_status, one_line, printable, styled};
use crate::report::model::words::{cancel_reason, duration};
use crate::report::model::{EndReason, ExecutionReport, excerpt_text};

/// The width of the first column: the longest status.
const STATUS_WIDTH: usize = 9;
/// The width of a duration.
const DURATION_WIDTH: usize = 11;
/// The longest message on a line of its own.
const MESSAGE_WIDTH: usize = 160;

/// What an event, already applied to its execution's report, has to say. Empty where it says nothing to people.
pub(super) fn of_event(report: &ExecutionReport, event: &Event) -> String {
    let is_case = report.kind == ExecutionKind::Case;
    match event {
        Event::ExecutionPassed(_) | Event::ExecutionCancelled(_) | Event::ExecutionAborted(_) if is_case => {
            ended(report)
        }
        Event::ExecutionFailed(_) | Event::ExecutionTimedOut(_) if is_case && report.is_final() => ended(report),
        Event::ExecutionFailed(_) | Event::ExecutionTimedOut(_) if is_case => will_retry(report),
        Event::ServiceStarted(started) => {
            let text = format!("{} is ready (process {})", started.service, started.pid);
            dim_line("service", started.ready_after_ms, &text)
        }
        Event::ServiceStopped(stopped) => service_stopped(stopped),
        Event::ExecutionInterrupted(_) => note(&report.label, "its worker was lost"),
        Event::ExecutionRecovered(recovered) if recovered.restarts => note(&report.label, "begins anew"),
        Event::ExecutionRecovered(recovered) => {
            note(&report.label, &format!("goes on with step {}", recovered.next_step.saturating_add(1)))
        }
        Event::CancellationRequested(CancellationRequested { reason }) if report.parent.is_none() => {
            note(&report.label, &format!("is being cancelled: {}", cancel_reason(*reason)))
        }
        Event::ExecutionPassed(_)
        | Event::ExecutionFailed(_)
        | Event::ExecutionTimedOut(_)
        | Event::ExecutionCancelled(_)
        | Event::ExecutionAborted(_)
        | Event::ExecutionRequested(_)
        | Event::ExecutionReady(_)
        | Event::ExecutionClaimed(_)
        | Event::ClaimReleased(_)
        | Event::ExecutionStarted(_)
        | Event::ExecutionRetryScheduled(_)
        | Event::StepStarted(_)
        | Event::StepFinished(_)
        | Event::StepResultsReported(_)
        | Event::HookFinished(_)
        | Event::VerdictRequested(_)
        | Event::VerdictSubmitted(_)
        | Event::ArtifactAttached(_)
        | Event::CancellationRequested(_)
        | Event::DataErased(_)
        | Event::WorkerStarted(_)
        | Event::WorkerStopped(_) => String::new(),
    }
}

/// The line of a case that ended, and why where it did not pass.
fn ended(report: &ExecutionReport) -> String {
    let remark = remark(report).map_or(String::new(), |remark| format!("  {}", styled(DIM, &remark)));
    let mut lines = format!("{}{remark}\n", case_line(report));
    lines.push_str(&failure::details(report));
    lines
}

/// Status, duration and label of a case.
pub(super) fn case_line(report: &ExecutionReport) -> String {
    let status = styled(of_status(report.status), &format!("{:>STATUS_WIDTH$}", report.status_word()));
    format!("{status} [{:>DURATION_WIDTH$}] {}", duration(report.duration_ms()), printable(&report.label))
}

/// What else is to be known of a case that ended.
fn remark(report: &ExecutionReport) -> Option<String> {
    let reported: usize = report.final_steps().map(|step| step.reported.len()).sum();
    let mut remarks = Vec::new();
    if let Some(reason @ EndReason::Cancel(_)) = report.reason {
        remarks.push(reason.words().to_owned());
    }
    let tries = report.retries().count();
    if tries > 0 {
        remarks.push(format!("after {tries} failed {}", if tries == 1 { "try" } else { "tries" }));
    }
    if reported > 0 {
        remarks.push(format!("{reported} reported results"));
    }
    (!remarks.is_empty()).then(|| remarks.join(", "))
}

fn will_retry(report: &ExecutionReport) -> String {
    let Some(attempt) = report.last_attempt() else { return String::new() };
    let why = attempt.steps.iter().rev().find(|step| step.is_bad());
    let why = why.map_or_else(
        || {
            if report.status == testledger_schemas::ExecutionStatus::Timeout { "it ran out of time" } else { "" }
                .to_owned()
        },
        |step| format!("step {}: {}", step.run.step, one_line(&step.message, MESSAGE_WIDTH)),
    );
    let status =
        styled(of_status(testledger_schemas::ExecutionStatus::Retrying), &format!("{:>STATUS_WIDTH$}", "RETRYING"));
    let took = duration(attempt.duration_ms);
    format!("{status} [{took:>DURATION_WIDTH$}] {}  attempt {}: {why}\n", printable(&report.label), attempt.number)
}

fn service_stopped(stopped: &ServiceStopped) -> String {
    let what = match stopped.end {
        ServiceEnd::Stopped => return String::new(),
        ServiceEnd::Exited => "ended by itself",
        ServiceEnd::NotReady => "did not become ready",
        ServiceEnd::NotStarted => "could not be started",
        ServiceEnd::WorkerLost => "was lost with its worker",
    };
    let Some(content) = stopped.content.kept() else { return note(&stopped.service, what) };
    let (first, rest) = content.message.split_once('\n').unwrap_or((&content.message, ""));
    let subject = format!("service {}", stopped.service);
    // Most messages begin with what stands there anyway.
    let what = match first.strip_prefix(&subject) {
        Some(rest) => printable(rest.trim_start()),
        None if first.is_empty() => what.to_owned(),
        None => format!("{what}: {}", printable(first)),
    };
    let mut lines = note(&subject, &what);
    if content.excerpts.is_empty() {
        lines.push_str(&indented(failure::INDENT, &printable(rest)));
    }
    for excerpt in &content.excerpts {
        lines.push_str(&failure::last_lines(excerpt.stream, &excerpt_text(excerpt)));
    }
    lines
}

fn dim_line(word: &str, ms: u64, text: &str) -> String {
    let line = format!("{word:>STATUS_WIDTH$} [{:>DURATION_WIDTH$}] {}", duration(ms), printable(text));
    format!("{}\n", styled(DIM, &line))
}

fn note(subject: &str, text: &str) -> String {
    format!("{:>STATUS_WIDTH$} {} {text}\n", "", styled(STRONG, &printable(subject)))
}

/// Outcomes in the words of a sentence.
pub(super) fn outcome_word(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Passed => "passed",
        StepOutcome::Failed => "failed",
        StepOutcome::Error => "could not be carried out",
        StepOutcome::Timeout => "ran out of time",
        StepOutcome::Cancelled => "cancelled",
        StepOutcome::Skipped => "skipped",
        StepOutcome::Interrupted => "interrupted",
        StepOutcome::Blocked => "blocked",
    }
}
