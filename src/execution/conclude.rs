//! The verdict: what an attempt's outcome is, and whether another attempt follows.

use testledger_schemas::command::Conclusion;
use testledger_schemas::event::{
    CancelReason, ClaimReleased, Event, ExecutionCancelled, ExecutionFailed, ExecutionPassed, ExecutionRetryScheduled,
    ExecutionTimedOut, FailureReason, Limits, ReleaseReason, StatusTally,
};
use testledger_schemas::plan::Retries;
use testledger_schemas::{ExecutionStatus, StepOutcome, Timestamp};

use super::refusal::{Decision, Refusal};
use super::state::State;

/// What the attempt came to.
enum Verdict {
    Passed,
    Failed(FailureReason),
    TimedOut,
    Cancelled(CancelReason),
}

/// Gives the verdict. A pass is never taken on trust: every step must stand in the log as finished, and every case of a
/// suite must be counted.
pub(super) fn conclude(
    state: &State,
    status: ExecutionStatus,
    conclusion: &Conclusion,
    duration_ms: u64,
    cases: StatusTally,
    now: Timestamp,
) -> Decision {
    if let Some(open) = &state.open_step {
        return Err(Refusal::StepOpen(open.run.clone()));
    }
    if state.is_suite() {
        every_case_has_ended(state, &cases)?;
    }
    let verdict = verdict(state, conclusion, &cases)?;
    let steps = state.steps.clone();
    let attempt = state.attempt;
    let will_retry = retries(state, &verdict);
    let (to, event): (_, Event) = match verdict {
        Verdict::Passed => (ExecutionStatus::Passed, ExecutionPassed { attempt, duration_ms, steps, cases }.into()),
        Verdict::Failed(reason) => {
            (ExecutionStatus::Failed, ExecutionFailed { attempt, reason, will_retry, duration_ms, steps, cases }.into())
        }
        Verdict::TimedOut => {
            (ExecutionStatus::Timeout, ExecutionTimedOut { attempt, will_retry, duration_ms, steps, cases }.into())
        }
        Verdict::Cancelled(reason) => {
            (ExecutionStatus::Cancelled, ExecutionCancelled { reason, duration_ms, steps, cases }.into())
        }
    };
    status.transition(to)?;
    Ok(if will_retry { followed_by_retry(state, event, now) } else { vec![event] })
}

fn verdict(state: &State, conclusion: &Conclusion, cases: &StatusTally) -> Result<Verdict, Refusal> {
    match conclusion {
        Conclusion::TimedOut => Ok(Verdict::TimedOut),
        Conclusion::Cancelled => {
            state.cancellation.map(Verdict::Cancelled).ok_or(Refusal::Nonsense("nobody requested a cancellation"))
        }
        Conclusion::SetupFailed => Ok(Verdict::Failed(FailureReason::Setup)),
        Conclusion::Finished if state.is_suite() => Ok(verdict_of_cases(state, cases)),
        Conclusion::Finished => verdict_of_steps(state),
    }
}

fn cases_of(state: &State) -> u64 {
    state.request.as_ref().map_or(0, |request| u64::from(request.cases))
}

/// Whatever the suite came to: its verdict is the last word, so none of its cases may still be on its way.
fn every_case_has_ended(state: &State, cases: &StatusTally) -> Result<(), Refusal> {
    let ended = cases.iter().filter(|(status, _)| status.is_final(false)).map(|(_, count)| count).sum::<u64>();
    let all: u64 = cases.values().sum();
    if ended == all && all == cases_of(state) {
        Ok(())
    } else {
        Err(Refusal::Nonsense("not every case of the suite has an end"))
    }
}

fn verdict_of_cases(state: &State, cases: &StatusTally) -> Verdict {
    let expected = cases_of(state);
    let passed = cases.get(&ExecutionStatus::Passed).copied().unwrap_or(0);
    match state.cancellation {
        Some(reason) if passed < expected => Verdict::Cancelled(reason),
        Some(_) | None if passed == expected => Verdict::Passed,
        Some(_) | None => Verdict::Failed(FailureReason::Case),
    }
}

fn verdict_of_steps(state: &State) -> Result<Verdict, Refusal> {
    let steps = state.request.as_ref().map_or(0, |request| request.steps);
    match state.halted {
        None if state.next_step == steps => Ok(Verdict::Passed),
        None => Err(Refusal::Nonsense("not every step has run")),
        Some(StepOutcome::Timeout) => Ok(Verdict::TimedOut),
        Some(StepOutcome::Cancelled) => {
            state.cancellation.map(Verdict::Cancelled).ok_or(Refusal::Nonsense("nobody requested a cancellation"))
        }
        Some(StepOutcome::Interrupted) => Ok(Verdict::Failed(FailureReason::Infrastructure)),
        Some(StepOutcome::Failed | StepOutcome::Error | StepOutcome::Blocked) => {
            Ok(Verdict::Failed(FailureReason::Step))
        }
        Some(StepOutcome::Passed | StepOutcome::Skipped) => Err(Refusal::Nonsense("a passed step ends no attempt")),
    }
}

/// Another attempt follows a failure of the test itself, while there are attempts left and nobody wants it to stop.
fn retries(state: &State, verdict: &Verdict) -> bool {
    let may_be_tried_again = match verdict {
        Verdict::Failed(FailureReason::Step) | Verdict::TimedOut => true,
        Verdict::Failed(FailureReason::Case | FailureReason::Setup | FailureReason::Infrastructure)
        | Verdict::Passed
        | Verdict::Cancelled(_) => false,
    };
    let left = limits(state).is_some_and(|limits| state.counted_attempts() < limits.max_attempts);
    may_be_tried_again && left && state.cancellation.is_none()
}

fn limits(state: &State) -> Option<&Limits> {
    state.request.as_ref().map(|request| &request.limits)
}

/// The worker gives the claim back: whoever is there when the wait is over may take it.
fn followed_by_retry(state: &State, event: Event, now: Timestamp) -> Vec<Event> {
    let next = state.attempt + 1;
    let wait_ms = limits(state).map_or(0, |limits| {
        let retries = Retries {
            max_attempts: limits.max_attempts,
            backoff_ms: limits.backoff_ms,
            backoff_factor: limits.backoff_factor,
        };
        retries.wait_before_ms(state.counted_attempts() + 1)
    });
    vec![
        event,
        ExecutionRetryScheduled { attempt: next, not_before: now.plus_ms(wait_ms) }.into(),
        ClaimReleased { reason: ReleaseReason::Backoff }.into(),
    ]
}
