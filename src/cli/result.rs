//! What `run --json` and `executions retry --json` print, one object for each plan; and `audit verify --json`.

use schemars::JsonSchema;
use serde::Serialize;
use testledger_schemas::event::{OutcomeTally, StatusTally};
use testledger_schemas::page::Anchor;
use testledger_schemas::{ExecutionId, ExecutionStatus, WorkerId};

use crate::audit::AuditReport;
use crate::engine::overhead::{OverheadParts, OverheadSummary};
use crate::views::compare::Compared;

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

/// What an audit found: the output of `audit verify --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct VerifyResult {
    /// The log.
    #[serde(flatten)]
    pub log: AuditReport,
    /// Its views, if they were asked for: each projection compared with a replay.
    pub views: Vec<Compared>,
}

impl VerifyResult {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.log.is_clean() && self.views.iter().all(|compared| compared.differences_total == 0)
    }

    /// The result for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let views: String = self.views.iter().map(Compared::to_text).collect();
        self.log.to_text() + &views
    }
}
