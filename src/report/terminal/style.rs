//! Colours and columns.

use std::borrow::Cow;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use testledger_schemas::{ExecutionStatus, StepOutcome};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const ODD: Style = AnsiColor::Yellow.on_default().bold();
/// What matters less.
pub(super) const DIM: Style = Style::new().dimmed();
/// What matters more.
pub(super) const STRONG: Style = Style::new().bold();

/// The text in this style.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The style of a status.
pub(super) fn of_status(status: ExecutionStatus) -> Style {
    match status {
        ExecutionStatus::Passed => GOOD,
        ExecutionStatus::Failed | ExecutionStatus::Timeout => BAD,
        ExecutionStatus::Cancelled | ExecutionStatus::Aborted | ExecutionStatus::Retrying => ODD,
        ExecutionStatus::Pending | ExecutionStatus::Running => STRONG,
    }
}

/// The style of an outcome.
pub(super) fn of_outcome(outcome: StepOutcome) -> Style {
    match outcome {
        StepOutcome::Passed => GOOD,
        StepOutcome::Failed | StepOutcome::Error | StepOutcome::Timeout => BAD,
        StepOutcome::Skipped => DIM,
        StepOutcome::Cancelled | StepOutcome::Interrupted | StepOutcome::Blocked => ODD,
    }
}

/// A text that a test printed, harmless on a terminal: without escape sequences, other control characters shown as `?`.
pub(super) fn printable(text: &str) -> String {
    let stripped = anstream::adapter::strip_str(text).to_string();
    stripped.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '?' } else { c }).collect()
}

/// The text on one line of at most `width` characters.
pub(super) fn one_line(text: &str, width: usize) -> String {
    let line = printable(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default());
    cut(line.trim(), width).into_owned()
}

/// At most `width` characters, the last an ellipsis where some are cut.
pub(super) fn cut(line: &str, width: usize) -> Cow<'_, str> {
    match line.char_indices().nth(width) {
        None => Cow::Borrowed(line),
        Some(_) => {
            let end = line.char_indices().nth(width.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
            Cow::Owned(format!("{}…", &line[..end]))
        }
    }
}

/// The lines of a text, each led by `indent`.
pub(super) fn indented(indent: &str, text: &str) -> String {
    let mut result = String::new();
    for line in text.lines() {
        // Writing to a string does not fail.
        let _ = writeln!(result, "{indent}{line}");
    }
    result
}
