//! Waits for the end of an execution that another engine has, as long as that engine may still live.

use std::time::Duration;

use testledger_schemas::event::WorkerStarted;
use testledger_schemas::{Event, StreamId, WorkerId};

use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::stop::Stop;
use crate::engine::{Engine, started_ticks};
use crate::event_store::{EventLog, StoreError};

/// The wait between two looks at whether the other engine still lives, when the log is silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many commits the stream of an engine has at the most: its start and its end.
const WORKER_COMMITS: usize = 16;

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

/// Waits until no other engine has the execution.
///
/// # Errors
/// [`ExecutionError::Interrupted`] if the other engine is proven dead; or if the log cannot be read.
pub async fn until_released(
    engine: &Engine,
    execution: &mut Execution,
    stop: &Stop,
) -> Result<Followed, ExecutionError> {
    let mut head = engine.journal.log.head();
    loop {
        head.mark_unchanged();
        execution.refresh().await?;
        if execution.state().is_final() {
            return Ok(Followed::Over);
        }
        let holder = execution.state().claim.map(|claim| claim.worker).filter(|worker| *worker != engine.worker());
        let Some(holder) = holder else { return Ok(Followed::Free) };
        if has_ended(engine.journal.log.as_ref(), holder, &engine.process).await? {
            // Its last word may have come between the two looks.
            execution.refresh().await?;
            if execution.state().claim.is_some_and(|claim| claim.worker == holder) {
                return Err(ExecutionError::Interrupted { execution: execution.id(), worker: holder });
            }
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
            changed = head.changed() => if changed.is_err() { return Ok(Followed::GivenUp) },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Whether an engine is proven to have ended: it said so, or it ran on this host since its last start and its process is
/// gone. Of one that runs elsewhere nothing is known. `here` is this process.
///
/// # Errors
/// [`StoreError`] if the log cannot be read.
pub async fn has_ended(log: &dyn EventLog, worker: WorkerId, here: &WorkerStarted) -> Result<bool, StoreError> {
    let commits = log.read_stream(StreamId::from(worker), 0, WORKER_COMMITS).await?;
    let events = commits.iter().flat_map(|commit| &commit.events).filter_map(|recorded| recorded.read().ok());
    let mut ended = false;
    for event in events {
        if let Event::WorkerStarted(started) = &event {
            ended = is_dead(started, here);
        }
        if let Event::WorkerStopped(_) = event {
            return Ok(true);
        }
    }
    Ok(ended)
}

/// The host's name counts, too: containers of one host share its boot, but not its processes.
fn is_dead(process: &WorkerStarted, here: &WorkerStarted) -> bool {
    let is_here = !here.boot_id.is_empty() && process.boot_id == here.boot_id && process.content == here.content;
    is_here && started_ticks(process.pid) != Some(process.started_ticks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::this_process;

    #[test]
    fn only_a_process_of_this_host_and_boot_is_proven_dead() {
        let here = this_process("host");
        assert!(!is_dead(&here, &here));
        let before_me = WorkerStarted { started_ticks: here.started_ticks - 1, ..here.clone() };
        assert!(is_dead(&before_me, &here));
        let elsewhere = WorkerStarted { content: this_process("other").content, ..before_me.clone() };
        assert!(!is_dead(&elsewhere, &here));
        let before_the_boot = WorkerStarted { boot_id: "another".to_owned(), ..before_me };
        assert!(!is_dead(&before_the_boot, &here));
    }
}
