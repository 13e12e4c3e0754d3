//! The bar at the bottom of a terminal: how many cases are done, and which run now.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use testledger_schemas::{ExecutionId, ExecutionStatus};

use super::style::{one_line, printable};
use crate::report::model::ExecutionReport;

/// So many running cases are named; the others are counted.
const NAMED: usize = 3;
/// The longest label in the bar.
const LABEL_WIDTH: usize = 30;
/// The bar is drawn anew at least so far apart, whatever the setting says.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);
/// What the bar looks like.
const TEMPLATE: &str = "{spinner} {pos}/{len} cases  {elapsed}  {msg}";

/// A bar, or none.
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    running: BTreeMap<ExecutionId, String>,
    not_passed: usize,
}

impl Bar {
    /// A bar that is drawn anew so often; none where there is no interval.
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self { bar: interval.map(begin), running: BTreeMap::new(), not_passed: 0 }
    }

    /// Writes above the bar.
    pub(super) fn above(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// The suite is known: it says how many cases there are.
    pub(super) fn suite(&self, suite: &ExecutionReport) {
        if let Some(bar) = &self.bar {
            bar.set_length(u64::from(suite.cases));
        }
    }

    /// A case is in another state.
    pub(super) fn case(&mut self, case: &ExecutionReport) {
        let Some(bar) = &self.bar else { return };
        if case.status == ExecutionStatus::Running {
            self.running.entry(case.id).or_insert_with(|| one_line(&printable(&case.label), LABEL_WIDTH));
        } else {
            self.running.remove(&case.id);
        }
        if case.is_final() {
            self.not_passed += usize::from(case.status != ExecutionStatus::Passed);
            bar.inc(1);
        }
        bar.set_message(message(&self.running, self.not_passed));
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn begin(interval: Duration) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(interval.max(SHORTEST_INTERVAL));
    bar
}

fn message(running: &BTreeMap<ExecutionId, String>, not_passed: usize) -> String {
    let named: Vec<&str> = running.values().take(NAMED).map(String::as_str).collect();
    let others = running.len().saturating_sub(NAMED);
    let others = if others > 0 { format!(" and {others} more") } else { String::new() };
    let bad = if not_passed > 0 { format!("{not_passed} not passed  ") } else { String::new() };
    format!("{bad}{}{others}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_running_cases_are_named_and_the_others_counted() {
        let names = ["a", "b", "c", "d", "e"].map(|name| (ExecutionId::for_key(name), name.to_owned()));
        let running = BTreeMap::from(names);
        assert!(message(&running, 2).starts_with("2 not passed  "));
        assert!(message(&running, 0).ends_with(" and 2 more"));
        assert_eq!(message(&BTreeMap::new(), 0), "");
    }

    #[test]
    fn the_template_is_one() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
