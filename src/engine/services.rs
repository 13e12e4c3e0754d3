//! The services of a suite as the engine sees them: started in order, recorded, stopped after the last case.

use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::Plan;
use testledger_schemas::command::Command;
use testledger_schemas::event::{ServiceEnd, ServiceStarted, ServiceStopped, StepOutputs};
use testledger_schemas::plan::Service;

use crate::engine::Engine;
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::stop::Stop;
use crate::execution::Refusal;
use crate::steps::context::OutputLimits;
use crate::steps::prepare::{PrepareError, Scope, prepare_service, resolve_env};
use crate::steps::service::{self, RunningService, ServiceContext, ServiceReport, ServiceSpec};

/// The services that are up.
pub struct Services {
    running: Vec<RunningService>,
}

impl Services {
    /// Starts all services of a plan, one after the other, and waits until each is ready. Returns whether all are.
    ///
    /// # Errors
    /// [`ExecutionError`] if the log cannot be written.
    pub async fn start(
        engine: &Arc<Engine>,
        plan: &Plan,
        root: &mut Execution,
        stop: &Stop,
    ) -> Result<(Self, bool), ExecutionError> {
        let mut services = Self { running: vec![] };
        for service in &plan.services {
            if stop.reason().is_some() {
                return Ok((services, false));
            }
            let started = match spec(engine, plan, service) {
                Ok(spec) => {
                    service::start(spec, context(engine, plan, root, stop)).await.map_err(|failure| *failure.report)
                }
                Err(error) => Err(unprepared(service, &error)),
            };
            match started {
                Ok(running) => {
                    let started = ServiceStarted {
                        service: running.id().to_owned(),
                        ready_after_ms: running.ready_after_ms(),
                        pid: running.pid(),
                    };
                    services.running.push(running);
                    record(root, Command::RecordServiceStarted(started)).await?;
                }
                Err(report) if engine.launcher.is_lost() => return Err(engine.is_lost_for(&report.message)),
                Err(report) => {
                    record(root, stopped(report)).await?;
                    return Ok((services, false));
                }
            }
        }
        Ok((services, true))
    }

    /// Stops all, the last first.
    ///
    /// # Errors
    /// [`ExecutionError`] if the log cannot be written; all are stopped all the same.
    pub async fn stop(self, engine: &Arc<Engine>, root: &mut Execution) -> Result<(), ExecutionError> {
        let mut recorded = Ok(());
        for service in self.running.into_iter().rev() {
            let report = service.stop(engine.settings.grace).await;
            recorded = recorded.and(record(root, stopped(report)).await);
        }
        recorded
    }
}

/// Records a fact of a suite; one that is over, or that another worker has, takes no more.
async fn record(root: &mut Execution, command: Command) -> Result<(), ExecutionError> {
    match root.act(&[command]).await {
        Ok(_) | Err(ExecutionError::Refused { refusal: Refusal::Final(_) | Refusal::StaleClaim, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn spec(engine: &Engine, plan: &Plan, service: &Service) -> Result<ServiceSpec, PrepareError> {
    let mut scope = Scope { params: plan.params.clone(), ..Scope::default() };
    scope.facts.insert("suite".to_owned(), plan.suite.clone());
    let environment = resolve_env(&plan.env, &engine.environment, &scope)?;
    let prepared = prepare_service(plan, service, &environment, &scope)?;
    Ok(ServiceSpec {
        id: service.id.clone(),
        argv: prepared.argv,
        env: prepared.env,
        directory: prepared.directory,
        ready: prepared.ready,
        ready_timeout: Duration::from_millis(service.ready_timeout_ms),
    })
}

fn context(engine: &Engine, plan: &Plan, root: &Execution, stop: &Stop) -> ServiceContext {
    let settings = &engine.settings;
    ServiceContext {
        execution: root.id(),
        launcher: Arc::clone(&engine.launcher),
        http: engine.http.clone(),
        log: Arc::clone(&engine.journal.log),
        redactor: engine.redactor(plan),
        output: OutputLimits { excerpt_bytes: settings.excerpt_bytes, kept_bytes: settings.output_bytes },
        live: Some(engine.live()),
        cancel: stop.token().clone(),
        grace: settings.grace,
    }
}

fn unprepared(service: &Service, error: &PrepareError) -> ServiceReport {
    ServiceReport {
        id: service.id.clone(),
        end: ServiceEnd::NotStarted,
        exit_code: None,
        signal: None,
        outputs: vec![],
        excerpts: vec![],
        message: error.to_string(),
    }
}

fn stopped(report: ServiceReport) -> Command {
    Command::RecordServiceStopped(Box::new(ServiceStopped {
        service: report.id,
        end: report.end,
        exit_code: report.exit_code.map(i64::from),
        signal: report.signal.map(i64::from),
        outputs: report.outputs,
        content: StepOutputs { message: report.message, excerpts: report.excerpts, ..StepOutputs::default() }.into(),
    }))
}
