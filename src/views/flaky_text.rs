//! `flaky` for people: a table of steps, and one step with its rules, errors and history.

use comfy_table::{ContentArrangement, Table, presets};
use testledger_projections::flaky_steps::{ErrorCluster, RuleVerdict, StepReliability, StepState};

use crate::views::flaky::{FlakyList, FlakyShow, mark, title};
use crate::views::phrase::{constant, time};

/// The narrowest history.
const MIN_HISTORY: usize = 20;
/// What the marks of a history mean.
const LEGEND: &str = "✓ passed  ✗ failed  ± failed, then passed";

/// The table, at most `columns` wide.
#[must_use]
pub fn list(list: &FlakyList, columns: u16) -> String {
    let window = format!("{} to {}: {} steps seen", list.from, list.to, list.seen);
    if list.steps.is_empty() {
        let nothing = match list.rule {
            Some(rule) => format!("{} has something to tell of none of them", rule.name),
            None => "none of them FLAKY or BROKEN".to_owned(),
        };
        return format!("{window}, {nothing}\n");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    let asked = list.rule.map(|rule| rule.name.to_uppercase());
    let heads = ["STATE", "STEP"].map(str::to_owned).into_iter().chain(asked);
    table.set_header(heads.chain(["RUNS", "FAILED", "P50", "P95", "LATEST"].map(str::to_owned)));
    for step in &list.steps {
        let it = &step.reliability;
        let verdict = it.verdicts.iter().find(|verdict| Some(verdict.rule) == list.rule);
        let row = [state(it.state).to_owned(), title(&it.label, step.name.as_deref())].into_iter();
        let row = row.chain(verdict.map(|verdict| verdict.figure.map(|it| figure(verdict, it)).unwrap_or_default()));
        table.add_row(row.chain([
            it.counts.runs.to_string(),
            it.failure_rate.map(|rate| percent(rate.into())).unwrap_or_default(),
            it.p50_ms.map(time).unwrap_or_default(),
            it.p95_ms.map(time).unwrap_or_default(),
            step.latest.clone(),
        ]));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let more = if list.omitted > 0 { format!("\n{} more: --limit", list.omitted) } else { String::new() };
    format!("{}\n{window}; {LEGEND}{more}\n", table.trim_fmt())
}

/// One step, its history at most `columns` wide.
#[must_use]
pub fn show(show: &FlakyShow, columns: usize) -> String {
    let it = &show.step.reliability;
    let mut lines = vec![format!("{}  {}", title(&it.label, show.step.name.as_deref()), state(it.state))];
    let mut field = |name: &str, value: String| lines.push(format!("  {name:<10} {value}"));
    field("key", it.step_key.to_string());
    field("window", format!("{} to {}", it.from, it.to));
    it.since.into_iter().for_each(|at| field("since", at.to_string()));
    field("runs", runs(it));
    if let (Some(half), Some(most)) = (it.p50_ms, it.p95_ms) {
        field("took", format!("{} (half of the runs that passed), {} (95 %)", time(half), time(most)));
    }
    lines.push("rules".to_owned());
    lines.extend(it.verdicts.iter().map(rule));
    if !it.clusters.is_empty() {
        lines.push("errors".to_owned());
        lines.extend(it.clusters.iter().map(cluster));
    }
    let width = columns.saturating_sub(2).max(MIN_HISTORY);
    let latest = &show.runs[show.runs.len().saturating_sub(width)..];
    lines.push(format!("the latest {} runs: {LEGEND}", latest.len()));
    lines.push(format!("  {}", latest.iter().map(mark).collect::<String>()));
    lines.join("\n") + "\n"
}

fn state(state: StepState) -> &'static str {
    match state {
        StepState::Healthy => "HEALTHY",
        StepState::Flaky => "FLAKY",
        StepState::Broken => "BROKEN",
    }
}

fn runs(it: &StepReliability) -> String {
    let counts = &it.counts;
    let mut parts = vec![counts.runs.to_string(), format!("{} failed", counts.failures)];
    let mut part = |count: u64, what: &str| {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    };
    part(counts.passed_on_retry, "failed and then passed");
    part(counts.transitions, "ended otherwise than the one before");
    part(it.mass_failures, "left out, as nearly everything failed with them");
    part(it.lost, "samples lost with their worker");
    part(it.not_judged, "samples cancelled, skipped or blocked");
    parts.join(", ")
}

/// A count of occurrences decides from 1 on; a rate is in thousandths.
fn figure(verdict: &RuleVerdict, figure: u64) -> String {
    if verdict.from == Some(1) { figure.to_string() } else { percent(figure) }
}

fn rule(verdict: &RuleVerdict) -> String {
    let from =
        verdict.from.map_or_else(|| "a figure only".to_owned(), |from| format!("from {}", figure(verdict, from)));
    let figure = verdict.figure.map_or_else(|| "too few runs".to_owned(), |it| figure(verdict, it));
    let sign = if verdict.fires { '!' } else { ' ' };
    let name = format!("{} v{}", verdict.rule.name, verdict.rule.version);
    format!("{sign} {name:<20} {figure:>12}  ({from})")
}

fn cluster(cluster: &ErrorCluster) -> String {
    let (kind, print) = (constant(&cluster.error.kind), &cluster.error.fingerprint);
    format!("  {:>4} x {kind} {print}  {} to {}", cluster.runs, cluster.first_at, cluster.last_at)
}

/// Thousandths as a percentage.
fn percent(thousandths: u64) -> String {
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

#[cfg(test)]
mod tests;
