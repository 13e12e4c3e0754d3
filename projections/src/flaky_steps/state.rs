//! The state of a step: HEALTHY, FLAKY or BROKEN, by a walk over its runs, so that a figure that wavers makes no state waver.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::Timestamp;

use super::bucket::StepRunRecord;
use super::rules::Thresholds;
use super::versions::{Version, Versions};

/// What a step is, in one word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepState {
    /// Its results can be relied on.
    Healthy,
    /// It passes and fails with the same code, or goes to and fro.
    Flaky,
    /// It fails nearly always.
    Broken,
}

/// Figures after a run. Rates are in thousandths; none where there are too few runs for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Signals {
    /// Failures among the latest runs.
    pub(super) failure_rate: Option<u32>,
    /// Transitions by pairs of runs.
    pub(super) transitions: Option<u32>,
    /// Flips at the same version, weighted.
    pub(super) flip_rate: Option<u32>,
    /// How many runs ago both results were last seen at the same revision; none if never.
    pub(super) since_same_code: Option<u64>,
}

/// A walk over the runs of a window, from its first one on.
pub(super) struct Walk<'a> {
    thresholds: &'a Thresholds,
    /// The versions of the code so far.
    pub(super) versions: Versions,
    /// The latest figures.
    pub(super) signals: Signals,
    /// The latest state.
    pub(super) state: StepState,
    /// When that began; none if the step was healthy from the first run on.
    pub(super) since: Option<Timestamp>,
    recent: VecDeque<bool>,
    runs: u64,
    transitions: u64,
}

/// `part` of `all` in thousandths, rounded down; none if `all` is less than `least`.
pub(super) fn rate(part: u64, all: u64, least: u64) -> Option<u32> {
    (all >= least.max(1)).then(|| u32::try_from(part.saturating_mul(1000) / all).unwrap_or(u32::MAX))
}

impl<'a> Walk<'a> {
    /// A walk over these runs, which are in order.
    pub(super) fn over(runs: &[StepRunRecord], thresholds: &'a Thresholds) -> Self {
        let mut walk = Self {
            thresholds,
            versions: Versions::default(),
            signals: Signals::default(),
            state: StepState::Healthy,
            since: None,
            recent: VecDeque::new(),
            runs: 0,
            transitions: 0,
        };
        runs.iter().for_each(|run| walk.step(run));
        walk
    }

    fn step(&mut self, run: &StepRunRecord) {
        self.transitions += u64::from(self.recent.back().is_some_and(|passed| *passed != run.passed));
        self.runs += 1;
        self.recent.push_back(run.passed);
        if self.recent.len() > self.thresholds.recent_runs.max(1) {
            self.recent.pop_front();
        }
        let is_same_code = self.versions.add(run);
        self.signals = self.signals_now(is_same_code);
        let state = next(self.state, &self.signals, self.thresholds);
        if state != self.state {
            self.state = state;
            self.since = Some(run.at);
        }
    }

    fn signals_now(&self, is_same_code: bool) -> Signals {
        let least = self.thresholds.least_runs;
        let failures = self.recent.iter().filter(|passed| !**passed).count() as u64;
        let recent = self.recent.len() as u64;
        let pairs = self.thresholds.least_runs_for_transitions.saturating_sub(1);
        let since = if is_same_code { Some(0) } else { self.signals.since_same_code.map(|runs| runs + 1) };
        Signals {
            failure_rate: rate(failures, recent, least.min(self.thresholds.recent_runs as u64)),
            transitions: rate(self.transitions, self.runs - 1, pairs),
            flip_rate: self.versions.weighted(Version::flip_rate).filter(|_| self.runs >= least),
            since_same_code: since,
        }
    }
}

/// The state that follows from the figures and from the state before.
pub(super) fn next(state: StepState, signals: &Signals, thresholds: &Thresholds) -> StepState {
    let reaches = |figure: Option<u32>, threshold: u32| figure.is_some_and(|figure| figure >= threshold);
    let (broken, flips, transitions, calm) = match state {
        StepState::Healthy => (thresholds.broken_from, thresholds.flips_from, thresholds.transitions_from, 1),
        StepState::Flaky => {
            (thresholds.broken_from, thresholds.flips_until, thresholds.transitions_until, thresholds.calm_runs)
        }
        StepState::Broken => {
            (thresholds.broken_until, thresholds.flips_from, thresholds.transitions_from, thresholds.calm_runs)
        }
    };
    if reaches(signals.failure_rate, broken) {
        return StepState::Broken;
    }
    let is_flaky = signals.since_same_code.is_some_and(|runs| runs < calm)
        || reaches(signals.flip_rate, flips)
        || reaches(signals.transitions, transitions);
    if is_flaky { StepState::Flaky } else { StepState::Healthy }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_revision, retried, run};
    use super::*;

    /// The state after each run: `P` passed, `F` failed, `R` passed on retry. Each run tests a revision of its own, so
    /// that only a retry shows both results with the same code.
    fn states(runs: &str) -> String {
        let thresholds = Thresholds::default();
        let mut walk = Walk::over(&[], &thresholds);
        let mut states = String::new();
        for (number, sign) in (1..).zip(runs.chars()) {
            let run = if sign == 'R' { retried(number) } else { run(number, sign == 'P') };
            walk.step(&at_revision(run, &format!("v{number}")));
            states.push(match walk.state {
                StepState::Healthy => 'h',
                StepState::Flaky => 'f',
                StepState::Broken => 'b',
            });
        }
        states
    }

    #[test]
    fn four_failures_are_too_few_to_be_broken() {
        assert_eq!(states("FFFF"), "hhhh");
        assert_eq!(states("FFFFF"), "hhhhb");
    }

    #[test]
    fn broken_stands_until_enough_runs_pass() {
        // Of the latest ten 10, 9, 8, 7 fail, then 6: 600 is below 700.
        assert_eq!(states("FFFFFFFFFFPPPP"), "hhhhbbbbbbbbbh");
        // A step that was healthy is broken at nine of ten, not at eight.
        assert_eq!(states("PPPPPPPPPPFFFFFFFFFF"), "hhhhhhhhhhhhhhhhhhbb");
    }

    #[test]
    fn a_pass_on_retry_is_flaky_at_once_and_until_it_is_calm() {
        let calm = "P".repeat(60);
        let found = states(&format!("PPR{calm}"));
        // Its weighted flip rate is below 0.05 after ten passes; the calm lasts from the run itself to the 19th after it.
        assert_eq!(found, format!("hh{}{}", "f".repeat(20), "h".repeat(41)));
    }

    #[test]
    fn going_to_and_fro_is_flaky_from_three_tenths_and_until_it_is_rare() {
        // Nine transitions in nine pairs, at the tenth run: before it there are too few.
        let to_and_fro = "PFPFPFPFPF";
        assert_eq!(states(to_and_fro), "hhhhhhhhhf");
        // Ten transitions then: 10/34 is below 0.3 and stands, 10/66 is 0.151, and 10/67 is 0.149.
        let found = states(&format!("{to_and_fro}{}", "P".repeat(60)));
        assert_eq!(found, format!("{}{}{}", "h".repeat(9), "f".repeat(58), "h".repeat(3)));
    }

    #[test]
    fn a_step_that_breaks_once_and_is_mended_is_not_flaky() {
        assert_eq!(states("PPPPPFFFFPPPPPPPPPP"), "h".repeat(19));
    }
}
