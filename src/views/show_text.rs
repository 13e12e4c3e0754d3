//! `executions show` for people: a header, then a tree of attempts and steps, or of a suite's cases.

use testledger_projections::executions::ExecutionView;
use testledger_schemas::StepOutcome;

use crate::views::list::{progress, status_text};
use crate::views::phrase::{constant, first_line, outcomes, time};
use crate::views::show::{AttemptShow, ChildShow, ExecutionShow, StepShow};

/// How many lines of a step's output are shown where it did not pass.
const OUTPUT_LINES: usize = 20;
/// How many reported failures are shown of each step.
const REPORTED_LINES: usize = 10;

/// The execution as text.
#[must_use]
pub fn text(show: &ExecutionShow) -> String {
    let mut lines = header(&show.execution);
    for attempt in &show.attempts {
        lines.extend(attempt_lines(attempt));
    }
    lines.extend(show.children.iter().map(child_line));
    lines.join("\n") + "\n"
}

fn header(view: &ExecutionView) -> Vec<String> {
    let mut lines = vec![format!("{}  {}", view.label, status_text(view)), format!("  id         {}", view.id)];
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            lines.push(format!("  {name:<10} {value}"));
        }
    };
    field("name", view.name.clone());
    field("source", view.source.clone());
    field("progress", Some(progress(view)));
    field("requested", view.requested_at.map(|at| format!("{at} by {}", view.actor)));
    field("started", view.started_at.map(|at| at.to_string()));
    field("finished", view.finished_at.map(|at| at.to_string()));
    field("took", view.duration_ms.map(|_| time(view.total_duration_ms)));
    field(
        "revision",
        view.revision.as_ref().map(|it| format!("{}{}", it.commit, if it.dirty { " (dirty)" } else { "" })),
    );
    field("tags", Some(view.tags.join(", ")));
    field("parent", view.parent_id.map(|id| id.to_string()));
    field("retry of", view.retry_of.map(|id| id.to_string()));
    field("failed", view.failure_reason.map(|reason| constant(&reason)));
    field("cancelled", view.cancel_reason.map(|reason| constant(&reason)));
    field("lost", (view.interruptions > 0).then(|| format!("its worker {} times", view.interruptions)));
    field("erased", (view.erasures > 0).then(|| format!("content of {} events", view.erasures)));
    for anomaly in &view.anomalies {
        field("anomaly", Some(format!("position {}: {}", anomaly.position, anomaly.reason)));
    }
    lines
}

fn attempt_lines(attempt: &AttemptShow) -> Vec<String> {
    let status = attempt.status.map_or_else(|| "not over".to_owned(), |status| status.to_string());
    let took = attempt.duration_ms.map(|ms| format!(" in {}", time(ms))).unwrap_or_default();
    let mut lines = vec![format!("attempt {}  {status}{took}", attempt.attempt)];
    lines.extend(attempt.steps.iter().flat_map(step_lines));
    for service in &attempt.services {
        let message = service.message.as_deref().map(first_line).unwrap_or_default();
        let subject = format!("service {}", service.service);
        let message = message.strip_prefix(&subject).unwrap_or(&message).trim_start();
        lines.push(format!("  {subject} {} {message}", constant(&service.end)).trim_end().to_owned());
    }
    lines
}

fn step_lines(step: &StepShow) -> Vec<String> {
    let outcome = step.outcome.map_or("RUNNING", StepOutcome::as_str);
    let took = step.duration_ms.map(time).unwrap_or_default();
    let again = if step.step_attempt > 1 { format!(" (try {})", step.step_attempt) } else { String::new() };
    let mut lines = vec![format!("  {outcome:<11} {took:>10}  {}{again}", step.step)];
    let is_fine = step.outcome.is_some_and(StepOutcome::lets_the_case_go_on);
    if !step.reported.is_empty() {
        lines.push(format!("      reported: {}", outcomes(&step.reported)));
    }
    if is_fine {
        return lines;
    }
    let message = step.message.iter().flat_map(|message| message.lines());
    lines.extend(message.take(OUTPUT_LINES).map(|line| format!("      {}", first_line(line))));
    let said = step.message.as_deref().unwrap_or_default();
    let unsaid = step.expectations.iter().filter(|line| !said.contains(line.as_str()));
    lines.extend(unsaid.map(|line| format!("      - {}", first_line(line))));
    for it in step.reported_failures.iter().take(REPORTED_LINES) {
        let name = it.name.as_deref().unwrap_or("(name erased)");
        let message = it.message.as_deref().map(first_line).unwrap_or_default();
        lines.push(format!("      {} {}: {message}", it.outcome, first_line(name)));
    }
    for excerpt in &step.output {
        let text = if excerpt.tail.is_empty() { &excerpt.head } else { &excerpt.tail };
        let all: Vec<&str> = text.lines().collect();
        let last = all.iter().skip(all.len().saturating_sub(OUTPUT_LINES));
        lines.extend(
            last.map(|line| format!("      {}| {}", constant(&excerpt.stream).to_lowercase(), first_line(line))),
        );
    }
    lines
}

fn child_line(child: &ChildShow) -> String {
    let message = child.message.as_deref().map(first_line).unwrap_or_default();
    let took = time(child.duration_ms);
    format!("  {:<9} {took:>10}  {}  {}  {message}", child.status, child.id, child.label).trim_end().to_owned()
}
