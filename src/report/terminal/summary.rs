//! The end of a run: how many of what, how long, what did not pass, and where to look closer.

use std::collections::BTreeMap;

use testledger_schemas::event::{ExecutionKind, OutcomeTally};
use testledger_schemas::{ExecutionStatus, StepOutcome};

use super::lines::{case_line, outcome_word};
use super::style::{DIM, STRONG, of_outcome, of_status, one_line, printable, styled};
use crate::report::model::words::duration;
use crate::report::model::{EndReason, ExecutionReport, RunReport};

/// So many cases that did not pass are listed again at the end.
const LISTED: usize = 50;
/// So many of the slowest cases are named.
const SLOWEST: usize = 3;
/// The longest message of a wrapped command that is shown.
const MESSAGE_WIDTH: usize = 400;
/// The line above the summary.
const RULE: &str = "────────────";

/// How many reported results have each of the tools' own words, by outcome.
type Details = BTreeMap<(StepOutcome, String), u64>;

/// What the summary ends with.
#[derive(Clone, Debug, Default)]
pub struct Closing {
    /// `PAGE:HASH` of the page that holds the run's last commit: what proves later that nothing before it was changed.
    pub page: Option<String>,
    /// The command that looks closer at the execution.
    pub look_closer: String,
}

/// The summary of a run of a plan.
pub(super) fn full(report: &RunReport, closing: &Closing) -> String {
    let Some(root) = report.root() else { return String::new() };
    let mut text = format!("{}\n{}\n", styled(DIM, RULE), headline(root));
    if root.kind == ExecutionKind::Suite {
        text.push_str(&field("cases", &cases(report)));
    }
    text.push_str(&field("steps", &outcomes(&report.step_outcomes(), &Details::new())));
    text.push_str(&field("reported", &outcomes(&report.reported_outcomes(), &report.reported_details())));
    text.push_str(&field("slowest", &slowest(report)));
    if root.kind == ExecutionKind::Suite {
        text.push_str(&not_passed(report));
    }
    text.push_str(&field("execution", &root.id.to_string()));
    text.push_str(&field("page", closing.page.as_deref().unwrap_or_default()));
    text.push_str(&field("look closer", &closing.look_closer));
    text
}

/// The summary of a wrapped command, whose own output stands above it.
pub(super) fn short(report: &RunReport, closing: &Closing) -> String {
    let Some(root) = report.root() else { return String::new() };
    let reported = outcomes(&report.reported_outcomes(), &report.reported_details());
    let reported = if reported.is_empty() { reported } else { format!(", reported {reported}") };
    let page = closing.page.as_deref().map_or(String::new(), |page| format!("  page {page}"));
    format!(
        "testledger: {}{reported}\n{}testledger: execution {}{page}\ntestledger: look closer: {}\n",
        headline(root),
        not_carried_out(root),
        root.id,
        closing.look_closer
    )
}

/// Why a wrapped command could not be carried out; empty where its own output says what went wrong.
fn not_carried_out(root: &ExecutionReport) -> String {
    let step = root.failing_step().filter(|step| step.outcome == Some(StepOutcome::Error));
    step.map_or(String::new(), |step| format!("testledger: {}\n", one_line(&step.message, MESSAGE_WIDTH)))
}

fn headline(root: &ExecutionReport) -> String {
    let status = styled(of_status(root.status), root.status_word());
    let ended = root.last_attempt().and_then(|attempt| attempt.steps.last());
    let code = ended.filter(|_| root.parent.is_none() && root.kind == ExecutionKind::Case);
    let how = match code.map(|step| (step.exit_code, step.signal)) {
        Some((Some(code), _)) if code != 0 => format!(" (exit code {code})"),
        Some((None, Some(signal))) => format!(" (signal {signal})"),
        Some(_) | None => reason(root),
    };
    let took = duration(root.duration_ms());
    format!("{} {status}{how} in {took}", styled(STRONG, &printable(&root.label)))
}

fn reason(root: &ExecutionReport) -> String {
    root.reason.map_or(String::new(), |reason| format!(" ({})", EndReason::words(reason)))
}

fn field(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("{name:>11}  {value}\n") }
}

/// `9: 2 passed (1 after a failed try), 3 failed, ...`
fn cases(report: &RunReport) -> String {
    let not_run = report.not_run();
    let retried = report.cases().filter(|case| case.is_passed_on_retry()).count();
    let mut parts = Vec::new();
    for (status, count) in report.statuses() {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let shown = if status == ExecutionStatus::Cancelled { count - not_run.min(count) } else { count };
        if shown > 0 {
            parts.push(styled(of_status(status), &format!("{shown} {}", status_word(status))));
        }
        if status == ExecutionStatus::Passed && retried > 0 {
            parts.push(format!("of these {retried} after a failed try"));
        }
    }
    if not_run > 0 {
        parts.push(styled(of_status(ExecutionStatus::Cancelled), &format!("{not_run} not run")));
    }
    format!("{}: {}", report.cases().count(), parts.join(", "))
}

fn status_word(status: ExecutionStatus) -> &'static str {
    match status {
        ExecutionStatus::Pending => "pending",
        ExecutionStatus::Running => "running",
        ExecutionStatus::Passed => "passed",
        ExecutionStatus::Failed => "failed",
        ExecutionStatus::Cancelled => "cancelled",
        ExecutionStatus::Timeout => "timed out",
        ExecutionStatus::Retrying => "retrying",
        ExecutionStatus::Aborted => "aborted",
    }
}

/// `14: 5 passed, 4 failed (1 xpass), ...`; empty where there are none.
fn outcomes(tally: &OutcomeTally, details: &Details) -> String {
    let total: u64 = tally.values().sum();
    let part = |outcome: &StepOutcome| {
        let count = tally.get(outcome)?;
        let said = styled(of_outcome(*outcome), &format!("{count} {}", outcome_word(*outcome)));
        Some(format!("{said}{}", of_these(*outcome, details)))
    };
    let parts: Vec<String> = StepOutcome::ALL.iter().filter_map(part).collect();
    if total == 0 { String::new() } else { format!("{total}: {}", parts.join(", ")) }
}

/// ` (17 xfail, 1 todo)`; empty where the tools say no more than the outcome.
fn of_these(outcome: StepOutcome, details: &Details) -> String {
    let said = details.iter().filter(|((of, _), _)| *of == outcome);
    let said: Vec<String> = said.map(|((_, detail), count)| format!("{count} {}", printable(detail))).collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) }
}

fn slowest(report: &RunReport) -> String {
    let mut cases: Vec<&ExecutionReport> = report.cases().filter(|case| case.duration_ms() > 0).collect();
    if cases.len() < 2 {
        return String::new();
    }
    cases.sort_by_key(|case| std::cmp::Reverse(case.duration_ms()));
    let named = cases.iter().take(SLOWEST);
    named
        .map(|case| format!("{} {}", printable(&case.label), duration(case.duration_ms())))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The cases that were run and did not pass, once more, where a reader of a long log finds them.
fn not_passed(report: &RunReport) -> String {
    let bad = || report.cases().filter(|case| case.status != ExecutionStatus::Passed && !case.is_not_run());
    let count = bad().count();
    if count == 0 {
        return String::new();
    }
    let mut text = String::new();
    for case in bad().take(LISTED) {
        text.push_str(&format!("{}\n", case_line(case)));
    }
    if count > LISTED {
        text.push_str(&format!("          and {} more\n", count - LISTED));
    }
    text
}
