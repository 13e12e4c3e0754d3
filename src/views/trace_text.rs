//! `trace` for people: a line for each item, with a bar for when it ran within the whole.

use testledger_projections::traces::{ItemKind, TraceHead, TraceItem};
use testledger_schemas::Timestamp;

use crate::views::fit::{column, cut, width};
use crate::views::phrase::{first_line, time};
use crate::views::traces::TraceShow;

/// The columns of the outcome: the longest one.
const OUTCOME: usize = 11;
/// The columns of a duration.
const TIME: usize = 11;
/// The columns of the attempts.
const TRY: usize = 5;
/// The fewest columns of a name, and the fewest of a timeline: below that there is no timeline.
const LEAST: usize = 8;
/// The space between two columns.
const GAP: &str = "  ";
/// The narrowest width that is kept to.
pub const MIN_WIDTH: usize = 44;

/// The trace as text whose lines are at most `columns` wide, and at least [`MIN_WIDTH`].
#[must_use]
pub fn text(show: &TraceShow, columns: usize) -> String {
    let columns = columns.max(MIN_WIDTH);
    let layout = Layout::of(show, columns);
    let mut lines = header(&show.trace);
    if show.items.is_empty() {
        lines.push("  no such items".to_owned());
    } else {
        lines.push(layout.head());
    }
    for item in &show.items {
        lines.push(layout.line(item));
        lines.extend(complaint(item).map(|text| format!("    {text}")));
    }
    lines.extend(show.next.map(|next| format!("more: --from {next}")));
    lines.iter().map(|line| cut(line.trim_end(), columns) + "\n").collect()
}

fn header(head: &TraceHead) -> Vec<String> {
    let case = head.case.as_ref().map(|case| format!("/{case}")).unwrap_or_default();
    let matrix = if head.matrix.is_empty() { String::new() } else { format!("[{}]", head.matrix) };
    let took = if head.is_final { format!(" in {}", time(head.total_duration_ms)) } else { String::new() };
    let mut lines = vec![
        format!("{}{case}{matrix}  {}{took}", head.suite, head.status),
        format!("  id       {}", head.execution_id),
    ];
    lines.extend(head.started_at.map(|at| format!("  started  {at}")));
    let attempts = if head.attempt > 1 { format!(" in {} attempts", head.attempt) } else { String::new() };
    lines.push(format!("  items    {}{attempts}", head.step_count));
    lines
}

/// Where the columns are, and which time the timeline spans.
struct Layout {
    name: usize,
    bar: usize,
    begin: Timestamp,
    end: Timestamp,
}

impl Layout {
    fn of(show: &TraceShow, columns: usize) -> Self {
        let taken = TRY + OUTCOME + TIME + 3 * GAP.len();
        let longest = show.items.iter().map(|item| width(&name(item))).max().unwrap_or(0);
        let name = longest.clamp(LEAST, (columns / 3).min(columns.saturating_sub(taken)).max(LEAST));
        // Two columns for the borders of the timeline, and the space before it.
        let bar = columns.saturating_sub(name + taken + GAP.len() + 2);
        let (begin, end) = span(show);
        Self { name, bar: if bar < LEAST { 0 } else { bar }, begin, end }
    }

    fn head(&self) -> String {
        let cells = [column("NAME", self.name), column("TRY", TRY), column("OUTCOME", OUTCOME), right("TIME", TIME)];
        let whole = time(self.end.since_ms(self.begin));
        let timeline = format!("|{:>width$}|", cut(&whole, self.bar), width = self.bar);
        let shown = if self.bar > 0 { timeline } else { String::new() };
        [cells.join(GAP), shown].join(GAP)
    }

    fn line(&self, item: &TraceItem) -> String {
        let took = duration(item).map(time).unwrap_or_default();
        let cells = [
            column(&name(item), self.name),
            column(&tries(item), TRY),
            column(outcome(item), OUTCOME),
            right(&took, TIME),
        ];
        let bar = if self.bar > 0 { format!("|{}|", self.bar_of(item)) } else { String::new() };
        [cells.join(GAP), bar].join(GAP)
    }

