//! `run`: asks for executions, carries them out, shows them, and ends with the exit code that says how it went.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use testledger_schemas::event::{CancelReason, FailureReason, Revision};
use testledger_schemas::{ExecutionId, ExecutionStatus, Plan};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::args::RunArgs;
use crate::cli::context::{Context, git_revision};
use crate::cli::exit::{Exit, Failure};
use crate::cli::follow::Follower;
use crate::cli::open::Running;
use crate::cli::plans;
use crate::cli::recover;
use crate::cli::result::RunResult;
use crate::engine::Engine;
use crate::engine::execution::Execution;
use crate::engine::request::RequestOptions;
use crate::engine::stop::Stop;
use crate::engine::sweeper::Sweeper;
use crate::report::junit_write;
use crate::report::model::RunReport;
use crate::report::terminal::{Closing, Progress, View};
use crate::settings::address;

/// How a run is shown and reported.
#[derive(Clone, Debug, Default)]
pub struct Output<'a> {
    /// As JSON on standard output.
    pub json: bool,
    /// The output of every step, too.
    pub no_capture: bool,
    /// A JUnit XML report.
    pub junit: Option<&'a Path>,
}

/// Runs plans, or a wrapped command.
///
/// # Errors
/// [`Failure`].
pub async fn run(mut context: Context, args: &RunArgs) -> Result<Exit, Failure> {
    apply_flags(&mut context, args);
    let plans = plans::of(&context, args)?;
    if plans.is_empty() {
        return Err(Failure::new(Exit::NothingToRun, "the selection leaves nothing to run"));
    }
    if args.idempotency_key.is_some() && plans.len() > 1 {
        return Err(Failure::usage("an idempotency key means one execution: run one plan with it"));
    }
    if args.dry_run {
        return dry_run(&plans).map(|()| Exit::Passed);
    }
    let revision = match &args.revision {
        Some(commit) => Some(Revision { commit: commit.clone(), dirty: false }),
        None => git_revision(&context.directory).await,
    };
    if let Some(path) = &args.junit {
        can_be_written(path)?;
    }
    let options = RequestOptions { idempotency_key: args.idempotency_key.clone(), revision, retry_of: None };
    let output = Output { json: args.json, no_capture: args.no_capture, junit: args.junit.as_deref() };
    run_all(&context, plans, &options, &output).await
}

fn apply_flags(context: &mut Context, args: &RunArgs) {
    if let Some(jobs) = args.jobs {
        context.settings.jobs = jobs as usize;
    }
    if let Some(actor) = &args.actor {
        context.settings.actor.clone_from(actor);
    }
}

/// Runs plans one after the other on one engine. The exit code is that of the worst.
///
/// # Errors
/// [`Failure`].
pub async fn run_all(
    context: &Context,
    plans: Vec<Plan>,
    options: &RequestOptions,
    output: &Output<'_>,
) -> Result<Exit, Failure> {
    let running = Running::start(context).await?;
    let stop = Stop::default();
    let signals = listen(stop.clone())?;
    let sweeper = recover::beside(&running);
    let mut reports = vec![];
    let mut worst = Exit::Passed;
    for plan in plans {
        if stop.reason().is_some() {
            worst = worse(worst, Exit::Interrupted);
            break;
        }
        match run_one(&running, plan, options, output, &stop).await {
            Ok((exit, report)) => {
                worst = worse(worst, exit);
                reports.push(report);
            }
            Err(failure) => {
                running.stop().await;
                return Err(failure);
            }
        }
    }
    if let Some(sweeper) = sweeper {
        finish(sweeper, &stop).await;
    }
    signals.abort();
    running.stop().await;
    if let Some(path) = output.junit {
        write_junit(path, &reports)?;
    }
    Ok(worst)
}

/// What the sweeper has begun is brought to its end; or left, when somebody wants to stop.
async fn finish(sweeper: Sweeper, stop: &Stop) {
    if stop.reason().is_some() {
        return sweeper.leave();
    }
    tokio::select! {
        biased;
        () = sweeper.end() => {}
        () = stop.token().cancelled() => {}
    }
}

/// The codes from good to bad; whatever is not listed is worse than all.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| {
        let order = [Exit::Passed, Exit::TestsFailed, Exit::SetupFailed, Exit::Interrupted];
        order.iter().position(|known| *known == exit).unwrap_or(order.len())
    };
    if rank(other) > rank(one) { other } else { one }
}

/// The first interrupt or termination signal stops the run in good order, the second at once: the spawner then ends
/// every process, and the executions stay to be recovered.
fn listen(stop: Stop) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let catch = |kind| signal(kind).map_err(|error| Failure::new(Exit::Internal, error));
    let (interrupt, terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    Ok(tokio::spawn(async move {
        let mut signals = (interrupt, terminate);
        next(&mut signals).await;
        let _ = writeln!(anstream::stderr(), "stopping; once more to stop at once");
        stop.fire(CancelReason::Signal);
        next(&mut signals).await;
        std::process::exit(Exit::Interrupted as i32);
    }))
}

