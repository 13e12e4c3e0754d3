//! What `run --json` and `executions retry --json` print: one object for each plan.

use schemars::JsonSchema;
use serde::Serialize;
use testledger_schemas::event::{OutcomeTally, StatusTally};
use testledger_schemas::page::Anchor;
use testledger_schemas::{ExecutionId, ExecutionStatus, WorkerId};

use crate::engine::overhead::{OverheadParts, OverheadSummary};

/// What a run has led to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunResult {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The engine that ran it, or was the last to do so; none if it never started.
    pub worker: Option<WorkerId>,
    /// Its status.
    pub status: ExecutionStatus,
    /// The exit code that says the same.
    pub exit_code: u8,
    /// Whether it was there before, by its idempotency key.
    pub existed: bool,
    /// The running time of the last attempt.
    pub duration_ms: u64,
    /// The statuses of the cases.
    pub cases: StatusTally,
    /// The outcomes of the steps that ended their attempts' work on them.
    pub steps: OutcomeTally,
    /// The outcomes that tools reported of their own test cases.
    pub reported: OutcomeTally,
    /// `PAGE:HASH` of the page with the last event: proves later that nothing before it was changed.
    pub anchor: Anchor,
    /// What this program itself cost each attempt.
    pub overhead: OverheadSummary,
    /// The same, in its two parts.
    pub overhead_parts: OverheadParts,
    /// How long this program's appends took until they were durable.
    pub appends: OverheadSummary,
    /// The same, of those appends only that turned an execution from one status to another.
    pub transitions: OverheadSummary,
}
