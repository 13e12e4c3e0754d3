//! One sample: what one run of a step, or one reported result, says of its step.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::commit::CommitId;
use testledger_schemas::event::{ErrorKind, StepErrorFacts};
use testledger_schemas::{EventId, ExecutionId, StepOutcome, Timestamp};

/// What a sample says of its step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// It did what it should.
    Passed,
    /// It did not.
    Failed,
    /// Nothing: the infrastructure was lost in the middle.
    Lost,
    /// Nothing: it was not run to its end, on purpose.
    NotJudged,
}

/// What an outcome says. Losses of workers and of the machinery are nobody's flakiness but ours.
pub(super) fn judge(outcome: StepOutcome, error: Option<&StepErrorFacts>) -> Judgement {
    match outcome {
        StepOutcome::Passed => Judgement::Passed,
        StepOutcome::Failed | StepOutcome::Error | StepOutcome::Timeout => {
            let is_ours = error.is_some_and(|error| error.kind == ErrorKind::Infrastructure);
            if is_ours { Judgement::Lost } else { Judgement::Failed }
        }
        StepOutcome::Interrupted => Judgement::Lost,
        StepOutcome::Cancelled | StepOutcome::Skipped | StepOutcome::Blocked => Judgement::NotJudged,
    }
}

/// Which step, for people. Only ids of plans: the name that a tool gave its test may be erased, so it stays in the event
/// that [`StepLabel::named_by`] names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StepLabel {
    /// The suite's id.
    pub suite: String,
    /// The case's id.
    pub case: String,
    /// The cell of the case's matrix; empty where there is none.
    pub matrix: String,
    /// The step's id; of a reported result, the id of the step whose report it is.
    pub step: String,
    /// Of a reported result, where its name stands.
    pub named_by: Option<RowRef>,
}

/// A row of a reported chunk of results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RowRef {
    /// The commit.
    pub commit: CommitId,
    /// The event in it.
    pub event_id: EventId,
    /// The row, from 0.
    pub row: u32,
}

/// What the samples of one event share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SampleOrigin {
    /// Which step, without [`StepLabel::named_by`].
    pub label: StepLabel,
    /// The execution of the case.
    pub execution_id: ExecutionId,
    /// The suite execution, or the case's own where there is none: the run that the guard looks at.
    pub root_id: ExecutionId,
    /// The tested commit; none where it is not known, or the working tree had changes of its own.
    pub revision: Option<String>,
    /// When it was recorded.
    pub at: Timestamp,
}

/// What one run of a step says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sample {
    /// What it shares with others.
    pub origin: Arc<SampleOrigin>,
    /// Of a reported result, where its name stands.
    pub named_by: Option<RowRef>,
    /// What it says.
    pub judgement: Judgement,
    /// Whether the tool itself tried it again and got both results.
    pub is_flaky_by_tool: bool,
    /// The running time.
    pub duration_ms: u64,
    /// What went wrong.
    pub error: Option<StepErrorFacts>,
}
