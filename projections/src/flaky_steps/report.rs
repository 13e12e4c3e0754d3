//! The report on a step: its figures over a window, its state, and the rules by which both came about.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use testledger_schemas::event::StepErrorFacts;
use testledger_schemas::{StepKey, Timestamp};

use super::bucket::{Counts, StepRunRecord};
use super::day::Day;
use super::rules::{ENTROPY, FAILURE_RATE, FLIP_RATE, PASSED_ON_RETRY, Rule, SAME_CODE, TRANSITIONS, Thresholds};
use super::sample::StepLabel;
use super::state::{StepState, Walk, rate};
use super::versions::Version;
use super::window::Window;

/// How many clusters of errors a report lists, the largest ones.
pub const MAX_CLUSTERS: usize = 20;

/// How reliable a step is. Rates are in thousandths.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct StepReliability {
    /// The step.
    pub step_key: StepKey,
    /// Which step, for people.
    pub label: StepLabel,
    /// The first day of the window.
    pub from: Day,
    /// The last day of the window.
    pub to: Day,
    /// What it is, in one word.
    pub state: StepState,
    /// When that began; none if the step was healthy all the time.
    pub since: Option<Timestamp>,
    /// What each rule says.
    pub verdicts: Vec<RuleVerdict>,
    /// How often what happened.
    pub counts: Counts,
    /// Failures by runs, over the whole window; none without runs.
    pub failure_rate: Option<u32>,
    /// Half of the runs that passed took no longer, in milliseconds.
    pub p50_ms: Option<u64>,
    /// 95 % of them took no longer.
    pub p95_ms: Option<u64>,
    /// Equal failures, the most frequent first.
    pub clusters: Vec<ErrorCluster>,
    /// Samples that were lost with the infrastructure: they count as nothing else.
    pub lost: u64,
    /// Samples that were cancelled, skipped or blocked.
    pub not_judged: u64,
    /// Runs that were left out because nearly everything failed in them.
    pub mass_failures: u64,
}

/// What a rule says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct RuleVerdict {
    /// The rule.
    pub rule: Rule,
    /// Its figure: a count, or a rate in thousandths. None where there are too few runs for it.
    pub figure: Option<u64>,
    /// From where on it decides; none if it never does.
    pub from: Option<u64>,
    /// Whether it does.
    pub fires: bool,
}

impl RuleVerdict {
    /// Whether it says something of the step: it fires, or, where it decides nothing, its figure is not 0.
    #[must_use]
    pub fn tells(&self) -> bool {
        self.fires || (self.from.is_none() && self.figure.is_some_and(|figure| figure > 0))
    }
}

/// Runs that failed in the same way first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ErrorCluster {
    /// What they have in common.
    pub error: StepErrorFacts,
    /// How many there are.
    pub runs: u64,
    /// When the first of them began.
    pub first_at: Timestamp,
    /// When the last of them began.
    pub last_at: Timestamp,
}

/// Judges a window. Pure: the same window and thresholds give the same report.
#[must_use]
pub fn reliability(window: &Window, thresholds: &Thresholds) -> StepReliability {
    let walk = Walk::over(&window.runs, thresholds);
    let counts = window.counts();
    StepReliability {
        step_key: window.step_key,
        label: window.label.clone(),
        from: window.from,
        to: window.to,
        state: walk.state,
        since: walk.since,
        verdicts: verdicts(&walk, &counts, thresholds),
        failure_rate: rate(counts.failures, counts.runs, 1),
        counts,
        p50_ms: window.durations.quantile_ms(500),
        p95_ms: window.durations.quantile_ms(950),
        clusters: clusters(&window.runs),
        lost: window.lost,
        not_judged: window.not_judged,
        mass_failures: window.mass_failures,
    }
}

fn verdicts(walk: &Walk<'_>, counts: &Counts, thresholds: &Thresholds) -> Vec<RuleVerdict> {
    let verdict = |rule, figure: Option<u64>, from: Option<u64>| {
        let fires = figure.zip(from).is_some_and(|(figure, from)| figure >= from);
        RuleVerdict { rule, figure, from, fires }
    };
    let signals = &walk.signals;
    let rate = |figure: Option<u32>| figure.map(u64::from);
    vec![
        verdict(PASSED_ON_RETRY, Some(counts.passed_on_retry), Some(1)),
        verdict(SAME_CODE, Some(walk.versions.mixed()), Some(1)),
        verdict(TRANSITIONS, rate(signals.transitions), rate(Some(thresholds.transitions_from))),
        verdict(FLIP_RATE, rate(signals.flip_rate), rate(Some(thresholds.flips_from))),
        verdict(ENTROPY, rate(walk.versions.weighted(Version::entropy)), None),
        verdict(FAILURE_RATE, rate(signals.failure_rate), rate(Some(thresholds.broken_from))),
    ]
}

fn clusters(runs: &[StepRunRecord]) -> Vec<ErrorCluster> {
    let mut found: BTreeMap<(&str, testledger_schemas::event::ErrorKind), ErrorCluster> = BTreeMap::new();
    for run in runs {
        let Some(error) = &run.error else { continue };
        let first = || ErrorCluster { error: error.clone(), runs: 0, first_at: run.at, last_at: run.at };
        let cluster = found.entry((&error.fingerprint, error.kind)).or_insert_with(first);
        cluster.runs += 1;
        cluster.last_at = run.at;
    }
    let mut clusters: Vec<ErrorCluster> = found.into_values().collect();
    clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.runs));
    clusters.truncate(MAX_CLUSTERS);
    clusters
}
