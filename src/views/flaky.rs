//! `flaky`: which steps cannot be relied on, the worst first, and one step in full.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::Serialize;
use testledger_projections::flaky_steps::rules::{FLIP_RATE, Rule, TRANSITIONS, Thresholds};
use testledger_projections::flaky_steps::{
    Day, Days, RowRef, StepLabel, StepReliability, StepRunRecord, StepState, Window, reliability,
};
use testledger_schemas::commit::Commit;
use testledger_schemas::{Event, StepKey};

use crate::event_store::{SharedLog, StoreError};
use crate::views::ViewError;
use crate::views::query::MIN_PREFIX;
use crate::views::steps::StepViews;

/// How many of the latest runs a row of the list shows.
const LATEST_RUNS: usize = 20;
/// How many of the latest runs are shown of one step.
pub const MAX_SHOWN_RUNS: usize = 1_000;
/// How many matches an ambiguous prefix lists.
const MAX_MATCHES: usize = 5;

/// A step with what is said of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct StepReport {
    /// The name that a tool gave its test; null for a step of a plan, and where it was erased.
    pub name: Option<String>,
    /// The latest runs, the oldest first: `✓` passed, `✗` failed, `±` failed and then passed.
    pub latest: String,
    /// Figures and verdicts over the window.
    #[serde(flatten)]
    pub reliability: StepReliability,
}

/// Steps, the worst first: the output of `flaky --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct FlakyList {
    /// The first day of the window.
    pub from: Day,
    /// The last day of the window.
    pub to: Day,
    /// The rule that was asked for, if one was.
    pub rule: Option<Rule>,
    /// The steps, by the figure of that rule, by state (BROKEN, FLAKY, HEALTHY), then by how much they go to and fro, then by failures.
    pub steps: Vec<StepReport>,
    /// How many steps were seen in the window.
    pub seen: u64,
    /// How many of them should stand in the list and did not fit into its limit.
    pub omitted: u64,
}

/// One step in full: the output of `flaky show --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct FlakyShow {
    /// The step.
    #[serde(flatten)]
    pub step: StepReport,
    /// What the rules decide by.
    pub thresholds: Thresholds,
    /// The latest runs, the oldest first, at most [`MAX_SHOWN_RUNS`].
    pub runs: Vec<StepRunRecord>,
}

/// Which steps are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlakyQuery {
    /// The days of the window.
    pub days: Days,
    /// Also steps that have nothing to tell.
    pub all: bool,
    /// Only steps of which this rule has something to tell.
    pub rule: Option<Rule>,
    /// At most so many.
    pub limit: usize,
}

/// The mark of a run in a history.
#[must_use]
pub fn mark(run: &StepRunRecord) -> char {
    match (run.passed, run.failures > 0) {
        (true, false) => '✓',
        (true, true) => '±',
        (false, _) => '✗',
    }
}

/// What a step is called: by its ids, with the tool's name for a reported test.
#[must_use]
pub fn title(label: &StepLabel, name: Option<&str>) -> String {
    let matrix = if label.matrix.is_empty() { String::new() } else { format!("[{}]", label.matrix) };
    let step = match (label.named_by, name) {
        (None, _) => label.step.clone(),
        (Some(_), Some(name)) => name.to_owned(),
        (Some(_), None) => format!("{} (name erased)", label.step),
    };
    format!("{}/{}{matrix}/{step}", label.suite, label.case)
}

/// Lists steps. A step has something to tell if it is FLAKY or BROKEN, or a rule fires over the window; a rule, if it
/// fires, or decides nothing and has a figure that is not 0.
///
/// # Errors
/// [`ViewError`].
pub async fn list(views: &StepViews, query: &FlakyQuery) -> Result<FlakyList, ViewError> {
    let (thresholds, mut best) = (Thresholds::default(), Best { query: *query, steps: vec![], wanted: 0 });
    let see = |window: Window| {
        let report = report_of(&window, &thresholds);
        if is_wanted(&report.reliability, query) {
            best.add(report);
        }
    };
    let seen = match query.all && query.rule.is_none() {
        true => views.each_window(query.days, see).await?,
        false => views.each_telling_window(query.days, see).await?,
    };
    best.cut();
    let omitted = best.wanted - best.steps.len() as u64;
    let mut steps = best.steps;
    for step in &mut steps {
        step.name = name(views.log(), step.reliability.label.named_by).await?;
    }
    Ok(FlakyList { from: query.days.first, to: query.days.last, rule: query.rule, steps, seen, omitted })
}

fn is_wanted(step: &StepReliability, query: &FlakyQuery) -> bool {
    match query.rule {
        Some(rule) => step.verdicts.iter().any(|it| it.rule == rule && it.tells()),
        None => query.all || step.state != StepState::Healthy || step.verdicts.iter().any(|it| it.fires),
    }
}

