//! `decide`: what follows from a command. Events, or a refusal; nothing else.

use testledger_schemas::command::{Authority, Command, Conclusion};
use testledger_schemas::event::{
    CancelReason, CancellationRequested, ClaimReleased, Event, ExecutionAborted, ExecutionCancelled, ExecutionClaimed,
    ExecutionFailed, ExecutionInterrupted, ExecutionReady, ExecutionRecovered, ExecutionRequested, ExecutionStarted,
    FailureReason, InterruptReason, ReleaseReason, ServiceEnd, ServiceStopped, StartContent, StepFinished, StepOutputs,
    StepResultsReported, StepStarted,
};
use testledger_schemas::plan::OnInterrupt;
use testledger_schemas::{ExecutionStatus, StepOutcome, Timestamp, WorkerId};

use super::conclude::conclude;
use super::refusal::{Decision, Refusal};
use super::state::{OpenStep, State};

/// A command, who says it, and when.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is asked.
    pub command: Command,
    /// The claim under which it is said; none for what anybody may say.
    pub authority: Option<Authority>,
    /// The time of day.
    pub now: Timestamp,
}

/// Decides a command. Pure: the same state and command give the same answer. Asking again for what is already so is
/// answered with no events, where anybody may ask.
///
/// # Errors
/// [`Refusal`].
pub fn decide(state: &State, asked: &Asked) -> Decision {
    if let Command::Request(request) = &asked.command {
        return decide_request(state, request);
    }
    let status = state.status.ok_or(Refusal::NotRequested)?;
    if asked.command.needs_claim() {
        check_claim(state, status, asked.authority)?;
        check_recovered(state, &asked.command)?;
    }
    match asked.command.clone() {
        Command::Request(_) => Err(Refusal::Nonsense("a request begins an execution")),
        Command::MakeReady(parent_epoch) => decide_ready(state, status, parent_epoch),
        Command::Claim(worker) => decide_claim(state, status, worker),
        Command::ReleaseClaim(reason) => decide_release(state, reason),
        Command::Start(content) => decide_start(state, status, content),
        Command::StartStep(step) => decide_start_step(state, status, *step),
        Command::FinishStep(step) => decide_finish_step(state, *step),
        Command::ReportResults(results) => decide_report(state, *results),
        Command::RecordServiceStarted(started) => Ok(vec![started.into()]),
        Command::RecordServiceStopped(stopped) => Ok(vec![(*stopped).into()]),
        Command::AttachArtifact(attached) => Ok(vec![attached.into()]),
        Command::RequestCancellation(reason) => decide_cancellation(state, status, reason),
        Command::Conclude { conclusion, duration_ms, cases } => {
            conclude(state, status, &conclusion, duration_ms, cases, asked.now)
        }
        Command::CancelUnstarted(reason) => decide_cancel_unstarted(state, status, reason),
        Command::Interrupt { reason, epoch } => decide_interrupt(state, status, reason, epoch),
        Command::Recover { restart, spent_ms } => decide_recover(state, restart, spent_ms),
    }
}

/// A final execution is said to be over, rather than to be claimed by nobody.
fn check_claim(state: &State, status: ExecutionStatus, authority: Option<Authority>) -> Result<(), Refusal> {
    if state.is_final() {
        return Err(Refusal::Final(status));
    }
    match (state.claim, authority) {
        (Some(claim), Some(said)) if claim.worker == said.worker && claim.epoch == said.epoch => Ok(()),
        _ => Err(Refusal::StaleClaim),
    }
}

/// What was interrupted is recovered before anything else: else nobody could tell what became of the lost worker's part.
fn check_recovered(state: &State, command: &Command) -> Result<(), Refusal> {
    match command {
        Command::Recover { .. } | Command::ReleaseClaim(_) => Ok(()),
        _ if state.interrupted => Err(Refusal::NotRecovered),
        Command::Start(_) => Ok(()),
        Command::Conclude { conclusion: Conclusion::Cancelled, .. } => Ok(()),
        _ if state.restarting => Err(Refusal::NotRecovered),
        _ => Ok(()),
    }
}

