//! A plan: what to run, after validation. Every default is filled in, every shorthand is written out.
//!
//! This is the shape that is kept as an artifact and hashed, and that the engine carries out. What people write is
//! [`document`]; the way from there to here is the room `plan/` of the main crate.

mod action;
pub mod document;
mod expect;
mod result;
mod service;

use std::collections::BTreeMap;

pub use action::*;
pub use expect::*;
pub use result::*;
pub use service::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Limits;
use crate::hash::Hash;

/// How a case is carried out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaseType {
    /// Commands and HTTP requests.
    #[default]
    Generic,
    /// Gherkin.
    Bdd,
    /// A person gives the verdict.
    Manual,
}

/// How urgent an execution is. Sorts from low to critical.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// When nothing else waits.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before the normal ones.
    High,
    /// Before all others.
    Critical,
}

/// What becomes of a step that had begun when its worker was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnInterrupt {
    /// It runs again.
    #[default]
    Rerun,
    /// The attempt fails.
    Fail,
}

/// Where an interrupted case may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resume {
    /// On the same host and workspace; elsewhere a new attempt begins at step 1.
    #[default]
    SameHost,
    /// Anywhere.
    Anywhere,
}

/// How often something is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// How many attempts there are at the most; 1 is no retry.
    pub max_attempts: u32,
    /// The wait before the second attempt.
    pub backoff_ms: u64,
    /// How much longer each further wait is than the one before it.
    pub backoff_factor: u32,
}

/// The longest wait between two attempts: 5 minutes.
pub const MAX_BACKOFF_MS: u64 = 300_000;

impl Retries {
    /// One attempt and no more.
    pub const NONE: Self = Self { max_attempts: 1, backoff_ms: 0, backoff_factor: 2 };

    /// The wait before attempt `next` (2 or more): `backoff · factor^(next - 2)`, at most [`MAX_BACKOFF_MS`].
    #[must_use]
    pub fn wait_before_ms(&self, next: u32) -> u64 {
        let factor = u64::from(self.backoff_factor).saturating_pow(next.saturating_sub(2));
        self.backoff_ms.saturating_mul(factor).min(MAX_BACKOFF_MS)
    }
}

/// A validated plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The id of the suite.
    pub suite: String,
    /// The name shown to people.
    pub name: String,
    /// The file it came from, or the wrapped command; for people.
    pub source: String,
    /// Whether the cases are children of a suite execution; a wrapped command is one execution without a parent.
    pub is_suite: bool,
    /// The directory that relative paths start from, absolute.
    pub directory: String,
    /// Parameters with their values for this run.
    pub params: BTreeMap<String, String>,
    /// Parameters that must be given a value before the plan can run; empty in a plan that runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_params: Vec<String>,
    /// Environment of every command, templates unresolved, in order.
    pub env: Vec<(String, String)>,
    /// The names of the environment variables that hold secrets; never their values.
    pub secrets: Vec<String>,
    /// How many cases run side by side; none: the engine's setting alone bounds it.
    pub concurrency: Option<u32>,
    /// Stop at the first case that fails.
    pub fail_fast: bool,
    /// The wall-clock time the whole suite may take.
    pub deadline_ms: Option<u64>,
    /// What must be up before any case starts, in the order of starting.
    pub services: Vec<Service>,
    /// The cases, in the plan's order; at least one.
    pub cases: Vec<Case>,
}

impl Plan {
    /// The bytes that are kept as an artifact.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Text keys only: serde_json has no reason to refuse a plan.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The hash of the plan: the address of its artifact.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.to_bytes())
    }
}

/// One test with ordered steps. A case with a matrix stands here once for each cell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its id, unique in the plan together with the matrix cell.
    pub id: String,
    /// The cell of its matrix: `key=value` pairs in key order, joined by commas; empty where there is none.
    pub matrix: String,
    /// The values of the cell, for templates (`matrix.KEY`).
    pub matrix_values: BTreeMap<String, String>,
    /// The name shown to people.
    pub name: String,
    /// How it is carried out.
    #[serde(rename = "type")]
    pub case_type: CaseType,
    /// What it can be selected by.
    pub tags: Vec<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// The ids of the cases that must pass first (every cell of them).
    pub needs: Vec<String>,
    /// Environment of its commands, templates unresolved, in order.
    pub env: Vec<(String, String)>,
    /// The running time an attempt may take; none is no bound.
    pub timeout_ms: Option<u64>,
    /// How often the whole case is tried.
    pub retries: Retries,
    /// Where it may go on after its worker was lost.
    pub resume: Resume,
    /// Its steps; at least one.
    pub steps: Vec<Step>,
}

impl Case {
    /// Id and matrix cell as shown to people: `id` or `id[key=value]`.
    #[must_use]
    pub fn label(&self) -> String {
        if self.matrix.is_empty() { self.id.clone() } else { format!("{}[{}]", self.id, self.matrix) }
    }

    /// What bounds an execution of this case.
    #[must_use]
    pub fn limits(&self, max_interruptions: u32) -> Limits {
        Limits {
            max_attempts: self.retries.max_attempts,
            backoff_ms: self.retries.backoff_ms,
            backoff_factor: self.retries.backoff_factor,
            timeout_ms: self.timeout_ms,
            max_interruptions,
        }
    }
}

/// One step of a case.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its id, unique in its case.
    pub id: String,
    /// The name shown to people.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// The running time it may take; none is no bound.
    pub timeout_ms: Option<u64>,
    /// How often it is tried within one attempt of the case.
    pub retries: Retries,
    /// What becomes of it when its worker was lost in the middle.
    pub on_interrupt: OnInterrupt,
    /// What is kept of its result for later steps, by name.
    pub capture: BTreeMap<String, Capture>,
    /// A report its tool writes, each test case of which becomes a step result.
    pub report: Option<Report>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_the_factor_and_stop_growing() {
        let retries = Retries { max_attempts: 99, backoff_ms: 1000, backoff_factor: 2 };
        assert_eq!([2, 3, 4, 40].map(|next| retries.wait_before_ms(next)), [1000, 2000, 4000, MAX_BACKOFF_MS]);
        assert_eq!(Retries::NONE.wait_before_ms(2), 0);
    }
}
