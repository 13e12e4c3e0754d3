//! Services: started before the first case, watched until ready, stopped after the last.
//!
//! A service is ready when its own process answers: where readiness is asked for over the network, nothing may answer
//! there before the start, and a process that has ended is never ready, whoever answers in its place.

mod failure;
mod output;
mod ready;

use std::path::PathBuf;
use std::time::Duration;

use testledger_schemas::ExecutionId;
use testledger_schemas::event::{OutputExcerpt, OutputFacts, ServiceEnd};
use testledger_schemas::plan::Ready;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use failure::ServiceFailure;

use crate::event_store::SharedLog;
use crate::ports::clock::ms;
use crate::steps::context::{LiveSink, OutputLimits};
use crate::steps::http::HttpClient;
use crate::steps::launcher::{Exit, LaunchError, LaunchSpec, ProcessControl, SharedLauncher, TreeSignal};
use crate::steps::redact::Redactor;
use failure::{NotReady, describe};
use output::Streams;
use ready::Readiness;

/// After SIGKILL, so long is waited for the tree to be gone: only a process that hangs in the kernel takes longer.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// A service that is to be started: templates resolved, paths absolute.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    /// Its id in the plan.
    pub id: String,
    /// Program and arguments (for a shell line: `sh`, `-c`, the line).
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory, absolute.
    pub directory: PathBuf,
    /// When it is ready.
    pub ready: Ready,
    /// How long it may take to become ready.
    pub ready_timeout: Duration,
}

/// What a service is given besides its own definition.
#[derive(Clone)]
pub struct ServiceContext {
    /// The suite execution it belongs to.
    pub execution: ExecutionId,
    /// Starts processes.
    pub launcher: SharedLauncher,
    /// Asks whether it is ready.
    pub http: HttpClient,
    /// Where artifacts go.
    pub log: SharedLog,
    /// What must not be seen.
    pub redactor: Redactor,
    /// How much output is kept.
    pub output: OutputLimits,
    /// Where live output goes, if anybody looks.
    pub live: Option<LiveSink>,
    /// Fires when the suite is to be stopped; ends the waiting for readiness.
    pub cancel: CancellationToken,
    /// From SIGTERM to SIGKILL, where it is stopped because it did not become ready.
    pub grace: Duration,
}

/// How a service ended, with secrets redacted.
#[derive(Clone, Debug)]
pub struct ServiceReport {
    /// Its id in the plan.
    pub id: String,
    /// Why it is no longer there.
    pub end: ServiceEnd,
    /// Its exit code, where it had one.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// How much it printed; artifacts named here are durable.
    pub outputs: Vec<OutputFacts>,
    /// What it printed, as far as an event holds it.
    pub excerpts: Vec<OutputExcerpt>,
    /// What went wrong, and its last lines of output; empty where all went well.
    pub message: String,
}

/// A service that is ready. When it is dropped, its whole process tree is killed.
pub struct RunningService {
    id: String,
    pid: u32,
    ready_after_ms: u64,
    control: Box<dyn ProcessControl>,
    streams: Streams,
    exit: Option<Exit>,
    /// The launcher among it: without that, everything it started would end.
    context: ServiceContext,
}

/// Starts a service and waits until it is ready.
///
/// # Errors
/// [`ServiceFailure`], after everything that was started is gone again.
pub async fn start(spec: ServiceSpec, context: ServiceContext) -> Result<RunningService, ServiceFailure> {
    let not_started = |reason: String| ServiceFailure::not_started(&spec.id, &context.redactor.text(&reason));
    let readiness = Readiness::new(&spec.ready, &context.http).map_err(not_started)?;
    readiness.must_not_be_there().await.map_err(not_started)?;
    let began = Instant::now();
    let mut service = launch(&spec, &readiness, &context).await.map_err(|error| not_started(error.to_string()))?;
    match service.until_ready(&readiness, spec.ready_timeout, &context.cancel).await {
        Ok(()) => {
            service.ready_after_ms = ms(began.elapsed());
            Ok(service)
        }
        Err(reason) => Err(service.give_up(reason).await),
    }
}

