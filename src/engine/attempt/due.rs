//! The step that is due: prepared, recorded as started, carried out.

use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::command::Command;
use testledger_schemas::event::{ErrorKind, StepInputs, StepRun, StepStarted};
use testledger_schemas::plan::Step;
use testledger_schemas::{StepKey, StepOutcome};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::attempt::Attempt;
use crate::engine::error::ExecutionError;
use crate::engine::overhead::{Moments, TimedLauncher};
use crate::engine::record;
use crate::event_store::StoreError;
use crate::ports::fault::{self, Point};
use crate::steps::context::OutputLimits;
use crate::steps::prepare::{Prepared, prepare};
use crate::steps::{StepContext, StepEnd, StepError, carry_out};

/// How long a stop waits for the log to know of it.
const WISH_PATIENCE: Duration = Duration::from_millis(500);

/// A step that is recorded as started and is to be carried out now.
pub struct Due<'a> {
    pub(super) step: &'a Step,
    pub(super) run: StepRun,
    prepared: Result<Prepared, String>,
}

impl<'a> Attempt<'a> {
    /// Prepares a step. What cannot be prepared is started all the same, and ends at once with the reason.
    pub(super) fn due(&self, index: u32, step_attempt: u32) -> Result<Due<'a>, ExecutionError> {
        let step = self.case.steps.get(index as usize);
        let step = step.ok_or_else(|| ExecutionError::Internal(format!("the case has no step {index}")))?;
        let prepared = match &self.environment {
            Ok(environment) => prepare(self.plan, step, environment, &self.scope).map_err(|error| error.to_string()),
            Err(reason) => Err(reason.clone()),
        };
        let run = StepRun { attempt: self.number, step: step.id.clone(), step_attempt };
        Ok(Due { step, run, prepared })
    }

    /// The command that records the begin of a step.
    pub(super) fn start_step(&self, due: &Due<'_>, index: u32) -> Command {
        let (plan, case, step) = (self.plan, self.case, due.step);
        let revision = self.execution.state().request.as_ref().and_then(|request| request.revision.as_ref());
        let content = match &due.prepared {
            Ok(prepared) => record::inputs(&step.name, prepared, &self.redactor),
            Err(_) => StepInputs { name: step.name.clone(), ..Default::default() },
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

    /// Carries out a step, and notes what the engine cost until it was spawned.
    ///
    /// # Errors
    /// [`ExecutionError::WorkerLost`] if this engine may not work any more, [`ExecutionError::Store`] if what the step printed
    /// cannot be kept: what became of the step is not known then, and nothing may be said of it.
    pub(super) async fn carry_out(&mut self, due: &Due<'_>) -> Result<StepEnd, ExecutionError> {
        fault::reached(Point::StepRecorded, self.engine.journal.worker).await;
        let began = Instant::now();
        self.moments = Moments::default();
        let end = match &due.prepared {
            Ok(prepared) => {
                let cancel = CancellationToken::new();
                let context = StepContext { cancel: cancel.clone(), ..self.context(due) };
                let engine = self.engine;
                tokio::select! {
                    biased;
                    () = engine.journal.lost.cancelled() => return Err(ExecutionError::LeaseLost),
                    end = self.told_before_stopped(carry_out(prepared, &context), &cancel) => end,
                }
            }
            Err(reason) => StepEnd::error(ErrorKind::Template, self.redactor.text(reason), 0),
        };
        self.moments.end_now();
        fault::reached(Point::StepEnded, self.engine.journal.worker).await;
        let spawned = self.moments.spawned().unwrap_or(began);
        self.start_overhead.get_or_insert(spawned.saturating_duration_since(self.granted));
        if let Some(error) = end.error.as_ref().filter(|error| error.kind == ErrorKind::Infrastructure) {
            // Without its spawner this engine is lost; else it was the store that could not keep what was printed.
            return Err(if self.engine.launcher.is_lost() {
                self.engine.is_lost_for(&error.message)
            } else {
                StoreError::Unavailable(error.message.clone()).into()
            });
        }
        Ok(within_capture_limit(end))
    }

    /// The wish to stop is durable before the step is told of it; but a log that is slow does not hold up the stop.
    async fn told_before_stopped(
        &mut self,
        step: impl Future<Output = StepEnd>,
        cancel: &CancellationToken,
    ) -> StepEnd {
        let mut step = std::pin::pin!(step);
        tokio::select! {
            biased;
            end = &mut step => return end,
            () = self.stop.token().cancelled() => {}
        }
        let wish: Vec<Command> = self.stop.wish().into_iter().collect();
        let mut told = std::pin::pin!(self.execution.act(&wish));
        let in_time = tokio::time::timeout(WISH_PATIENCE, &mut told).await;
        cancel.cancel();
        let (told, end) = match in_time {
            Ok(told) => (told, step.await),
            Err(_) => tokio::join!(told, step),
        };
        if let Err(error) = told {
            // Whatever is wrong, the end of the step meets it again.
            tracing::debug!(%error, "the wish to stop could not be recorded");
        }
        end
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
