//! One attempt of one case: claim, start, carry out step after step, give the verdict. Every fact is durable before what
//! follows from it is done.

use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::command::{Command, Conclusion};
use testledger_schemas::event::{ErrorKind, StepRun, StepStarted};
use testledger_schemas::plan::{Case, Step};
use testledger_schemas::{Plan, StepKey, StepOutcome, Timestamp};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::overhead::{Moments, TimedLauncher};
use crate::engine::stop::Stop;
use crate::engine::{Engine, record};
use crate::execution::Refusal;
use crate::ports::clock::ms;
use crate::steps::context::OutputLimits;
use crate::steps::prepare::{Prepared, Scope, prepare, resolve_env};
use crate::steps::redact::Redactor;
use crate::steps::{StepContext, StepEnd, StepError, carry_out};

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

/// A step that is recorded as started and is to be carried out now.
struct Due<'a> {
    step: &'a Step,
    run: StepRun,
    prepared: Result<Prepared, String>,
}

/// What became of an append.
enum Acted {
    Done,
    /// Somebody wants it to stop: nothing new may begin.
    Cancelling,
    /// It is over, or another worker has it.
    Lost,
}

struct Attempt<'a> {
    engine: &'a Arc<Engine>,
    plan: &'a Plan,
    case: &'a Case,
    execution: &'a mut Execution,
    stop: &'a Stop,
    number: u32,
    /// The case's environment, or why it cannot be made.
    environment: Result<std::collections::BTreeMap<String, String>, String>,
    scope: Scope,
    redactor: Redactor,
    granted: Instant,
    began: Instant,
    moments: Moments,
    /// What the engine cost until the first step was spawned.
    start_overhead: Option<Duration>,
}

impl<'a> Attempt<'a> {
    fn new(
        engine: &'a Arc<Engine>,
        plan: &'a Plan,
        case: &'a Case,
        execution: &'a mut Execution,
        stop: &'a Stop,
        number: u32,
        granted: Instant,
    ) -> Self {
        let facts = [
            ("execution.id", execution.id().to_string()),
            ("execution.attempt", number.to_string()),
            ("suite", plan.suite.clone()),
            ("case", case.id.clone()),
        ];
        let mut scope = Scope {
            params: plan.params.clone(),
            matrix: case.matrix_values.clone(),
            facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Scope::default()
        };
        let environment = resolve_env(&plan.env, &engine.environment, &scope)
            .and_then(|base| resolve_env(&case.env, &base, &scope))
            .map_err(|error| error.to_string());
        scope.env = environment.clone().unwrap_or_default();
        Self {
            redactor: engine.redactor(plan),
            engine,
            plan,
            case,
            execution,
            stop,
            number,
            environment,
            scope,
            granted,
            began: Instant::now(),
            moments: Moments::default(),
            start_overhead: None,
        }
    }

