//! `evolve`: what each event does to the state. Total: whatever stands in the log is folded.

use std::sync::Arc;

use testledger_schemas::event::{
    CancelReason, Event, ExecutionClaimed, ExecutionInterrupted, ExecutionRequested, StepFinished, StepStarted,
};
use testledger_schemas::{ExecutionStatus, StepOutcome};

use super::state::{Claim, OpenStep, State};

/// Applies one event.
pub fn evolve(state: &mut State, event: &Event) {
    match event {
        Event::ExecutionRequested(request) => requested(state, request),
        Event::ExecutionReady(ready) => {
            state.ready = true;
            state.parent_epoch = ready.parent_epoch;
        }
        Event::ExecutionClaimed(claimed) => claim(state, claimed),
        Event::ClaimReleased(_) => state.claim = None,
        Event::ExecutionStarted(started) => {
            state.status = Some(ExecutionStatus::Running);
            state.begin_attempt(started.attempt);
        }
        Event::StepStarted(started) => step_started(state, started),
        Event::StepResultsReported(reported) => {
            if let Some(open) = &mut state.open_step {
                open.chunks = reported.chunk;
            }
        }
        Event::StepFinished(finished) => step_finished(state, finished),
        Event::ServiceStarted(started) => {
            state.services.insert(started.service.clone());
        }
        Event::ServiceStopped(stopped) => {
            state.services.remove(&stopped.service);
        }
        Event::CancellationRequested(requested) => {
            state.cancellation.get_or_insert(requested.reason);
        }
        Event::ExecutionPassed(_) => verdict(state, ExecutionStatus::Passed, false),
        Event::ExecutionFailed(failed) => {
            state.failure = Some(failed.reason);
            verdict(state, ExecutionStatus::Failed, failed.will_retry);
        }
        Event::ExecutionTimedOut(timed_out) => verdict(state, ExecutionStatus::Timeout, timed_out.will_retry),
        Event::ExecutionRetryScheduled(retry) => {
            state.status = Some(ExecutionStatus::Retrying);
            state.retry_at = Some(retry.not_before);
        }
        Event::ExecutionCancelled(cancelled) => stopped(state, ExecutionStatus::Cancelled, cancelled.reason),
        Event::ExecutionAborted(aborted) => stopped(state, ExecutionStatus::Aborted, aborted.reason),
        Event::ExecutionInterrupted(interrupted) => interrupt(state, interrupted),
        Event::ExecutionRecovered(recovered) => {
            state.interrupted = false;
            state.restarts += u32::from(recovered.restarts && !state.restarting);
            state.restarting = recovered.restarts;
        }
        Event::HookFinished(_)
        | Event::VerdictRequested(_)
        | Event::VerdictSubmitted(_)
        | Event::ArtifactAttached(_)
        | Event::DataErased(_)
        | Event::WorkerStarted(_)
        | Event::WorkerStopped(_) => {}
    }
}

fn requested(state: &mut State, request: &ExecutionRequested) {
    state.status = Some(ExecutionStatus::Pending);
    state.request = Some(Arc::new(request.clone()));
}

fn claim(state: &mut State, claimed: &ExecutionClaimed) {
    state.claim = Some(Claim { worker: claimed.worker, epoch: claimed.epoch });
    state.last_epoch = claimed.epoch;
    state.last_worker = Some(claimed.worker);
}

fn step_started(state: &mut State, started: &StepStarted) {
    state.step_runs = started.run.step_attempt;
    state.open_step = Some(OpenStep {
        run: started.run.clone(),
        max_attempts: started.max_attempts,
        on_interrupt: started.on_interrupt,
        chunks: 0,
    });
}

fn step_finished(state: &mut State, finished: &StepFinished) {
    state.open_step = None;
    state.steps_ms = state.steps_ms.saturating_add(finished.duration_ms);
    if finished.outcome != StepOutcome::Interrupted {
        state.step_attempts += 1;
    }
    if finished.will_retry {
        return;
    }
    *state.steps.entry(finished.outcome).or_default() += 1;
    if finished.outcome.lets_the_case_go_on() {
        state.next_step += 1;
        state.step_runs = 0;
        state.step_attempts = 0;
    } else {
        state.halted = Some(finished.outcome);
    }
}

fn verdict(state: &mut State, status: ExecutionStatus, will_retry: bool) {
    state.status = Some(status);
    state.will_retry = will_retry;
    if !will_retry {
        state.claim = None;
    }
}

fn stopped(state: &mut State, status: ExecutionStatus, reason: CancelReason) {
    state.cancellation.get_or_insert(reason);
    verdict(state, status, false);
}

fn interrupt(state: &mut State, interrupted: &ExecutionInterrupted) {
    state.claim = None;
    state.interruptions = interrupted.interruption;
    state.interrupted = true;
}
