//! What a window adds up to without its runs: a store may count that for itself, for all steps at once.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::{ExecutionId, StepKey};

use super::bucket::Counts;
use super::guard::MassFailures;
use super::window::Window;

/// How often what happened to a step within a window, counted as [`Window`] counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WindowSums {
    /// The step.
    pub step_key: StepKey,
    /// Its runs.
    pub counts: Counts,
    /// How many runs were left out because nearly everything failed in them.
    pub mass_failures: u64,
    /// Samples that were lost with the infrastructure.
    pub lost: u64,
    /// Samples that were cancelled, skipped or blocked.
    pub not_judged: u64,
}

impl WindowSums {
    /// Whether a rule could fire or a state be other than HEALTHY: without a sample that failed, none does.
    #[must_use]
    pub fn may_tell(&self) -> bool {
        self.counts.failures > 0 || self.counts.mixed > 0
    }
}

impl Window {
    /// What it adds up to.
    #[must_use]
    pub fn sums(&self) -> WindowSums {
        WindowSums {
            step_key: self.step_key,
            counts: self.counts(),
            mass_failures: self.mass_failures,
            lost: self.lost,
            not_judged: self.not_judged,
        }
    }
}

/// The runs that the registers name: a window leaves them out.
#[must_use]
pub fn left_out(registers: &[MassFailures]) -> BTreeSet<ExecutionId> {
    registers.iter().flat_map(|register| &register.runs).map(|run| run.root_id).collect()
}
