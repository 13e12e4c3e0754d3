//! What planted bugs make of decisions. Without them, and in every release, each of these leaves everything as it is.

use std::borrow::Cow;

use testledger_schemas::command::Command;
use testledger_schemas::event::ExecutionPassed;
use testledger_schemas::{Event, WorkerId};

use crate::execution::{Asked, Claim, Refusal, State};
use crate::ports::fault::{self, Bug};

/// The state that a decision is made on.
pub fn seen<'a>(state: &'a State, asked: &Asked) -> Cow<'a, State> {
    if !fault::is_planted(Bug::ClaimNotChecked) {
        return Cow::Borrowed(state);
    }
    // Whoever asks finds the claim as it suits.
    let worker = state.claim.map(|claim| claim.worker).or(state.last_worker);
    let claim = match &asked.command {
        Command::Claim(_) => None,
        Command::Interrupt { epoch, .. } => worker.map(|worker: WorkerId| Claim { worker, epoch: *epoch }),
        _ => asked.authority.map(|said| Claim { worker: said.worker, epoch: said.epoch }),
    };
    Cow::Owned(State { claim, ..state.clone() })
}

/// What is made of a decision.
pub fn decided(state: &State, decided: Result<Vec<Event>, Refusal>) -> Result<Vec<Event>, Refusal> {
    let mut events = decided?;
    if fault::is_planted(Bug::InterruptedWithoutEnd) {
        let is_lost = events.iter().any(|event| matches!(event, Event::ExecutionInterrupted(_)));
        events.retain(|event| !is_lost || !matches!(event, Event::StepFinished(_)));
    }
    if fault::is_planted(Bug::PassInvented) && state.interruptions > 0 {
        for event in &mut events {
            if let Event::ExecutionFailed(failed) = event {
                let (attempt, duration_ms) = (failed.attempt, failed.duration_ms);
                let (steps, cases) = (failed.steps.clone(), failed.cases.clone());
                *event = ExecutionPassed { attempt, duration_ms, steps, cases }.into();
            }
        }
    }
    Ok(events)
}

/// What is made of an event, once it is folded.
pub fn evolved(state: &mut State, event: &Event) {
    if !matches!(event, Event::ExecutionInterrupted(_)) {
        return;
    }
    if fault::is_planted(Bug::FinishedStepsAgain) {
        state.next_step = 0;
    }
    if fault::is_planted(Bug::InterruptionCounted) {
        state.step_attempts += 1;
    }
}
