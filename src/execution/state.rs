//! What the decider knows of an execution: just enough to decide.

use std::collections::BTreeSet;
use std::sync::Arc;

use testledger_schemas::event::{
    CancelReason, ExecutionKind, ExecutionRequested, FailureReason, OutcomeTally, StepRun,
};
use testledger_schemas::plan::OnInterrupt;
use testledger_schemas::{ExecutionStatus, StepOutcome, Timestamp, WorkerId};

/// A worker's current claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The worker.
    pub worker: WorkerId,
    /// The epoch.
    pub epoch: u64,
}

/// A step that has begun and not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenStep {
    /// Which run.
    pub run: StepRun,
    /// How many attempts the step has at the most.
    pub max_attempts: u32,
    /// What becomes of it when the worker is lost.
    pub on_interrupt: OnInterrupt,
    /// How many chunks of its report are recorded.
    pub chunks: u32,
}

/// The state of one execution, folded from its events. Small: a copy costs next to nothing, however long the stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// What was asked for; none before the first event.
    pub request: Option<Arc<ExecutionRequested>>,
    /// The status; none before the first event.
    pub status: Option<ExecutionStatus>,
    /// Whether the last verdict announced another attempt.
    pub will_retry: bool,
    /// Why the last attempt failed, if it failed.
    pub failure: Option<FailureReason>,
    /// Whether it may be claimed.
    pub ready: bool,
    /// The claim of its suite under which it was made ready last.
    pub parent_epoch: Option<u64>,
    /// Who has it.
    pub claim: Option<Claim>,
    /// The epoch of the last claim there was; 0 before the first.
    pub last_epoch: u64,
    /// Who had the last claim there was; none before the first.
    pub last_worker: Option<WorkerId>,
    /// The current attempt; 0 before the first.
    pub attempt: u32,
    /// How often its worker was lost.
    pub interruptions: u32,
    /// Whether an attempt was interrupted and nobody has gone on with it yet.
    pub interrupted: bool,
    /// Whether it was recovered so that another attempt begins, and that has not begun.
    pub restarting: bool,
    /// How many attempts were given up because their worker was lost; they are no retries.
    pub restarts: u32,
    /// Why it shall stop, if it shall.
    pub cancellation: Option<CancelReason>,
    /// When the next attempt is due, while it waits for one.
    pub retry_at: Option<Timestamp>,
    /// The step that has begun and not ended.
    pub open_step: Option<OpenStep>,
    /// The place of the first step of this attempt that is not finished, from 0.
    pub next_step: u32,
    /// How many runs the step at `next_step` has had in this attempt.
    pub step_runs: u32,
    /// How many of those count as attempts: all but the interrupted ones.
    pub step_attempts: u32,
    /// The outcome that ended this attempt's steps early.
    pub halted: Option<StepOutcome>,
    /// Outcomes of this attempt's finished steps.
    pub steps: OutcomeTally,
    /// The running time of those.
    pub steps_ms: u64,
    /// The services that are up.
    pub services: BTreeSet<String>,
}

impl State {
    /// The state before the first event.
    #[must_use]
    pub fn initial() -> Self {
        Self::default()
    }

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.status.is_some_and(|status| status.is_final(self.will_retry))
    }

    /// Whether it is a suite.
    #[must_use]
    pub fn is_suite(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.kind == ExecutionKind::Suite)
    }

    /// Whether another attempt of this step may follow such an outcome: only failures are tried again, while attempts are
    /// left and nobody wants the execution to stop. Interruptions do not count as attempts.
    #[must_use]
    pub fn may_try_step_again(&self, open: &OpenStep, outcome: StepOutcome) -> bool {
        let is_failure = match outcome {
            StepOutcome::Failed | StepOutcome::Error | StepOutcome::Timeout => true,
            StepOutcome::Passed
            | StepOutcome::Cancelled
            | StepOutcome::Skipped
            | StepOutcome::Interrupted
            | StepOutcome::Blocked => false,
        };
        is_failure && self.cancellation.is_none() && self.step_attempts + 1 < open.max_attempts
    }

    /// How many attempts count as such: all but those that were given up because their worker was lost.
    #[must_use]
    pub fn counted_attempts(&self) -> u32 {
        self.attempt.saturating_sub(self.restarts)
    }

    /// Begins an attempt: what belonged to the one before is no more.
    pub(super) fn begin_attempt(&mut self, attempt: u32) {
        self.attempt = attempt;
        self.will_retry = false;
        self.failure = None;
        self.retry_at = None;
        self.open_step = None;
        self.next_step = 0;
        self.step_runs = 0;
        self.step_attempts = 0;
        self.halted = None;
        self.restarting = false;
        self.steps.clear();
        self.steps_ms = 0;
    }
}