/// Shows one step over a window; none where nothing was seen of it.
///
/// # Errors
/// [`ViewError`].
pub async fn show(views: &StepViews, key: StepKey, days: Days) -> Result<Option<FlakyShow>, ViewError> {
    let Some(window) = views.window(key, days).await? else { return Ok(None) };
    let thresholds = Thresholds::default();
    let mut step = report_of(&window, &thresholds);
    step.name = name(views.log(), window.label.named_by).await?;
    let runs = window.runs[window.runs.len().saturating_sub(MAX_SHOWN_RUNS)..].to_vec();
    Ok(Some(FlakyShow { step, thresholds, runs }))
}

/// The step that a person means: the beginning of its key, or `suite/case/step` (`suite/case[matrix]/step`), where the
/// step of a reported test is its name.
///
/// # Errors
/// [`ViewError::NoSuchStep`], [`ViewError::AmbiguousStep`], or the store's.
pub async fn resolve(views: &StepViews, text: &str) -> Result<StepKey, ViewError> {
    if let Some(key) = by_label(text) {
        return Ok(key);
    }
    let prefix = text.trim().to_ascii_lowercase();
    let is_hex = prefix.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if prefix.len() < MIN_PREFIX || !is_hex {
        return Err(ViewError::NoSuchStep(text.to_owned()));
    }
    let matches = views.by_prefix(&prefix, MAX_MATCHES).await?;
    match matches.as_slice() {
        [] => Err(ViewError::NoSuchStep(text.to_owned())),
        [key] => Ok(*key),
        [..] => Err(ViewError::AmbiguousStep { prefix, matches }),
    }
}

/// The key follows from the names. Only the name of a reported test may have more slashes.
fn by_label(text: &str) -> Option<StepKey> {
    let (suite, rest) = text.split_once('/')?;
    let (case, step) = rest.split_once('/')?;
    let (case, matrix) = match case.strip_suffix(']').and_then(|case| case.split_once('[')) {
        Some((case, matrix)) => (case, matrix),
        None => (case, ""),
    };
    Some(StepKey::derive(suite, case, matrix, step))
}

/// What is said of a step over a window, without the name that only the log has.
pub(super) fn report_of(window: &Window, thresholds: &Thresholds) -> StepReport {
    let latest = window.runs[window.runs.len().saturating_sub(LATEST_RUNS)..].iter().map(mark).collect();
    StepReport { name: None, latest, reliability: reliability(window, thresholds) }
}

/// The worst steps so far.
struct Best {
    query: FlakyQuery,
    steps: Vec<StepReport>,
    wanted: u64,
}

impl Best {
    /// Twice as many as are asked for are held at the most, so that not every step costs a walk.
    fn add(&mut self, step: StepReport) {
        self.wanted += 1;
        self.steps.push(step);
        if self.steps.len() >= self.query.limit.saturating_mul(2).max(1) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.steps.sort_by_cached_key(|step| rank(&step.reliability, self.query.rule));
        self.steps.truncate(self.query.limit);
    }
}

type Rank = (Reverse<u64>, Reverse<StepState>, Reverse<u64>, Reverse<u32>, String, StepKey);

/// The worst come first: where one rule is asked for, those of which it has most to tell.
fn rank(step: &StepReliability, rule: Option<Rule>) -> Rank {
    let asked = step.verdicts.iter().find(|it| Some(it.rule) == rule).and_then(|it| it.figure).unwrap_or(0);
    let wavering = step.verdicts.iter().filter(|it| [FLIP_RATE, TRANSITIONS].contains(&it.rule));
    let wavering = wavering.filter_map(|it| it.figure).max().unwrap_or(0);
    let failures = step.failure_rate.unwrap_or(0);
    (Reverse(asked), Reverse(step.state), Reverse(wavering), Reverse(failures), title(&step.label, None), step.step_key)
}

/// The name that a tool gave a test, from the event that has it; none where there is none any more.
async fn name(log: &SharedLog, row: Option<RowRef>) -> Result<Option<String>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    let commit = log.read_commits(&[row.commit]).await?.pop().flatten();
    Ok(commit.and_then(|commit| name_in(&commit, row)))
}

fn name_in(commit: &Commit, row: RowRef) -> Option<String> {
    let event = commit.events.iter().find(|event| event.event_id == row.event_id)?;
    let Ok(Event::StepResultsReported(report)) = event.read() else { return None };
    Some(report.content.kept()?.cases.get(row.row as usize)?.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_gives_the_key_of_its_step() {
        let cases = [
            ("shop/cart/pay", Some(StepKey::derive("shop", "cart", "", "pay"))),
            ("shop/cart[os=linux]/pay", Some(StepKey::derive("shop", "cart", "os=linux", "pay"))),
            ("shop/unit/tests/a.py::test_b", Some(StepKey::derive("shop", "unit", "", "tests/a.py::test_b"))),
            ("shop/cart", None),
            ("01234567", None),
        ];
        for (text, key) in cases {
            assert_eq!(by_label(text), key, "{text}");
        }
    }
}
