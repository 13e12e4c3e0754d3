//! The attempts of one case: each gets a slot, runs, and is followed by the next one that is due.

use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::command::Command;
use testledger_schemas::plan::Case;
use testledger_schemas::{ExecutionStatus, Plan, Timestamp};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::engine::attempt::Attempt;
use crate::engine::attempt::resume::resume;
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::follow::{self, Followed};
use crate::engine::stop::Stop;
use crate::engine::{Engine, MAX_TURNS};
use crate::execution::State;

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttemptEnd {
    /// The execution is over, or another worker has it.
    Over,
    /// Another attempt is due at this time.
    Retry {
        /// The time.
        not_before: Timestamp,
    },
}

/// Runs the one case of a plan that is no suite, attempt after attempt.
///
/// # Errors
/// [`ExecutionError`] if the log cannot be read or written.
pub async fn run_alone(
    engine: &Arc<Engine>,
    plan: &Plan,
    execution: &mut Execution,
    stop: &Stop,
) -> Result<(), ExecutionError> {
    if execution.state().is_final() {
        return Ok(());
    }
    let case = plan.cases.first().ok_or_else(|| ExecutionError::Internal("a plan without cases".to_owned()))?;
    // Another engine may have begun it, and its next attempt may not be due yet.
    if let Some(due) = execution.state().retry_at {
        wait(wait_for(engine, case, execution.state(), due), stop).await;
    }
    while let AttemptEnd::Retry { not_before } = attempt(engine, plan, case, execution, stop, Grant::alone()).await? {
        wait(wait_for(engine, case, execution.state(), not_before), stop).await;
    }
    Ok(())
}

async fn wait(wait: Duration, stop: &Stop) {
    tokio::select! {
        biased;
        () = stop.token().cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

/// How long until the next attempt is due. By the wall clock, so that the wait survives a restart; but never longer than it
/// was to be, because the clock may have jumped, or be that of another machine.
#[must_use]
pub fn wait_for(engine: &Engine, case: &Case, state: &State, due: Timestamp) -> Duration {
    let longest = case.retries.wait_before_ms(state.counted_attempts() + 1);
    Duration::from_millis(due.since_ms(engine.journal.now()).min(longest))
}

/// Under what an attempt is made.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// The claim of the suite; none for what belongs to no suite.
    pub parent_epoch: Option<u64>,
    /// When it was decided that it is to run now, or, where it had to wait for a slot, when that was granted.
    pub at: Instant,
}

impl Grant {
    /// For what belongs to no suite.
    #[must_use]
    pub fn alone() -> Self {
        Self { parent_epoch: None, at: Instant::now() }
    }
}

/// Runs one attempt, from the slot to the verdict; goes on with one that was interrupted.
///
/// # Errors
/// [`ExecutionError`] if the log cannot be read or written, or this engine may not work any more.
pub async fn attempt(
    engine: &Arc<Engine>,
    plan: &Plan,
    case: &Case,
    execution: &mut Execution,
    stop: &Stop,
    grant: Grant,
) -> Result<AttemptEnd, ExecutionError> {
    let (_slot, at) = slot(engine, grant.at).await?;
    let grant = Grant { at, ..grant };
    if execution.state().status.is_none() {
        execution.refresh().await?;
    }
    for _ in 0..MAX_TURNS {
        let is_foreign = execution.claimed_elsewhere().is_some();
        if is_foreign && follow::until_released(engine, execution, stop).await? == Followed::GivenUp {
            return Ok(AttemptEnd::Over);
        }
        let end = one_attempt(engine, plan, case, execution, stop, grant).await?;
        let state = execution.state();
        if end != AttemptEnd::Over || state.is_final() || grant.parent_epoch.is_none() || stop.leaves() {
            return Ok(end);
        }
        // Somebody had it, or wanted it to stop, in that very moment. A suite's case is brought to its end; but not by one
        // who has lost the suite.
        execution.refresh().await?;
        if execution.state().parent_epoch > grant.parent_epoch {
            return Ok(AttemptEnd::Over);
        }
    }
    Err(ExecutionError::Internal(format!("execution {} changed hands {MAX_TURNS} times", execution.id())))
}

async fn one_attempt(
    engine: &Arc<Engine>,
    plan: &Plan,
    case: &Case,
    execution: &mut Execution,
    stop: &Stop,
    grant: Grant,
) -> Result<AttemptEnd, ExecutionError> {
    let state = execution.state();
    if state.is_final() || stop.leaves() {
        return Ok(AttemptEnd::Over);
    }
    if state.status == Some(ExecutionStatus::Running) {
        return resume(engine, plan, case, execution, stop, grant).await;
    }
    if let Some(reason) = stop.reason() {
        execution.act(&[Command::RequestCancellation(reason)]).await?;
        return Ok(AttemptEnd::Over);
    }
    let number = state.attempt + 1;
    let mut attempt = Attempt::new(engine, plan, case, execution, stop, number, grant);
    let Some(due) = attempt.begin().await? else { return Ok(AttemptEnd::Over) };
    attempt.run(due).await
}

/// A slot, and when it was granted.
async fn slot(engine: &Engine, asked: Instant) -> Result<(OwnedSemaphorePermit, Instant), ExecutionError> {
    if let Ok(slot) = Arc::clone(&engine.slots).try_acquire_owned() {
        return Ok((slot, asked));
    }
    let slot = Arc::clone(&engine.slots).acquire_owned().await;
    let slot = slot.map_err(|error| ExecutionError::ResourceAllocation(error.to_string()))?;
    Ok((slot, Instant::now()))
}
