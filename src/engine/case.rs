//! The attempts of one case: each gets a slot, runs, and is followed by the next one that is due.

use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::command::Command;
use testledger_schemas::plan::Case;
use testledger_schemas::{Plan, Timestamp};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::engine::attempt::Attempt;
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::stop::Stop;

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
    wait_until(engine, execution.state().retry_at, stop).await;
    while let AttemptEnd::Retry { not_before } = attempt(engine, plan, case, execution, stop, Instant::now()).await? {
        wait_until(engine, Some(not_before), stop).await;
    }
    Ok(())
}

async fn wait_until(engine: &Engine, due: Option<Timestamp>, stop: &Stop) {
    let wait = due.map_or(0, |due| due.since_ms(engine.journal.now()));
    tokio::select! {
        biased;
        () = stop.token().cancelled() => {}
        () = tokio::time::sleep(Duration::from_millis(wait)) => {}
    }
}

/// Runs one attempt, from the slot to the verdict. `handed_out` is when it was decided that it is to run now: where the
/// slot is free, that is when it was granted.
///
/// # Errors
/// [`ExecutionError`] if the log cannot be read or written.
pub async fn attempt(
    engine: &Arc<Engine>,
    plan: &Plan,
    case: &Case,
    execution: &mut Execution,
    stop: &Stop,
    handed_out: Instant,
) -> Result<AttemptEnd, ExecutionError> {
    let (_slot, granted) = slot(engine, handed_out).await?;
    if execution.state().status.is_none() {
        execution.refresh().await?;
    }
    if let Some(reason) = stop.reason() {
        execution.act(&[Command::RequestCancellation(reason)]).await?;
        return Ok(AttemptEnd::Over);
    }
    let number = execution.state().attempt + 1;
    let mut attempt = Attempt::new(engine, plan, case, execution, stop, number, granted);
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
