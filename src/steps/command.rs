//! Runs a command, from its start until nothing is left of its process tree.
//!
//! How a run ends, the first that applies:
//!
//! | what happened | outcome | error |
//! |---|---|---|
//! | it could not be started | ERROR | Spawn, ResourceAllocation |
//! | spawner or store were lost | ERROR | Infrastructure |
//! | stopped on request | CANCELLED | none |
//! | stopped, for its time was over | TIMEOUT | Timeout |
//! | ended by a signal | FAILED | Signal |
//! | an exit code that is not expected | FAILED | ExitCode |
//! | an expectation on output or time | FAILED | Expectation |
//! | its report is missing, old or unreadable | ERROR | Report |
//! | its report has failed test cases, though the exit code is accepted | FAILED | Assertion |
//! | a value cannot be captured | ERROR | Capture |
//!
//! Stopping means: SIGTERM to the whole tree, the grace, then SIGKILL until nothing is left. A descendant that outlives
//! the command, or holds its output open, may do so for the leak timeout; one that ends by itself within it is no
//! leak, one that has to be stopped is.

mod course;
mod judge;
mod report;
mod streams;

use testledger_schemas::StepOutcome;
use testledger_schemas::event::ErrorKind;
use tokio::time::Instant;

use crate::ports::clock::ms;
use crate::steps::launcher::{LaunchError, LaunchSpec, Process};
use crate::steps::{PreparedRun, StepContext, StepEnd};
use course::{Stop, Stops};
use report::ReportFile;
use streams::Streams;

/// Runs a command to its end.
pub async fn run(run: &PreparedRun, context: &StepContext) -> StepEnd {
    let began = Instant::now();
    let report = match &run.junit {
        Some(path) => Some(ReportFile::look(path.clone()).await),
        None => None,
    };
    let stops = Stops { cancel: &context.cancel, deadline: context.timeout.map(|timeout| began + timeout) };
    let mut process = match launch(run, context, &stops).await {
        Ok(process) => process,
        Err(failure) => return not_started(failure, context, ms(began.elapsed())),
    };
    let mut streams = Streams::begin(process.stdout, process.stderr, run, context);
    let course = course::follow(process.control.as_mut(), &mut streams, context, &stops, began).await;
    judge::judge(run, context, course, streams, report).await
}

/// Why there is no process.
enum NotStarted {
    Failed(LaunchError),
    Stopped(Stop),
}

async fn launch(run: &PreparedRun, context: &StepContext, stops: &Stops<'_>) -> Result<Process, NotStarted> {
    if context.cancel.is_cancelled() {
        return Err(NotStarted::Stopped(Stop::Cancelled));
    }
    let spec = LaunchSpec { argv: run.argv.clone(), env: run.env.clone(), directory: run.directory.clone() };
    tokio::select! {
        biased;
        launched = context.launcher.launch(spec) => launched.map_err(NotStarted::Failed),
        stop = stops.wait() => Err(NotStarted::Stopped(stop)),
    }
}

fn not_started(failure: NotStarted, context: &StepContext, duration_ms: u64) -> StepEnd {
    let (outcome, kind, message) = match failure {
        NotStarted::Stopped(Stop::Cancelled) => {
            return StepEnd { outcome: StepOutcome::Cancelled, ..StepEnd::passed(duration_ms) };
        }
        NotStarted::Stopped(Stop::Timeout) => {
            (StepOutcome::Timeout, ErrorKind::Timeout, "its time was over before it was started".to_owned())
        }
        NotStarted::Failed(error) => (StepOutcome::Error, kind_of(&error), error.to_string()),
    };
    StepEnd { outcome, ..StepEnd::error(kind, context.redactor.text(&message), duration_ms) }
}

fn kind_of(error: &LaunchError) -> ErrorKind {
    match error {
        LaunchError::Command(_) => ErrorKind::Spawn,
        LaunchError::Resources(_) => ErrorKind::ResourceAllocation,
        LaunchError::SpawnerLost(_) => ErrorKind::Infrastructure,
    }
}