async fn next((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// With `--json`, standard output belongs to the program that reads it: everything for people goes to standard error.
fn progress(engine: &Engine, plan: &Plan, output: &Output<'_>) -> Progress {
    match (output.json, plan.is_suite) {
        (true, _) => {
            let (out, err) = (Box::new(std::io::stderr()), Box::new(std::io::stderr()));
            Progress::on(View::Lines, output.no_capture, false, out, err)
        }
        (false, true) => Progress::new(View::of_a_plan(engine.settings.live_interval), output.no_capture),
        (false, false) => Progress::new(View::Wrapped, output.no_capture),
    }
}

async fn run_one(
    running: &Running,
    plan: Plan,
    options: &RequestOptions,
    output: &Output<'_>,
    stop: &Stop,
) -> Result<(Exit, RunReport), Failure> {
    let engine = &running.engine;
    let follower = Follower::start(engine, progress(engine, &plan, output));
    let requested = engine.request(&plan, options).await?;
    let id = requested.execution.id();
    if requested.existed {
        follower.note(&format!("the idempotency key means execution {id}, which was asked for before"));
    }
    let plan = Arc::new(plan);
    let execution = engine.run(id, Arc::clone(&plan), stop).await?;
    let anchor = engine.anchor().await?;
    // With a key, another process may have asked for some of the cases, or may have run them.
    let is_shared = options.idempotency_key.is_some() || execution.state().last_worker != Some(engine.worker());
    let progress = follower.finish(engine, id, &plan, is_shared).await?;
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    if !execution.state().is_final() {
        progress.note(&format!("execution {id} goes on in another process; `executions cancel` stops it"));
    }
    let closing = Closing { page: Some(anchor.to_string()), look_closer: look_closer(running, id) };
    progress.finish(&closing)?;
    let report = progress.report().clone();
    drop(progress);
    let exit = exit_of(&execution);
    if output.json {
        let result = RunResult {
            execution_id: id,
            worker: execution.state().last_worker,
            status: execution.state().status.unwrap_or(ExecutionStatus::Pending),
            exit_code: exit as u8,
            existed: requested.existed,
            duration_ms: report.root().map_or(0, |root| root.duration_ms()),
            cases: report.statuses(),
            steps: report.step_outcomes(),
            reported: report.reported_outcomes(),
            anchor,
            overhead: engine.overheads.summary(),
            overhead_parts: engine.overheads.parts(),
            appends: engine.journal.latencies.all.summary(),
            transitions: engine.journal.latencies.transitions.summary(),
        };
        let text = serde_json::to_string(&result).map_err(|error| Failure::new(Exit::Internal, error))?;
        writeln!(std::io::stdout(), "{text}")?;
    }
    Ok((exit, report))
}

/// The exit code of an execution's end.
#[must_use]
pub fn exit_of(execution: &Execution) -> Exit {
    match execution.state().status {
        Some(ExecutionStatus::Passed) => Exit::Passed,
        Some(ExecutionStatus::Cancelled | ExecutionStatus::Aborted) => Exit::Interrupted,
        Some(ExecutionStatus::Failed) => match execution.state().failure {
            Some(FailureReason::Setup) => Exit::SetupFailed,
            Some(FailureReason::Step | FailureReason::Case | FailureReason::Infrastructure) | None => Exit::TestsFailed,
        },
        Some(ExecutionStatus::Timeout) => Exit::TestsFailed,
        // It goes on elsewhere, and somebody here would not wait for its end.
        Some(ExecutionStatus::Pending | ExecutionStatus::Running | ExecutionStatus::Retrying) => Exit::Interrupted,
        None => Exit::Internal,
    }
}

/// Whether a report can be written there; found out before the tests run. What is in the file stays until then.
fn can_be_written(path: &Path) -> Result<(), Failure> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| not_written(path, &error))?;
    }
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
    opened.map(drop).map_err(|error| not_written(path, &error))
}

fn write_junit(path: &Path, reports: &[RunReport]) -> Result<(), Failure> {
    std::fs::write(path, junit_write::write_all(reports)).map_err(|error| not_written(path, &error))
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    let text = format!("{}: the report cannot be written: {error}", path.display());
    Failure::new(Exit::OutputNotWritten, text)
}

/// The command that looks closer, with the store where that is not what settings say.
fn look_closer(running: &Running, id: ExecutionId) -> String {
    match &running.store_flag {
        Some(store) => {
            format!("testledger executions show {id} --store {}", quoted(&address::without_password(store)))
        }
        None => format!("testledger executions show {id}"),
    }
}

/// A text as a word of a shell line.
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+=,".contains(letter);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn dry_run(plans: &[Plan]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for plan in plans {
        writeln!(out, "{} ({}): {} cases", plan.name, plan.source, plan.cases.len())?;
        for case in &plan.cases {
            let steps: Vec<&str> = case.steps.iter().map(|step| step.id.as_str()).collect();
            writeln!(out, "  {}: {}", case.label(), steps.join(", "))?;
        }
    }
    writeln!(out, "nothing was run (--dry-run)")?;
    Ok(())
}
