//! What can go wrong with an execution, apart from its test failing.

use testledger_schemas::commit::SealError;
use testledger_schemas::upcast::UnreadableEvent;
use testledger_schemas::{ExecutionId, StateTransitionError};

use crate::event_store::StoreError;
use crate::execution::Refusal;
use crate::steps::launcher::LaunchError;

/// Why the engine could not bring an execution on its way.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// A step could not be carried out at all, for a reason that is not the test's.
    #[error("step `{step}`: {reason}")]
    StepExecution {
        /// The step.
        step: String,
        /// What went wrong.
        reason: String,
    },
    /// The engine waited for something that did not come in time.
    #[error("{what} did not come within {waited_ms} ms")]
    Timeout {
        /// What it waited for.
        what: String,
        /// How long.
        waited_ms: u64,
    },
    /// The status of an execution did not allow what was to follow.
    #[error(transparent)]
    StateTransition(StateTransitionError),
    /// This machine has no room for what is needed.
    #[error("a resource is missing: {0}")]
    ResourceAllocation(String),
    /// The decider refused.
    #[error("execution {execution}: {refusal}")]
    Refused {
        /// The execution.
        execution: ExecutionId,
        /// Why.
        refusal: Refusal,
    },
    /// The log cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the log holds cannot be read.
    #[error("execution {execution}: {source}")]
    Unreadable {
        /// The execution.
        execution: ExecutionId,
        /// Why.
        source: UnreadableEvent,
    },
    /// The plan of an execution is not where the log says.
    #[error("the plan {0} is missing from the artifacts, or cannot be read")]
    PlanMissing(testledger_schemas::Hash),
    /// This engine may not work any more: the process that starts its commands is gone, or others have what it had.
    #[error("this engine can go on with nothing: {0}. What it had begun can be recovered (`testledger recover`)")]
    WorkerLost(String),
    /// The lease of this engine has run out, or another engine has declared it lost.
    #[error(
        "the lease of this engine has run out (the store was away, or this process stood still): it can go on with nothing. \
         What it had begun can be recovered (`testledger recover`)"
    )]
    LeaseLost,
    /// A bug of this program.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ExecutionError {
    /// The error for a refusal of this execution's decider.
    #[must_use]
    pub fn refused(execution: ExecutionId, refusal: Refusal) -> Self {
        match refusal {
            Refusal::StateTransition(error) => Self::StateTransition(error),
            refusal => Self::Refused { execution, refusal },
        }
    }
}

impl From<SealError> for ExecutionError {
    fn from(error: SealError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<LaunchError> for ExecutionError {
    fn from(error: LaunchError) -> Self {
        Self::ResourceAllocation(error.to_string())
    }
}