async fn launch(
    spec: &ServiceSpec,
    readiness: &Readiness,
    context: &ServiceContext,
) -> Result<RunningService, LaunchError> {
    let (argv, env) = (spec.argv.clone(), spec.env.clone());
    let launched = context.launcher.launch(LaunchSpec { argv, env, directory: spec.directory.clone() }).await?;
    Ok(RunningService {
        id: spec.id.clone(),
        pid: launched.pid,
        ready_after_ms: 0,
        control: launched.control,
        streams: Streams::read(&spec.id, launched.stdout, launched.stderr, readiness, context),
        exit: None,
        context: context.clone(),
    })
}

impl RunningService {
    /// Its id in the plan.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The milliseconds from its start until it was ready, on the monotonic clock.
    #[must_use]
    pub fn ready_after_ms(&self) -> u64 {
        self.ready_after_ms
    }

    /// Waits for its end: one that nobody asked for, as long as [`Self::stop`] was not called. May be dropped, and
    /// called again. [`Self::stop`] still has to be called, for its descendants and its output.
    ///
    /// # Errors
    /// [`LaunchError`] when the spawner is gone, and the service with it.
    pub async fn exited(&mut self) -> Result<Exit, LaunchError> {
        let exit = self.control.exited().await?;
        self.exit = Some(exit.clone());
        Ok(exit)
    }

    /// Stops it: SIGTERM to its process tree, SIGKILL after `grace`, until nothing is left. Its output is durable
    /// when this returns.
    pub async fn stop(mut self, grace: Duration) -> ServiceReport {
        let ended_before = self.has_ended().await;
        self.end_tree(grace).await;
        if ended_before {
            let message = format!("service {} ended by itself: {}", self.id, describe(self.exit.as_ref()));
            self.report(ServiceEnd::Exited, message).await
        } else {
            self.report(ServiceEnd::Stopped, String::new()).await
        }
    }

    async fn has_ended(&mut self) -> bool {
        // The news of an end may be there and not taken in yet: it is asked for once, without waiting.
        self.exit.is_some() || timeout(Duration::ZERO, self.exited()).await.is_ok()
    }

    /// Waits for readiness, for the end of the process, for a cancel, or for the end of patience.
    async fn until_ready(
        &mut self,
        readiness: &Readiness,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<(), NotReady> {
        let mut last = String::new();
        let seen = self.streams.seen();
        let waited = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(NotReady::Cancelled),
            _ = self.exited() => Err(NotReady::Exited),
            waited = timeout(patience, readiness.wait(seen, &mut last)) => Ok(waited.is_ok()),
        };
        match waited? {
            true if self.has_ended().await => Err(NotReady::Exited),
            true => Ok(()),
            false => Err(NotReady::TimedOut { patience, last }),
        }
    }

    /// Ends a service that is not ready.
    async fn give_up(mut self, reason: NotReady) -> ServiceFailure {
        self.end_tree(self.context.grace).await;
        let message = reason.message(&self.id, self.exit.as_ref());
        let cancelled = reason.is_cancel();
        ServiceFailure { report: Box::new(self.report(reason.end(), message).await), cancelled }
    }

    /// Ends the whole process tree. Nothing is left of it afterwards, whoever was left of it before.
    async fn end_tree(&mut self, grace: Duration) {
        self.control.signal(TreeSignal::Term);
        if timeout(grace, self.control.tree_gone()).await.is_err() {
            self.control.signal(TreeSignal::Kill);
            if timeout(KILL_PATIENCE, self.control.tree_gone()).await.is_err() {
                tracing::error!(service = self.id, pid = self.pid, "a killed process tree is still there");
            }
        }
        if timeout(KILL_PATIENCE, self.exited()).await.is_err() {
            tracing::error!(service = self.id, pid = self.pid, "a killed process has not ended");
        }
    }

    async fn report(self, end: ServiceEnd, message: String) -> ServiceReport {
        let printed = self.streams.finish(&self.context.log).await;
        let message = if message.is_empty() { message } else { printed.after(&self.context.redactor.text(&message)) };
        let message = match printed.lost {
            Some(reason) => format!("{message}\nits output could not be kept: {reason}").trim_start().to_owned(),
            None => message,
        };
        ServiceReport {
            id: self.id,
            end,
            exit_code: self.exit.as_ref().and_then(|exit| exit.code),
            signal: self.exit.as_ref().and_then(|exit| exit.signal),
            outputs: printed.facts,
            excerpts: printed.excerpts,
            message,
        }
    }
}

#[cfg(test)]
mod tests;
