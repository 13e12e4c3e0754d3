//! Why the decider says no.

use testledger_schemas::event::{Event, StepRun};
use testledger_schemas::{ExecutionStatus, StateTransitionError, WorkerId};

/// What decisions answer: events in order. None at all: it is so already.
pub(super) type Decision = Result<Vec<Event>, Refusal>;

/// Why a command was refused. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The status does not allow it.
    #[error(transparent)]
    StateTransition(#[from] StateTransitionError),
    /// There is no such execution.
    #[error("there is no such execution")]
    NotRequested,
    /// The same idempotency key was used for something else.
    #[error(
        "this idempotency key was used for another request: use a new key, or ask for the same plan and parameters"
    )]
    RequestConflict,
    /// It is over.
    #[error("the execution is over ({0})")]
    Final(ExecutionStatus),
    /// What it needs is not there yet.
    #[error("the execution is not ready to be claimed")]
    NotReady,
    /// Another worker has it.
    #[error("worker {0} has the claim")]
    AlreadyClaimed(WorkerId),
    /// The worker's claim is not the current one: another has taken over, or the claim was given back.
    #[error("the claim is not the current one")]
    StaleClaim,
    /// It shall stop: nothing new begins.
    #[error("a cancellation was requested")]
    Cancelling,
    /// Its worker was lost, and nobody has dealt with that yet.
    #[error("it was interrupted and is to be recovered first")]
    NotRecovered,
    /// A step of this attempt failed: no further step begins.
    #[error("the attempt is over")]
    AttemptOver,
    /// A step has begun and not ended.
    #[error("step `{}` has not ended", .0.step)]
    StepOpen(StepRun),
    /// No step has begun.
    #[error("no step has begun")]
    NoStepOpen,
    /// Another step (or another run of it) is due.
    #[error("another step is due: {0}")]
    OutOfOrder(String),
    /// It makes no sense for this kind of execution, or in this state.
    #[error("{0}")]
    Nonsense(&'static str),
}
