//! `executions list` for people: a table.

use comfy_table::{ContentArrangement, Table, presets};
use testledger_projections::executions::ExecutionView;
use testledger_schemas::ExecutionStatus;
use testledger_schemas::event::{ExecutionKind, StatusTally};

use crate::views::phrase::{first_line, outcomes, time};
use crate::views::query::ExecutionPage;

/// How many characters of a name the table shows.
const TITLE_WIDTH: usize = 48;

/// The table, at most `width` characters wide (none: as wide as it gets), and how to go on.
#[must_use]
pub fn table(page: &ExecutionPage, width: Option<u16>) -> String {
    if page.executions.is_empty() {
        return "no executions\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(["ID", "STATUS", "EXECUTION", "PROGRESS", "ATTEMPT", "TIME", "REQUESTED"]);
    for view in &page.executions {
        table.add_row([
            view.id.to_string(),
            status_text(view),
            title(view),
            progress(view),
            if view.attempt > 0 { view.attempt.to_string() } else { "-".to_owned() },
            if view.attempt > 0 && view.duration_ms.is_some() { time(view.total_duration_ms) } else { "-".to_owned() },
            view.requested_at.map(|at| at.to_string()).unwrap_or_default(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt() + "\n";
    if let Some(next) = &page.next {
        text.push_str(&format!("more: --after {next}\n"));
    }
    text
}

/// What people call it. A wrapped command is known by its line, as its label tells the program alone.
fn title(view: &ExecutionView) -> String {
    let is_wrapped = view.kind == ExecutionKind::Case && view.parent_id.is_none();
    let name = view.name.as_ref().filter(|name| is_wrapped && !name.is_empty());
    let one_line = |name: &String| first_line(&name.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut title = name.map_or_else(|| view.label.clone(), one_line);
    if title.chars().count() > TITLE_WIDTH {
        title = title.chars().take(TITLE_WIDTH - 1).chain(['…']).collect();
    }
    title
}

/// The status as people read it: with what it waits for, and "not run" for what never started.
#[must_use]
pub fn status_text(view: &ExecutionView) -> String {
    let is_unstarted = view.status == ExecutionStatus::Cancelled && view.attempt == 0;
    let mut text = if is_unstarted { "NOT RUN".to_owned() } else { view.status.to_string() };
    let note = if view.will_retry {
        "will retry"
    } else if view.is_interrupted && !view.is_final {
        "interrupted"
    } else if view.waits_for_verdict {
        "waits for a verdict"
    } else if view.cancel_requested.is_some() && !view.is_final {
        "being cancelled"
    } else {
        ""
    };
    if !note.is_empty() {
        text.push_str(&format!(" ({note})"));
    }
    if view.anomaly_count > 0 {
        text.push_str(" !");
    }
    text
}

/// How far it is: cases of a suite, steps and reported results of a case.
#[must_use]
pub fn progress(view: &ExecutionView) -> String {
    match view.kind {
        ExecutionKind::Suite => {
            let of = format!("{}/{} cases", view.children.finished, view.children.total);
            joined(of, statuses(&view.children.statuses))
        }
        ExecutionKind::Case => {
            let done: u64 = view.steps.outcomes.values().sum();
            let of = format!("{done}/{} steps", view.steps.total);
            let steps = joined(of, outcomes(&view.steps.outcomes));
            if view.reported.is_empty() { steps } else { format!("{steps}; reported: {}", outcomes(&view.reported)) }
        }
    }
}

fn joined(of: String, detail: String) -> String {
    if detail.is_empty() { of } else { format!("{of}: {detail}") }
}

fn statuses(tally: &StatusTally) -> String {
    let parts: Vec<String> =
        tally.iter().map(|(status, count)| format!("{count} {}", status.as_str().to_lowercase())).collect();
    parts.join(", ")
}
