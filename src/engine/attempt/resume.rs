//! An attempt whose worker was lost: it goes on at the first step that is not finished; where it cannot, another follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use testledger_schemas::ExecutionId;
use testledger_schemas::Plan;
use testledger_schemas::command::{Command, Conclusion};
use testledger_schemas::plan::{Case, Resume, Retries};
use tokio::time::Instant;

use crate::engine::attempt::{Acted, Attempt, Due};
use crate::engine::case::{AttemptEnd, Grant};
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::past::Past;
use crate::engine::stop::Stop;
use crate::engine::vault::Vault;
use crate::engine::{Engine, record};
use crate::ports::clock::ms;
use crate::ports::fault::{self, Point};

/// Takes an attempt up that was interrupted, and carries it to its end. Nobody has the execution.
///
/// # Errors
/// [`ExecutionError`] if the log cannot be read or written.
pub async fn resume(
    engine: &Arc<Engine>,
    plan: &Plan,
    case: &Case,
    execution: &mut Execution,
    stop: &Stop,
    grant: Grant,
) -> Result<AttemptEnd, ExecutionError> {
    let past = Past::read(&*engine.journal.log, execution.id()).await?;
    fault::reached(Point::PastRead, engine.journal.worker).await;
    if stop.leaves() {
        return Ok(AttemptEnd::Over);
    }
    let state = execution.state();
    // Measured on the monotonic clock, step by step: neither down time nor a clock that jumps is charged to a timeout.
    let spent_ms = state.steps_ms;
    let must_end = state.halted.is_some() || state.cancellation.is_some() || stop.reason().is_some();
    let captures = restored(&engine.vault, execution.id(), case, state.next_step, &past);
    let is_here = past.host.as_ref() == Some(&engine.place.host) || case.resume == Resume::Anywhere;
    let restarts = !must_end && (state.restarting || !is_here || captures.is_none());
    let number = state.attempt + u32::from(restarts);
    let mut attempt = Attempt::new(engine, plan, case, execution, stop, number, grant);
    let due = if restarts {
        attempt.begin_anew(spent_ms).await?
    } else {
        attempt.spent = Duration::from_millis(spent_ms);
        attempt.learn(captures.unwrap_or_default());
        attempt.go_on_from(&past).await?
    };
    match due {
        Some(due) => attempt.run(due).await,
        None => Ok(attempt.over()),
    }
}

/// Everything that the finished steps captured; none where something of it cannot be had any more: it was erased, or it is
/// secret and the key is not here.
fn restored(
    vault: &Vault,
    id: ExecutionId,
    case: &Case,
    next_step: u32,
    past: &Past,
) -> Option<BTreeMap<String, Captured>> {
    let names = case.steps.iter().take(next_step as usize).flat_map(|step| step.capture.keys());
    let value = |name: &String| match past.captures.get(name) {
        Some(value) => Some(Captured { value: value.clone(), secret: false }),
        None => vault.open(id, name, past.sealed.get(name)?).map(|value| Captured { value, secret: true }),
    };
    names.map(|name| Some((name.clone(), value(name)?))).collect()
}

/// A captured value that came back from the log.
struct Captured {
    value: Value,
    secret: bool,
}

impl<'a> Attempt<'a> {
    fn learn(&mut self, captures: BTreeMap<String, Captured>) {
        for (name, captured) in captures {
            self.capture(name, captured.value, captured.secret);
        }
    }

    /// The commands that take the execution and deal with its interruption.
    fn take_up(&self, restart: bool, spent_ms: u64) -> Vec<Command> {
        let mut commands = vec![Command::MakeReady(self.parent_epoch), Command::Claim(self.engine.worker())];
        let state = self.execution.state();
        if state.interrupted || (restart && !state.restarting) {
            commands.push(Command::Recover { restart, spent_ms });
        }
        commands
    }

    /// Another attempt, at the first step.
    async fn begin_anew(&mut self, spent_ms: u64) -> Result<Option<Due<'a>>, ExecutionError> {
        let due = self.due(0, 1)?;
        let mut commands = self.take_up(true, spent_ms);
        commands.push(Command::Start(record::place(&self.engine.place, &self.redactor)));
        commands.push(self.start_step(&due, 0));
        let acted = self.act(&commands).await?;
        self.began = Instant::now();
        match acted {
            Acted::Done => Ok(Some(due)),
            // Who looks again finds that it is to end.
            Acted::Cancelling | Acted::Lost => Ok(None),
        }
    }

    /// The same attempt, at its first step that is not finished.
    async fn go_on_from(&mut self, past: &Past) -> Result<Option<Due<'a>>, ExecutionError> {
        let mut commands = self.take_up(false, ms(self.spent));
        let state = self.execution.state();
        let (index, runs, tried) = (state.next_step, state.step_runs, state.step_attempts);
        let conclusion = if state.halted.is_some() || index as usize >= self.case.steps.len() {
            Some(Conclusion::Finished)
        } else if state.cancellation.is_some() || self.stop.reason().is_some() {
            commands.extend(self.stop.reason().map(Command::RequestCancellation));
            Some(Conclusion::Cancelled)
        } else {
            (self.time_left() == Some(Duration::ZERO)).then_some(Conclusion::TimedOut)
        };
        if let Some(conclusion) = conclusion {
            commands.push(self.verdict(conclusion));
            return self.act(&commands).await.map(|_| None);
        }
        let step = self.case.steps.get(index as usize);
        let wait = step.map_or(Duration::ZERO, |step| self.left_of_wait(&step.retries, tried, past));
        if !wait.is_zero() {
            match self.act(&std::mem::take(&mut commands)).await? {
                Acted::Done => {}
                Acted::Cancelling | Acted::Lost => return Ok(None),
            }
            self.began = Instant::now();
            self.wait(wait).await;
            if self.stop.leaves() {
                return Ok(None);
            }
            return self.start_again(index, commands).await;
        }
        let next = self.due(index, runs + 1)?;
        commands.push(self.start_step(&next, index));
        let acted = self.act(&commands).await?;
        self.began = Instant::now();
        match acted {
            Acted::Done => Ok(Some(next)),
            Acted::Cancelling | Acted::Lost => Ok(None),
        }
    }

    /// What is left of the wait before the next attempt of a step; the time without a worker counts.
    fn left_of_wait(&self, retries: &Retries, tried: u32, past: &Past) -> Duration {
        let Some(failed_at) = past.failed_at else { return Duration::ZERO };
        let waited = self.engine.journal.now().since_ms(failed_at);
        Duration::from_millis(retries.wait_before_ms(tried + 1).saturating_sub(waited))
    }
}
