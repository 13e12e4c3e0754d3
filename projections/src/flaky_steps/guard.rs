//! The guard: a run in which nearly everything failed says something of itself, and nothing of its steps.
//!
//! Whether a run is one of those is known at its end, when its samples stand in many buckets already. They are not moved:
//! a run of 100,000 results would move 100,000 documents with its last event. The run is written down in the register of
//! the day on which it ended, and whoever reads a window leaves out the runs that the registers name; each record of a
//! bucket says which run it belongs to. So a run counts as any other until it is over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::event::OutcomeTally;
use testledger_schemas::{ExecutionId, StepOutcome, Timestamp};

use super::day::Day;
use super::rules::Rule;

/// The rule of the guard: ours, without a publication. Of at least [`GUARD_LEAST`] steps and results (or cases) that
/// were judged, at least [`GUARD_THOUSANDTHS`] failed in the last attempts.
pub const MASS_FAILURE: Rule = Rule { name: "mass_failure", version: 1 };

/// How many there must be at least before their failures say something of the run.
pub const GUARD_LEAST: u64 = 10;
/// How many thousandths must have failed.
pub const GUARD_THOUSANDTHS: u64 = 900;
/// How many runs a register lists; more are only counted.
pub const MAX_LISTED_MASS_FAILURES: usize = 500;
/// How many days later than its samples a run may end, and the guard still sees it.
pub const GUARD_DAYS: u32 = 2;

/// How many were judged, and how many of them failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    /// All that passed or failed.
    pub judged: u64,
    /// Those that failed.
    pub failed: u64,
}

impl Judged {
    pub(super) fn one(failed: bool) -> Self {
        Self { judged: 1, failed: u64::from(failed) }
    }

    /// What a tally says.
    pub(super) fn of(tally: &OutcomeTally) -> Self {
        let count = |outcome| tally.get(&outcome).copied().unwrap_or(0);
        let failed = count(StepOutcome::Failed) + count(StepOutcome::Error) + count(StepOutcome::Timeout);
        Self { judged: count(StepOutcome::Passed) + failed, failed }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.judged += other.judged;
        self.failed += other.failed;
    }

    /// Whether nearly all of enough failed.
    fn is_mass_failure(self) -> bool {
        self.judged >= GUARD_LEAST && self.failed.saturating_mul(1000) >= self.judged.saturating_mul(GUARD_THOUSANDTHS)
    }
}

/// What came of a run, in its last attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RunTally {
    /// Its cases.
    pub cases: Judged,
    /// Their steps, and the results that tools reported.
    pub steps: Judged,
}

impl RunTally {
    pub(super) fn add(&mut self, other: &Self) {
        self.cases.add(other.cases);
        self.steps.add(other.steps);
    }

    /// Whether the guard counts the run apart.
    #[must_use]
    pub fn is_mass_failure(&self) -> bool {
        self.cases.is_mass_failure() || self.steps.is_mass_failure()
    }
}

/// A run in which nearly everything failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MassFailure {
    /// The suite execution, or the execution of a case without a suite.
    pub root_id: ExecutionId,
    /// The suite's id.
    pub suite: String,
    /// When it was over.
    pub at: Timestamp,
    /// What came of it.
    pub tally: RunTally,
}

/// The runs that ended on a day and in which nearly everything had failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MassFailures {
    /// The day.
    pub day: Day,
    /// The first [`MAX_LISTED_MASS_FAILURES`] of them.
    pub runs: Vec<MassFailure>,
    /// How many there are.
    pub count: u64,
}

impl MassFailures {
    pub(super) fn take(&mut self, failure: &MassFailure) {
        self.count += 1;
        if self.runs.len() < MAX_LISTED_MASS_FAILURES {
            self.runs.push(failure.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_are_nearly_everything() {
        for (judged, failed, expected) in
            [(9, 9, false), (10, 8, false), (10, 9, true), (100, 89, false), (100, 90, true), (0, 0, false)]
        {
            let few = Judged { judged, failed };
            let none = Judged::default();
            assert_eq!(RunTally { cases: few, steps: none }.is_mass_failure(), expected, "{failed} of {judged}");
            assert_eq!(RunTally { cases: none, steps: few }.is_mass_failure(), expected, "{failed} of {judged}");
        }
    }

    #[test]
    fn what_was_not_judged_does_not_count() {
        let tally: OutcomeTally = StepOutcome::ALL.into_iter().map(|outcome| (outcome, 2)).collect();
        assert_eq!(Judged::of(&tally), Judged { judged: 8, failed: 6 });
    }
}