    /// When the item ran: at least one mark for each that began; a dot for what only has an end.
    fn bar_of(&self, item: &TraceItem) -> String {
        let mark = |from: usize, to: usize, mark: &str| {
            format!("{}{}{}", " ".repeat(from), mark.repeat(to - from), " ".repeat(self.bar - to))
        };
        match (item.started_at, finished(item)) {
            (None, None) => mark(0, 0, ""),
            (None, Some(end)) => mark(self.cell(end), self.cell(end) + 1, "·"),
            (Some(begin), None) => mark(self.cell(begin), self.bar, "━"),
            (Some(begin), Some(end)) => {
                let from = self.cell(begin);
                mark(from, (self.cell(end) + 1).max(from + 1), "━")
            }
        }
    }

    /// The cell of a time, counted from 0. Clocks of several machines may put it outside: then the nearest.
    fn cell(&self, at: Timestamp) -> usize {
        let whole = u128::from(self.end.since_ms(self.begin)).max(1);
        let cell = u128::from(at.since_ms(self.begin)) * self.bar as u128 / whole;
        usize::try_from(cell).unwrap_or(usize::MAX).min(self.bar - 1)
    }
}

/// From the execution's start to its end; while it runs, to the last thing that is known.
fn span(show: &TraceShow) -> (Timestamp, Timestamp) {
    let times = show.items.iter().flat_map(|item| [item.started_at, finished(item)]).flatten();
    let head = [show.trace.started_at, show.trace.finished_at].into_iter().flatten();
    let all: Vec<Timestamp> = times.chain(head).collect();
    let (first, last) = (all.iter().min().copied(), all.iter().max().copied());
    (show.trace.started_at.or(first).unwrap_or_default(), show.trace.finished_at.or(last).unwrap_or_default())
}

fn finished(item: &TraceItem) -> Option<Timestamp> {
    item.end.as_ref().map(|end| end.finished_at).or_else(|| item.case.as_ref().and_then(|case| case.finished_at))
}

fn right(text: &str, columns: usize) -> String {
    " ".repeat(columns.saturating_sub(width(text))) + &cut(text, columns)
}

/// A step and a case by id; a reported result by its name, which may have been erased.
fn name(item: &TraceItem) -> String {
    match item.kind {
        ItemKind::Step | ItemKind::Case => first_line(&item.label),
        ItemKind::Reported => format!("  {}", first_line(item.name().unwrap_or("(name erased)"))),
    }
}

fn tries(item: &TraceItem) -> String {
    match (item.attempt, item.step_attempt) {
        (0, _) => String::new(),
        (attempt, 0 | 1) => attempt.to_string(),
        (attempt, step_attempt) => format!("{attempt}.{step_attempt}"),
    }
}

fn outcome(item: &TraceItem) -> &'static str {
    match (&item.case, item.outcome()) {
        (Some(case), _) => case.status.as_str(),
        (None, Some(outcome)) => outcome.as_str(),
        (None, None) => "RUNNING",
    }
}

fn duration(item: &TraceItem) -> Option<u64> {
    let of_case = item.case.as_ref().filter(|case| case.duration_ms > 0 || case.is_final).map(|case| case.duration_ms);
    item.end.as_ref().map(|end| end.duration_ms).or(of_case)
}

/// The first line of what went wrong.
fn complaint(item: &TraceItem) -> Option<String> {
    if let Some(failed) = item.case.as_ref().and_then(|case| case.failed_step.as_ref()) {
        return Some(format!("{} {}", failed.step, failed.outcome));
    }
    let end = item.end.as_ref().filter(|end| !end.outcome.lets_the_case_go_on())?;
    let again = if end.will_retry { "tried again" } else { "" };
    let message = end.outputs.text.as_ref().map_or_else(|| "(message erased)".to_owned(), |it| first_line(&it.message));
    let parts: Vec<&str> = [again, &message].into_iter().filter(|part| !part.is_empty()).collect();
    Some(parts.join(": ")).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