fn decide_request(state: &State, request: &ExecutionRequested) -> Decision {
    match &state.request {
        None => Ok(vec![request.clone().into()]),
        Some(known) if known.body == request.body => Ok(vec![]),
        Some(_) => Err(Refusal::RequestConflict),
    }
}

/// The epoch of the suite's claim only grows: what the present holder has made ready, one that lost the suite cannot.
fn decide_ready(state: &State, status: ExecutionStatus, parent_epoch: Option<u64>) -> Decision {
    if state.is_final() {
        return Err(Refusal::Final(status));
    }
    if parent_epoch < state.parent_epoch {
        return Err(Refusal::StaleClaim);
    }
    let is_so = state.ready && parent_epoch == state.parent_epoch;
    Ok(if is_so { vec![] } else { vec![ExecutionReady { parent_epoch }.into()] })
}

fn decide_claim(state: &State, status: ExecutionStatus, worker: WorkerId) -> Decision {
    if state.is_final() {
        return Err(Refusal::Final(status));
    }
    if !state.ready {
        return Err(Refusal::NotReady);
    }
    match state.claim {
        Some(claim) if claim.worker == worker => Ok(vec![]),
        Some(claim) => Err(Refusal::AlreadyClaimed(claim.worker)),
        None => Ok(vec![ExecutionClaimed { worker, epoch: state.last_epoch + 1 }.into()]),
    }
}

/// Not in the middle of a step: whoever came next would not know whether it is still under way.
fn decide_release(state: &State, reason: ReleaseReason) -> Decision {
    match &state.open_step {
        Some(open) => Err(Refusal::StepOpen(open.run.clone())),
        None => Ok(vec![ClaimReleased { reason }.into()]),
    }
}

fn decide_start(state: &State, status: ExecutionStatus, content: StartContent) -> Decision {
    // An attempt that begins anew after a loss is no change of the status.
    if !state.restarting {
        status.transition(ExecutionStatus::Running)?;
    }
    if state.cancellation.is_some() {
        return Err(Refusal::Cancelling);
    }
    Ok(vec![ExecutionStarted { attempt: state.attempt + 1, content: content.into() }.into()])
}

fn decide_start_step(state: &State, status: ExecutionStatus, step: StepStarted) -> Decision {
    must_be_running(status)?;
    if state.cancellation.is_some() {
        return Err(Refusal::Cancelling);
    }
    if state.halted.is_some() {
        return Err(Refusal::AttemptOver);
    }
    if let Some(open) = &state.open_step {
        return Err(Refusal::StepOpen(open.run.clone()));
    }
    let due = (state.attempt, state.next_step, state.step_runs + 1);
    let asked = (step.run.attempt, step.index, step.run.step_attempt);
    if due != asked {
        let text = format!("(attempt, step, step attempt) {due:?} is due, {asked:?} was asked for");
        return Err(Refusal::OutOfOrder(text));
    }
    let steps = state.request.as_ref().map_or(0, |request| request.steps);
    if step.index >= steps {
        return Err(Refusal::OutOfOrder(format!("the case has {steps} steps")));
    }
    Ok(vec![step.into()])
}

fn must_be_running(status: ExecutionStatus) -> Result<(), Refusal> {
    if status == ExecutionStatus::Running { Ok(()) } else { Err(Refusal::Nonsense("no attempt is under way")) }
}

fn open_step<'a>(state: &'a State, run: &testledger_schemas::event::StepRun) -> Result<&'a OpenStep, Refusal> {
    let open = state.open_step.as_ref().ok_or(Refusal::NoStepOpen)?;
    if open.run == *run { Ok(open) } else { Err(Refusal::StepOpen(open.run.clone())) }
}

fn decide_finish_step(state: &State, mut step: StepFinished) -> Decision {
    let open = open_step(state, &step.run)?;
    step.will_retry = step.will_retry && state.may_try_step_again(open, step.outcome);
    Ok(vec![step.into()])
}

fn decide_report(state: &State, results: StepResultsReported) -> Decision {
    let open = open_step(state, &results.run)?;
    if results.chunk != open.chunks + 1 || results.chunk > results.chunks {
        return Err(Refusal::OutOfOrder(format!("chunk {} of the report", open.chunks + 1)));
    }
    Ok(vec![results.into()])
}

