//! Waits for the end of an execution that another engine has, as long as that engine may still live; ends the claim of one
//! that is lost.

use std::time::Duration;

use testledger_schemas::WorkerId;
use testledger_schemas::command::Command;
use testledger_schemas::event::InterruptReason;

use crate::engine::Engine;
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::stop::Stop;
use crate::execution::Refusal;
use crate::ports::fault::{self, Point};

/// The wait between two looks at whether the other engine still lives, when the log is silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What became of an execution that another engine had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Followed {
    /// It is over.
    Over,
    /// Nobody has it.
    Free,
    /// Somebody here wants to wait no longer.
    GivenUp,
}

/// Waits until nobody else has the execution, which the caller watches. A claim of one that is lost is ended: what it had begun is recorded as
/// interrupted.
///
/// # Errors
/// [`ExecutionError`] if the log cannot be read or written.
pub async fn until_released(
    engine: &Engine,
    execution: &mut Execution,
    stop: &Stop,
) -> Result<Followed, ExecutionError> {
    loop {
        let more = engine.watched.more();
        execution.refresh().await?;
        if execution.state().is_final() {
            return Ok(Followed::Over);
        }
        let Some(holder) = execution.claimed_elsewhere() else { return Ok(Followed::Free) };
        let lost = if holder != engine.worker() {
            engine.fates.of(engine.journal.log.as_ref(), holder).await?
        } else if engine.watched.is_shared(execution.id()) {
            None
        } else {
            // Nothing else in this engine has it any more: it was dropped when something failed.
            Some(InterruptReason::WorkerDied)
        };
        if let Some(reason) = lost {
            end_claim(execution, holder, reason).await?;
            continue;
        }
        // A cancellation that stands in the log is for the engine that has it: its end is waited for all the same.
        let is_cancelled = execution.state().cancellation.is_some();
        if stop.reason().is_some() && !is_cancelled {
            return Ok(Followed::GivenUp);
        }
        tokio::select! {
            biased;
            () = stop.token().cancelled(), if !is_cancelled => {}
            () = more => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Says that whoever has the claim is lost. Its last word may have come first: then there is nothing to say.
async fn end_claim(execution: &mut Execution, holder: WorkerId, reason: InterruptReason) -> Result<(), ExecutionError> {
    let Some(claim) = execution.state().claim.filter(|claim| claim.worker == holder) else { return Ok(()) };
    match execution.act(&[Command::Interrupt { reason, epoch: claim.epoch }]).await {
        Ok(_) => {
            fault::reached(Point::ClaimEnded, execution.worker()).await;
            Ok(())
        }
        Err(ExecutionError::Refused { refusal: Refusal::StaleClaim | Refusal::Final(_), .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
