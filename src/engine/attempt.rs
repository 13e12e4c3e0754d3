//! One attempt of one case: claim, start, carry out step after step, give the verdict. Every fact is durable before what
//! follows from it is done.

mod due;
pub mod resume;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::command::{Command, Conclusion};
use testledger_schemas::plan::Case;
use testledger_schemas::{Plan, StepOutcome};
use tokio::time::Instant;

use crate::engine::case::{AttemptEnd, Grant};
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::overhead::Moments;
use crate::engine::stop::Stop;
use crate::engine::{Engine, record};
use crate::execution::Refusal;
use crate::ports::clock::ms;
use crate::ports::fault::{self, Bug};
use crate::steps::StepEnd;
use crate::steps::capture::teach;
use crate::steps::prepare::{Scope, resolve_env};
use crate::steps::redact::Redactor;

pub use due::Due;

/// What became of an append.
enum Acted {
    Done,
    /// Somebody wants it to stop: nothing new may begin.
    Cancelling,
    /// It is over, or another worker has it.
    Lost,
}

/// An attempt that is under way.
pub struct Attempt<'a> {
    engine: &'a Arc<Engine>,
    plan: &'a Plan,
    case: &'a Case,
    execution: &'a mut Execution,
    stop: &'a Stop,
    number: u32,
    /// The claim of its suite under which it is made ready.
    parent_epoch: Option<u64>,
    /// The case's environment, or why it cannot be made.
    environment: Result<BTreeMap<String, String>, String>,
    scope: Scope,
    redactor: Redactor,
    granted: Instant,
    began: Instant,
    /// What the attempt had taken when it was interrupted.
    spent: Duration,
    moments: Moments,
    /// What the engine cost until the first step was spawned.
    start_overhead: Option<Duration>,
}

impl<'a> Attempt<'a> {
    /// The attempt with this number of an execution that was granted its slot.
    pub fn new(
        engine: &'a Arc<Engine>,
        plan: &'a Plan,
        case: &'a Case,
        execution: &'a mut Execution,
        stop: &'a Stop,
        number: u32,
        grant: Grant,
    ) -> Self {
        let facts = [
            ("execution.id", execution.id().to_string()),
            ("execution.attempt", number.to_string()),
            ("suite", plan.suite.clone()),
            ("case", case.id.clone()),
        ];
        let scope = Scope {
            params: plan.params.clone(),
            matrix: case.matrix_values.clone(),
            facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Scope::default()
        };
        let environment = resolve_env(&plan.env, &engine.environment, &scope)
            .and_then(|base| resolve_env(&case.env, &base, &scope))
            .map_err(|error| error.to_string());
        Self {
            redactor: engine.redactor(plan),
            engine,
            plan,
            case,
            execution,
            stop,
            number,
            parent_epoch: grant.parent_epoch,
            environment,
            scope,
            granted: grant.at,
            began: Instant::now(),
            spent: Duration::ZERO,
            moments: Moments::default(),
            start_overhead: None,
        }
    }

    /// Claims the execution, starts the attempt and its first step, all in one append.
    pub async fn begin(&mut self) -> Result<Option<Due<'a>>, ExecutionError> {
        let due = self.due(0, 1)?;
        let commands = [
            Command::MakeReady(self.parent_epoch),
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
    pub async fn run(mut self, mut due: Due<'a>) -> Result<AttemptEnd, ExecutionError> {
        loop {
            let end = self.carry_out(&due).await?;
            if self.stop.leaves() {
                return Ok(AttemptEnd::Over);
            }
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
        let sealed = self.sealed(&end);
        let finish = Command::FinishStep(Box::new(record::finished(due.run.clone(), &end, sealed, !out_of_time)));
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

    /// Secret captures as the log keeps them, so that a recovery has them.
    fn sealed(&self, end: &StepEnd) -> BTreeMap<String, String> {
        let (vault, id) = (&self.engine.vault, self.execution.id());
        let secret = end.captures.iter().filter(|(_, captured)| captured.secret);
        let ids = &*self.engine.journal.ids;
        secret.filter_map(|(name, it)| Some((name.clone(), vault.seal(id, name, &it.value, ids)?))).collect()
    }

    /// The step did what it should: the next one, in the same append.
    async fn go_on(&mut self, end: StepEnd, finish: Command) -> Result<Option<Due<'a>>, ExecutionError> {
        for (name, captured) in end.captures {
            self.capture(name, captured.value, captured.secret);
        }
        let index = self.execution.state().next_step + 1;
        if index as usize >= self.case.steps.len() {
            return self.conclude(Some(finish), Conclusion::Finished).await;
        }
        if self.stop.reason().is_some() && !self.stop.leaves() {
            return self.cancelled(Some(finish)).await;
        }
        if self.time_left() == Some(Duration::ZERO) {
            return self.conclude(Some(finish), Conclusion::TimedOut).await;
        }
        let next = self.due(index, 1)?;
        if fault::is_planted(Bug::BegunBeforeRecorded) {
            self.carry_out(&next).await?;
        }
        match self.act(&[finish.clone(), self.start_step(&next, index)]).await? {
            Acted::Done => Ok(Some(next)),
            Acted::Cancelling => self.cancelled(Some(finish)).await,
            Acted::Lost => Ok(None),
        }
    }

    /// A value for later steps.
    fn capture(&mut self, name: String, value: serde_json::Value, is_secret: bool) {
        if is_secret {
            teach(&self.redactor, [&value]);
        }
        self.scope.captures.insert(name, value);
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
        let wait = due.step.retries.wait_before_ms(self.execution.state().step_attempts + 1);
        self.wait(Duration::from_millis(wait)).await;
        if self.stop.leaves() {
            return Ok(None);
        }
        self.start_again(index, vec![]).await
    }

    /// Starts one more attempt of a step, unless time has run out or it shall stop.
    async fn start_again(&mut self, index: u32, mut commands: Vec<Command>) -> Result<Option<Due<'a>>, ExecutionError> {
        if self.stop.reason().is_some() {
            return self.cancelled(None).await;
        }
        if self.time_left() == Some(Duration::ZERO) {
            return self.conclude(None, Conclusion::TimedOut).await;
        }
        let next = self.due(index, self.execution.state().step_runs + 1)?;
        commands.push(self.start_step(&next, index));
        match self.act(&commands).await? {
            Acted::Done => Ok(Some(next)),
            Acted::Cancelling => self.cancelled(None).await,
            Acted::Lost => Ok(None),
        }
    }

    /// Waits before an attempt of a step, but not beyond the attempt's own time, and not once it shall stop.
    async fn wait(&self, wait: Duration) {
        let wait = self.time_left().map_or(wait, |left| wait.min(left));
        tokio::select! {
            biased;
            () = self.stop.token().cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    async fn cancelled(&mut self, finish: Option<Command>) -> Result<Option<Due<'a>>, ExecutionError> {
        if self.stop.leaves() {
            return Ok(None);
        }
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
        Command::Conclude { conclusion, duration_ms: ms(self.spent + self.began.elapsed()), cases: Default::default() }
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
        self.case
            .timeout_ms
            .map(|timeout| Duration::from_millis(timeout).saturating_sub(self.spent + self.began.elapsed()))
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
}
