//! Why a case did not pass: the step, its message and expectations, what its tool reported, the end of its output.

use testledger_schemas::event::OutputStream;

use super::lines::outcome_word;
use super::style::{DIM, STRONG, cut, indented, of_outcome, one_line, printable, styled};
use crate::report::model::{ExecutionReport, ReportedEntry, StepReport, excerpt_text};

/// What leads every line below a case.
pub(super) const INDENT: &str = "          ";
/// So many of the last lines of an output are shown.
const OUTPUT_LINES: usize = 20;
/// The longest line that is shown.
const LINE_WIDTH: usize = 400;
/// So many reported results that did not pass are shown by name.
const REPORTED_LINES: usize = 10;

/// Everything below the line of a case that did not pass. Empty for one that did, or was not run.
pub(super) fn details(report: &ExecutionReport) -> String {
    let Some(step) = report.failing_step() else { return without_step(report) };
    let outcome = step.outcome.map_or("", outcome_word);
    let message = if step.message.is_empty() { outcome } else { &step.message };
    let mut text =
        format!("{INDENT}{}\n", styled(STRONG, &format!("step {}: {}", step.run.step, one_line(message, LINE_WIDTH))));
    text.push_str(&indented(INDENT, &printable(&message.lines().skip(1).collect::<Vec<_>>().join("\n"))));
    text.push_str(&command(step));
    for line in step.expectations.iter().filter(|line| !message.contains(line.as_str())) {
        text.push_str(&indented(INDENT, &format!("- {}", printable(line))));
    }
    text.push_str(&reported(&step.reported));
    for excerpt in &step.excerpts {
        text.push_str(&last_lines(excerpt.stream, &excerpt_text(excerpt)));
    }
    text
}

/// A case that failed without a failing step: a service, a lost worker.
fn without_step(report: &ExecutionReport) -> String {
    match report.reason {
        Some(reason) if !report.is_not_run() => format!("{INDENT}{}\n", reason.words()),
        Some(_) | None => String::new(),
    }
}

fn command(step: &StepReport) -> String {
    if step.inputs.is_empty() {
        return String::new();
    }
    let line = cut(&printable(&step.inputs.join(" ")).replace('\n', " "), LINE_WIDTH).into_owned();
    format!("{INDENT}{}\n", styled(DIM, &format!("$ {line}")))
}

fn reported(entries: &[ReportedEntry]) -> String {
    let bad = || entries.iter().filter(|entry| !entry.result.outcome.lets_the_case_go_on());
    let count = bad().count();
    if count == 0 {
        return String::new();
    }
    let mut text = format!("{INDENT}{count} of {} reported results did not pass:\n", entries.len());
    for ReportedEntry { result, case } in bad().take(REPORTED_LINES) {
        let outcome = styled(of_outcome(result.outcome), &format!("{:>7}", result.outcome));
        let detail = result.detail.as_deref().map_or(String::new(), |detail| format!(" ({})", printable(detail)));
        let name = printable(&case.name).replace('\n', " ");
        let message = one_line(&case.message, LINE_WIDTH / 4);
        let message = if message.is_empty() { message } else { format!(": {message}") };
        text.push_str(&format!("{INDENT}{outcome} {name}{detail}{message}\n"));
    }
    if count > REPORTED_LINES {
        text.push_str(&format!("{INDENT}    and {} more\n", count - REPORTED_LINES));
    }
    text
}

/// The last lines of an output.
pub(super) fn last_lines(stream: OutputStream, output: &str) -> String {
    let output = printable(output);
    let lines: Vec<&str> = output.lines().collect();
    let shown = &lines[lines.len().saturating_sub(OUTPUT_LINES)..];
    if shown.is_empty() {
        return String::new();
    }
    let name = match stream {
        OutputStream::Stdout => "standard output",
        OutputStream::Stderr => "standard error",
        OutputStream::Body => "response",
    };
    let which = if shown.len() < lines.len() { format!(", last {} lines", shown.len()) } else { String::new() };
    let mut text = format!("{INDENT}{}\n", styled(DIM, &format!("--- {name}{which}")));
    for line in shown {
        text.push_str(&format!("{INDENT}{}\n", cut(line, LINE_WIDTH)));
    }
    text
}
