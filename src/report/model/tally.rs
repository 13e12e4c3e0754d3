//! How many cases had each status, and how many steps and reported results each outcome.

use std::collections::BTreeMap;

use testledger_schemas::StepOutcome;
use testledger_schemas::event::{OutcomeTally, StatusTally};

use super::{ReportedEntry, RunReport};

impl RunReport {
    /// How many cases are in each status now.
    #[must_use]
    pub fn statuses(&self) -> StatusTally {
        let mut tally = StatusTally::new();
        for case in self.cases() {
            *tally.entry(case.status).or_default() += 1;
        }
        tally
    }

    /// How many cases were ended before they started.
    #[must_use]
    pub fn not_run(&self) -> usize {
        self.cases().filter(|case| case.is_not_run()).count()
    }

    /// Outcomes of the steps of each case's last attempt, each step counted once.
    #[must_use]
    pub fn step_outcomes(&self) -> OutcomeTally {
        tally(self.cases().flat_map(|case| case.final_steps()).filter_map(|step| step.outcome))
    }

    /// Outcomes that tools reported of their own test cases, in each case's last attempt.
    #[must_use]
    pub fn reported_outcomes(&self) -> OutcomeTally {
        tally(self.reported().map(|entry| entry.result.outcome))
    }

    /// How many of those have each of the tools' own words (`xfail`, `flaky`), by outcome.
    #[must_use]
    pub fn reported_details(&self) -> BTreeMap<(StepOutcome, String), u64> {
        let mut tally = BTreeMap::new();
        for entry in self.reported() {
            if let Some(detail) = &entry.result.detail {
                *tally.entry((entry.result.outcome, detail.clone())).or_default() += 1;
            }
        }
        tally
    }

    fn reported(&self) -> impl Iterator<Item = &ReportedEntry> {
        self.cases().flat_map(|case| case.final_steps()).flat_map(|step| &step.reported)
    }
}

fn tally(outcomes: impl Iterator<Item = StepOutcome>) -> OutcomeTally {
    let mut tally = OutcomeTally::new();
    for outcome in outcomes {
        *tally.entry(outcome).or_default() += 1;
    }
    tally
}
