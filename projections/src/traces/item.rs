//! The item of a trace: one run of a step, one reported result, or one case of a suite; and how it changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::event::{ActionKind, OutputFacts, ResourceUsage, StepErrorFacts};
use testledger_schemas::{EventId, ExecutionId, ExecutionStatus, StepKey, StepOutcome, Timestamp};

use super::facts::{FailedStep, InputTexts, ItemArtifact, OutputTexts, Told, UsageTotals};

/// How many kept files an item lists; more are only counted.
pub const MAX_ITEM_ARTIFACTS: usize = 4;

/// What an item of a trace is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ItemKind {
    /// One run of a step.
    Step,
    /// One test case of a tool's report; it has no start.
    Reported,
    /// One case of a suite.
    Case,
}

/// How a run of a step ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ItemEnd {
    /// The outcome.
    pub outcome: StepOutcome,
    /// Whether another attempt of the step follows.
    pub will_retry: bool,
    /// When it was recorded.
    pub finished_at: Timestamp,
    /// The running time; of a reported result, what the tool reports.
    pub duration_ms: u64,
    /// The command's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i64>,
    /// The status of the HTTP response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u32>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepErrorFacts>,
    /// A tool's own word for the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<ResourceUsage>,
    /// How much it printed, and where all of it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub printed: Vec<OutputFacts>,
    /// Whether a descendant had to be ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaked: bool,
    /// The signals that were sent to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals_sent: Vec<String>,
    /// Texts.
    pub outputs: Told<OutputTexts>,
}

/// How far a case of a suite has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseFacts {
    /// The execution of the case; it has a trace of its own.
    pub execution_id: ExecutionId,
    /// Its status.
    pub status: ExecutionStatus,
    /// Whether nothing can follow.
    pub is_final: bool,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The running time of all attempts that are over.
    pub duration_ms: u64,
    /// What the steps of all attempts that are over cost.
    pub usage: UsageTotals,
    /// The step that ended its latest attempt early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_step: Option<FailedStep>,
}

/// One item of a trace. It has [`super::MAX_ITEM_BYTES`] at the most.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TraceItem {
    /// Its number in the trace, from 0.
    pub index: u64,
    /// What it is.
    pub kind: ItemKind,
    /// The step's id; of a reported result, the id of the step whose report it is; of a case, `case[matrix]`.
    pub label: String,
    /// The attempt of the execution, from 1; of a case, its latest one, 0 before the first.
    pub attempt: u32,
    /// The attempt of the step within that; 0 for a case.
    pub step_attempt: u32,
    /// The step's identity over all runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_key: Option<StepKey>,
    /// What the step does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionKind>,
    /// When it was recorded as started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Texts that were there from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Told<InputTexts>>,
    /// How it ended; none while it runs, and for a case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ItemEnd>,
    /// How far the case has come; only for a case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseFacts>,
    /// What a person wrote with a verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Told<String>>,
    /// The first files that were kept of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ItemArtifact>,
    /// How many files were kept of it.
    #[serde(default)]
    pub artifact_count: u64,
}

/// How an item changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ItemChange {
    /// The run of the step is over.
    Ended(Box<ItemEnd>),
    /// The case has come further: when it began, which attempt, and the facts.
    Case(Option<Timestamp>, u32, Box<CaseFacts>),
    /// A person gave a verdict.
    Comment(Told<String>),
    /// A file was kept.
    Artifact(ItemArtifact),
    /// The texts of this event were erased.
    Erase(EventId),
}

impl TraceItem {
    /// An item of which nothing is known but what it is.
    pub(super) fn bare(kind: ItemKind, label: String, attempt: u32, step_attempt: u32) -> Self {
        Self {
            index: 0,
            kind,
            label,
            attempt,
            step_attempt,
            step_key: None,
            action: None,
            started_at: None,
            inputs: None,
            end: None,
            case: None,
            comment: None,
            artifacts: vec![],
            artifact_count: 0,
        }
    }

    /// The name shown to people; none where there is none, or where it was erased.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inputs.as_ref().and_then(|told| told.text.as_ref()).map(|text| text.name.as_str())
    }

    /// The outcome; none while the step runs, and for a case.
    #[must_use]
    pub fn outcome(&self) -> Option<StepOutcome> {
        self.end.as_ref().map(|end| end.outcome)
    }

    /// Applies a change.
    pub(super) fn change(&mut self, change: &ItemChange) {
        match change {
            ItemChange::Ended(end) => self.end = Some((**end).clone()),
            ItemChange::Case(started_at, attempt, facts) => {
                self.started_at = *started_at;
                self.attempt = *attempt;
                self.case = Some((**facts).clone());
            }
            ItemChange::Comment(comment) => self.comment = Some(comment.clone()),
            ItemChange::Artifact(artifact) => {
                self.artifact_count += 1;
                if self.artifacts.len() < MAX_ITEM_ARTIFACTS {
                    self.artifacts.push(artifact.clone());
                }
            }
            ItemChange::Erase(event) => self.erase(*event),
        }
    }

    fn erase(&mut self, event: EventId) {
        self.inputs.iter_mut().for_each(|told| told.erase(event));
        self.end.iter_mut().for_each(|end| end.outputs.erase(event));
        self.comment.iter_mut().for_each(|told| told.erase(event));
    }
}