    /// Claims the execution, starts the attempt and its first step, all in one append.
    async fn begin(&mut self) -> Result<Option<Due<'a>>, ExecutionError> {
        let due = self.due(0, 1)?;
        let commands = [
            Command::MakeReady,
            Command::Claim(self.engine.worker()),
            Command::Start(record::place(&self.engine.place, &self.redactor)),
            self.start_step(&due, 0),
        ];
        let acted = self.act(&commands).await?;
        self.began = Instant::now();
        match acted {
            Acted::Done => Ok(Some(due)),
            Acted::Cancelling | Acted::Lost => Ok(None),
        }
    }

    /// Carries out one step after the other until there is a verdict.
    async fn run(mut self, mut due: Due<'a>) -> Result<AttemptEnd, ExecutionError> {
        loop {
            let end = self.carry_out(&due).await;
            for chunk in record::reported(&due.run, &end.reported) {
                if let Acted::Lost = self.act(&[Command::ReportResults(Box::new(chunk))]).await? {
                    return Ok(AttemptEnd::Over);
                }
            }
            match self.after(&due, end).await? {
                Some(next) => due = next,
                None => return Ok(self.over()),
            }
        }
    }

    /// Records the end of a step together with what follows from it. Returns the step that follows, none if the attempt
    /// is over.
    async fn after(&mut self, due: &Due<'a>, end: StepEnd) -> Result<Option<Due<'a>>, ExecutionError> {
        let out_of_time = end.outcome == StepOutcome::Timeout && self.time_left() == Some(Duration::ZERO);
        let finish = Command::FinishStep(Box::new(record::finished(due.run.clone(), &end, !out_of_time)));
        match end.outcome {
            StepOutcome::Passed | StepOutcome::Skipped => self.go_on(end, finish).await,
            StepOutcome::Cancelled => self.cancelled(Some(finish)).await,
            StepOutcome::Timeout if out_of_time => self.conclude(Some(finish), Conclusion::TimedOut).await,
            StepOutcome::Failed
            | StepOutcome::Error
            | StepOutcome::Timeout
            | StepOutcome::Interrupted
            | StepOutcome::Blocked => self.failed(due, end.outcome, finish).await,
        }
    }

    /// The step did what it should: the next one, in the same append.
    async fn go_on(&mut self, end: StepEnd, finish: Command) -> Result<Option<Due<'a>>, ExecutionError> {
        for (name, captured) in end.captures {
            if captured.secret {
                self.redactor = self.redactor.with(captured.value.as_str().unwrap_or(&captured.value.to_string()));
            }
            self.scope.captures.insert(name, captured.value);
        }
        let index = self.execution.state().next_step + 1;
        if index as usize >= self.case.steps.len() {
            return self.conclude(Some(finish), Conclusion::Finished).await;
        }
        if self.stop.reason().is_some() {
            return self.cancelled(Some(finish)).await;
        }
        if self.time_left() == Some(Duration::ZERO) {
            return self.conclude(Some(finish), Conclusion::TimedOut).await;
        }
        let next = self.due(index, 1)?;
        match self.act(&[finish.clone(), self.start_step(&next, index)]).await? {
            Acted::Done => Ok(Some(next)),
            Acted::Cancelling => self.cancelled(Some(finish)).await,
            Acted::Lost => Ok(None),
        }
    }

    /// The step failed: once more after its wait, or the end of the attempt.
    async fn failed(
        &mut self,
        due: &Due<'a>,
        outcome: StepOutcome,
        finish: Command,
    ) -> Result<Option<Due<'a>>, ExecutionError> {
        let state = self.execution.state();
        let again = state.open_step.as_ref().is_some_and(|open| state.may_try_step_again(open, outcome));
        if !again {
            return self.conclude(Some(finish), Conclusion::Finished).await;
        }
        let index = state.next_step;
        if let Acted::Lost = self.act(&[finish]).await? {
            return Ok(None);
        }
        if self.execution.state().halted.is_some() {
            return self.conclude(None, Conclusion::Finished).await;
        }
        self.wait_before(due.step, self.execution.state().step_attempts + 1).await;
        if self.stop.reason().is_some() {
            return self.cancelled(None).await;
        }
        if self.time_left() == Some(Duration::ZERO) {
            return self.conclude(None, Conclusion::TimedOut).await;
        }
        let next = self.due(index, self.execution.state().step_runs + 1)?;
        match self.act(&[self.start_step(&next, index)]).await? {
            Acted::Done => Ok(Some(next)),
            Acted::Cancelling => self.cancelled(None).await,
            Acted::Lost => Ok(None),
        }
    }

    /// Waits before an attempt of a step, but not beyond the attempt's own time, and not once it shall stop.
    async fn wait_before(&self, step: &Step, step_attempt: u32) {
        let wait = Duration::from_millis(step.retries.wait_before_ms(step_attempt));
        let wait = self.time_left().map_or(wait, |left| wait.min(left));
        tokio::select! {
            biased;
            () = self.stop.token().cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    async fn cancelled(&mut self, finish: Option<Command>) -> Result<Option<Due<'a>>, ExecutionError> {
        let wish = self.stop.reason().map(Command::RequestCancellation);
        let commands: Vec<Command> =
            wish.into_iter().chain(finish).chain([self.verdict(Conclusion::Cancelled)]).collect();
        self.act(&commands).await.map(|_| None)
    }

    async fn conclude(
        &mut self,
        finish: Option<Command>,
        conclusion: Conclusion,
    ) -> Result<Option<Due<'a>>, ExecutionError> {
        let commands: Vec<Command> = finish.into_iter().chain([self.verdict(conclusion)]).collect();
        self.act(&commands).await.map(|_| None)
    }

    fn verdict(&self, conclusion: Conclusion) -> Command {
        Command::Conclude { conclusion, duration_ms: ms(self.began.elapsed()), cases: Default::default() }
    }

    fn over(&self) -> AttemptEnd {
        if let (Some(start), Some(ended)) = (self.start_overhead, self.moments.ended()) {
            self.engine.overheads.add(start, ended.elapsed());
        }
        match self.execution.state().retry_at {
            Some(not_before) if !self.execution.state().is_final() => AttemptEnd::Retry { not_before },
            Some(_) | None => AttemptEnd::Over,
        }
    }

    /// What is left of the attempt's running time; none if it is not bounded.
    fn time_left(&self) -> Option<Duration> {
        self.case.timeout_ms.map(|timeout| Duration::from_millis(timeout).saturating_sub(self.began.elapsed()))
    }

    async fn act(&mut self, commands: &[Command]) -> Result<Acted, ExecutionError> {
        match self.execution.act(commands).await {
            Ok(_) => Ok(Acted::Done),
            Err(ExecutionError::Refused { refusal: Refusal::Cancelling, .. }) => Ok(Acted::Cancelling),
            Err(ExecutionError::Refused {
                refusal: Refusal::Final(_) | Refusal::StaleClaim | Refusal::AlreadyClaimed(_),
                ..
            }) => Ok(Acted::Lost),
            Err(error) => Err(error),
        }
    }

    /// Prepares a step. What cannot be prepared is started all the same, and ends at once with the reason.
    fn due(&self, index: u32, step_attempt: u32) -> Result<Due<'a>, ExecutionError> {
        let step = self.case.steps.get(index as usize);
        let step = step.ok_or_else(|| ExecutionError::Internal(format!("the case has no step {index}")))?;
        let prepared = self.environment.clone().and_then(|environment| {
            prepare(self.plan, step, &environment, &self.scope).map_err(|error| error.to_string())
        });
        let run = StepRun { attempt: self.number, step: step.id.clone(), step_attempt };
        Ok(Due { step, run, prepared })
    }

    fn start_step(&self, due: &Due<'_>, index: u32) -> Command {
        let (plan, case, step) = (self.plan, self.case, due.step);
        let revision = self.execution.state().request.as_ref().and_then(|request| request.revision.as_ref());
        let content = match &due.prepared {
            Ok(prepared) => record::inputs(&step.name, prepared, &self.redactor),
            Err(_) => testledger_schemas::event::StepInputs { name: step.name.clone(), ..Default::default() },
        };
        Command::StartStep(Box::new(StepStarted {
            run: due.run.clone(),
            index,
            step_key: StepKey::derive(&plan.suite, &case.id, &case.matrix, &step.id),
            action: step.action.kind(),
            max_attempts: step.retries.max_attempts,
            timeout_ms: step.timeout_ms,
            on_interrupt: step.on_interrupt,
            revision: revision.map(|revision| revision.commit.clone()),
            content: content.into(),
        }))
    }

    async fn carry_out(&mut self, due: &Due<'_>) -> StepEnd {
        let began = Instant::now();
        self.moments = Moments::default();
        let end = match &due.prepared {
            Ok(prepared) => carry_out(prepared, &self.context(due)).await,
            Err(reason) => StepEnd::error(ErrorKind::Template, self.redactor.text(reason), 0),
        };
        self.moments.end_now();
        let spawned = self.moments.spawned().unwrap_or(began);
        self.start_overhead.get_or_insert(spawned.saturating_duration_since(self.granted));
        within_capture_limit(end)
    }

    fn context(&self, due: &Due<'_>) -> StepContext {
        let settings = &self.engine.settings;
        let own = due.step.timeout_ms.map(Duration::from_millis);
        StepContext {
            execution: self.execution.id(),
            step: due.step.id.clone(),
            identity: (self.plan.suite.clone(), self.case.id.clone(), self.case.matrix.clone()),
            launcher: Arc::new(TimedLauncher {
                inner: Arc::clone(&self.engine.launcher),
                moments: self.moments.clone(),
            }),
            http: self.engine.http.clone(),
            log: Arc::clone(&self.engine.journal.log),
            redactor: self.redactor.clone(),
            cancel: self.stop.token().clone(),
            timeout: own.into_iter().chain(self.time_left()).min(),
            grace: settings.grace,
            leak_timeout: settings.leak_timeout,
            output: OutputLimits { excerpt_bytes: settings.excerpt_bytes, kept_bytes: settings.output_bytes },
            live: Some(self.engine.live()),
        }
    }
}

/// Captured values that an event could not hold are an error of the step, not of the log.
fn within_capture_limit(mut end: StepEnd) -> StepEnd {
    let bytes: usize = end.captures.values().map(|captured| captured.value.to_string().len()).sum();
    if bytes > record::MAX_CAPTURE_BYTES {
        let limit = record::MAX_CAPTURE_BYTES;
        end.captures.clear();
        end.outcome = StepOutcome::Error;
        end.error = Some(StepError {
            kind: ErrorKind::Capture,
            message: format!("the captured values have {bytes} bytes and may have {limit}: capture less"),
        });
    }
    end
}
