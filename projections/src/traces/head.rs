//! The head of a trace: its fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::event::ExecutionKind;
use testledger_schemas::plan::CaseType;
use testledger_schemas::{ExecutionId, ExecutionStatus, Timestamp};

use super::around::Surrounding;
use super::facts::{FailedStep, Told, UsageTotals};
use super::item::TraceItem;

/// How many attempts a head lists, the latest ones.
pub const MAX_ATTEMPTS: usize = 50;
/// How many steps a head remembers as begun and not ended. A lawful history has one at a time.
pub(super) const MAX_OPEN_STEPS: usize = 16;

/// What a trace is of, its figures, and its items while they are few.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TraceHead {
    /// The execution.
    pub execution_id: ExecutionId,
    /// What it is a run of.
    pub kind: ExecutionKind,
    /// How the case is carried out; none for a suite.
    pub case_type: Option<CaseType>,
    /// The suite's id.
    pub suite: String,
    /// The case's id; none for a suite.
    pub case: Option<String>,
    /// The cell of the case's matrix; empty where there is none.
    pub matrix: String,
    /// Name and source of the request; none before it.
    pub request: Option<Told<RequestTexts>>,
    /// The suite execution this belongs to.
    pub parent_id: Option<ExecutionId>,
    /// The number of its item in the trace of that suite.
    pub place: Option<u64>,

    /// The status.
    pub status: ExecutionStatus,
    /// Whether nothing can follow.
    pub is_final: bool,
    /// The latest attempt; 0 before the first.
    pub attempt: u32,
    /// The latest attempts.
    pub attempts: Vec<AttemptTrace>,
    /// How often its worker was lost.
    pub interruptions: u32,
    /// The step that ended the latest attempt early.
    pub failed_step: Option<FailedStep>,

    /// When it was asked for.
    pub requested_at: Option<Timestamp>,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
    /// The running time of all attempts that are over.
    pub total_duration_ms: u64,
    /// What its steps cost, or those of its cases in attempts that are over.
    pub resource_usage: UsageTotals,
    /// That part of it which belongs to attempts that are over.
    pub usage_of_attempts: UsageTotals,

    /// Whether the items are in this document; if not, they are in partitions.
    pub use_embedded_steps: bool,
    /// The items, while they are here.
    pub embedded_steps: Vec<TraceItem>,
    /// How many items there are.
    pub step_count: u64,
    /// How many partitions hold them; 0 while they are here.
    pub partition_count: u64,
    /// Services and hooks around the items, the first of them.
    pub surroundings: Vec<Surrounding>,
    /// How many services and hooks there are.
    pub surrounding_count: u64,
    /// How many files were kept that belong to no item.
    pub artifact_count: u64,

    /// The steps that have begun and not ended.
    pub open_steps: Vec<OpenStep>,
    /// How many erasures its stream records.
    pub erasures: u64,
    /// The position of the last event that changed this document.
    pub last_position: u64,
}

/// Texts of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequestTexts {
    /// The name shown to people.
    pub name: String,
    /// The file the plan came from, or the wrapped command.
    pub source: String,
}

/// One attempt of an execution.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AttemptTrace {
    /// Its number, from 1.
    pub attempt: u32,
    /// The number of its first item, if it has one.
    pub first_item: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended; none while it runs.
    pub status: Option<ExecutionStatus>,
    /// When that was recorded.
    pub finished_at: Option<Timestamp>,
    /// Its running time.
    pub duration_ms: Option<u64>,
}

/// A step that has begun and not ended, and the item that stands for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OpenStep {
    /// The attempt of the execution.
    pub attempt: u32,
    /// The step's id, as the item's label has it.
    pub step: String,
    /// The attempt of the step.
    pub step_attempt: u32,
    /// The number of the item.
    pub index: u64,
}

impl TraceHead {
    /// The head before the first event.
    pub(super) fn initial(execution_id: ExecutionId) -> Self {
        Self {
            execution_id,
            kind: ExecutionKind::Case,
            case_type: None,
            suite: String::new(),
            case: None,
            matrix: String::new(),
            request: None,
            parent_id: None,
            place: None,
            status: ExecutionStatus::Pending,
            is_final: false,
            attempt: 0,
            attempts: vec![],
            interruptions: 0,
            failed_step: None,
            requested_at: None,
            started_at: None,
            finished_at: None,
            total_duration_ms: 0,
            resource_usage: UsageTotals::default(),
            usage_of_attempts: UsageTotals::default(),
            use_embedded_steps: true,
            embedded_steps: vec![],
            step_count: 0,
            partition_count: 0,
            surroundings: vec![],
            surrounding_count: 0,
            artifact_count: 0,
            open_steps: vec![],
            erasures: 0,
            last_position: 0,
        }
    }
}
