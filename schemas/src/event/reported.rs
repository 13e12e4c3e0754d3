//! Results that a tool reported of its own test cases.

use super::declare::vocabulary;
use super::step::{StepErrorFacts, StepRun};
use crate::erasable::Erasable;
use crate::ids::StepKey;
use crate::outcome::StepOutcome;

vocabulary! {
    /// One test case of a tool's report.
    pub struct ReportedResult {
        /// Its identity over all runs.
        pub step_key: StepKey,
        /// How it ended.
        pub outcome: StepOutcome,
        /// The time the tool reports.
        pub duration_ms: u64,
        /// The tool's own word, where it says more than the outcome (`xfail`, `flaky`, `teardown error`).
        pub detail: Option<String>,
        /// What went wrong.
        pub error: Option<StepErrorFacts>,
    }

    /// Results that a tool reported of its own test cases; no start of their own.
    pub struct StepResultsReported {
        /// The step whose report it is.
        pub run: StepRun,
        /// The number of this chunk, from 1.
        pub chunk: u32,
        /// How many chunks there are.
        pub chunks: u32,
        /// The results, in the report's order.
        pub results: Vec<ReportedResult>,
        /// Their names and messages, in the same order.
        pub content: Erasable<ReportContent>,
    }

    /// Names and messages of reported results, in their order.
    #[derive(Default)]
    pub struct ReportContent {
        /// One for each result.
        pub cases: Vec<ReportedCase>,
    }

    /// Name and message of one reported result.
    #[derive(Default)]
    pub struct ReportedCase {
        /// Its name, unique within the report.
        pub name: String,
        /// What the tool says of it (failure message, reason of a skip).
        pub message: String,
    }
}