fn decide_cancellation(state: &State, status: ExecutionStatus, reason: CancelReason) -> Decision {
    if state.is_final() || state.cancellation.is_some() {
        return Ok(vec![]);
    }
    let requested = CancellationRequested { reason }.into();
    Ok(match status {
        ExecutionStatus::Pending => vec![requested, unstarted(reason)],
        ExecutionStatus::Retrying => vec![requested, ExecutionAborted { reason }.into()],
        ExecutionStatus::Running
        | ExecutionStatus::Passed
        | ExecutionStatus::Failed
        | ExecutionStatus::Cancelled
        | ExecutionStatus::Timeout
        | ExecutionStatus::Aborted => vec![requested],
    })
}

fn unstarted(reason: CancelReason) -> Event {
    ExecutionCancelled { reason, duration_ms: 0, steps: Default::default(), cases: Default::default() }.into()
}

fn decide_cancel_unstarted(state: &State, status: ExecutionStatus, reason: CancelReason) -> Decision {
    if state.is_final() {
        return Ok(vec![]);
    }
    if status != ExecutionStatus::Pending {
        return Err(Refusal::Nonsense("it has started: request its cancellation"));
    }
    Ok(vec![unstarted(reason)])
}

/// Somebody else says that the worker is lost. What had begun is ended as interrupted: every started step has exactly
/// one end.
fn decide_interrupt(state: &State, status: ExecutionStatus, reason: InterruptReason, epoch: u64) -> Decision {
    if state.is_final() {
        return Err(Refusal::Final(status));
    }
    let claim = state.claim.filter(|claim| claim.epoch == epoch).ok_or(Refusal::StaleClaim)?;
    if status != ExecutionStatus::Running {
        return Ok(vec![ClaimReleased { reason: ReleaseReason::WorkerLost }.into()]);
    }
    let interruption = state.interruptions + 1;
    let limit = state.request.as_ref().map_or(0, |request| request.limits.max_interruptions);
    // What is only to end is cancelled by whoever recovers it.
    let goes_on = interruption < limit || state.cancellation.is_some();
    let mut events: Vec<Event> = state.open_step.iter().map(|open| interrupted_step(open, goes_on)).collect();
    events.extend(state.services.iter().map(|service| lost_service(service)));
    events.push(ExecutionInterrupted { reason, interruption, epoch: claim.epoch }.into());
    if !goes_on {
        let failed = ExecutionFailed {
            attempt: state.attempt,
            reason: FailureReason::Infrastructure,
            will_retry: false,
            duration_ms: state.steps_ms,
            steps: state.steps.clone(),
            cases: Default::default(),
        };
        events.push(failed.into());
    }
    Ok(events)
}

fn interrupted_step(open: &OpenStep, goes_on: bool) -> Event {
    let will_retry = goes_on && open.on_interrupt == OnInterrupt::Rerun;
    StepFinished { will_retry, ..StepFinished::bare(open.run.clone(), StepOutcome::Interrupted) }.into()
}

/// Services end with the engine that started them.
fn lost_service(service: &str) -> Event {
    ServiceStopped {
        service: service.to_owned(),
        end: ServiceEnd::WorkerLost,
        exit_code: None,
        signal: None,
        outputs: vec![],
        content: StepOutputs::default().into(),
    }
    .into()
}

fn decide_recover(state: &State, restart: bool, spent_ms: u64) -> Decision {
    if !state.interrupted {
        return Err(Refusal::Nonsense("it was not interrupted"));
    }
    let must_end = state.halted.is_some() || state.cancellation.is_some() || state.is_suite();
    if restart && must_end {
        return Err(Refusal::Nonsense("it is to end, not to begin anew"));
    }
    // What one recovery has given up, the next one does not find again.
    let restart = restart || (state.restarting && !must_end);
    let next_step = if restart { 0 } else { state.next_step };
    Ok(vec![ExecutionRecovered { next_step, restarts: restart, spent_ms }.into()])
}
