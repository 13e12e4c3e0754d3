//! `executions`: list, show, cancel, retry.

use std::io::Write;
use std::sync::Arc;

use testledger_projections::worker::Progress;
use testledger_schemas::Plan;
use testledger_schemas::command::Command;
use testledger_schemas::event::{CancelReason, ExecutionKind};
use testledger_schemas::plan::Case;

use crate::cli::context::{Context, git_revision};
use crate::cli::exit::{Exit, Failure};
use crate::cli::lists::{LeastArgs, ListArgs, filter};
use crate::cli::open::Existing;
use crate::cli::run::{Output, run_all};
use crate::engine::execution::Execution;
use crate::engine::journal::{Journal, SharedJournal};
use crate::engine::request::RequestOptions;
use crate::event_store::SharedLog;
use crate::event_store::patient::PatientLog;
use crate::plan::{Selection, select};
use crate::ports::clock::{Clock, SystemClock};
use crate::ports::ids::RandomIds;
use crate::views::{ViewError, Views, list as listing, show as showing, show_text};

/// The views of the log that the settings name, brought up to its end.
///
/// # Errors
/// [`Failure`].
pub async fn views(context: &Context) -> Result<Views, Failure> {
    views_of(&Existing::open(context).await?).await
}

/// The views of this log, brought up to its end.
///
/// # Errors
/// [`Failure`].
pub async fn views_of(existing: &Existing) -> Result<Views, Failure> {
    let views = existing.views().await?;
    warn_of(&views.catch_up(None).await.map_err(|error| failure(error.into()))?);
    Ok(views)
}

/// The views of this log, brought up to its end, and not before a position is there.
///
/// # Errors
/// [`Failure`].
pub async fn views_at(existing: &Existing, least: &LeastArgs) -> Result<Views, Failure> {
    let views = existing.views().await?;
    let progress = views.reach(least.min_position, least.patience()).await.map_err(failure)?;
    warn_of(&progress);
    Ok(views)
}

/// Says on standard error where views stay behind.
pub fn warn_of(progress: &Progress) {
    if let Some(poison) = &progress.paused {
        let _ = writeln!(
            std::io::stderr(),
            "warning: the views stay before position {}: {}",
            poison.position,
            poison.reason
        );
    }
    if let Some(hold) = &progress.held {
        let _ = writeln!(
            std::io::stderr(),
            "warning: the views stay at position {}: {} paused their projection at {} (see `testledger projections status`)",
            progress.position,
            hold.by,
            hold.at
        );
    }
}

/// The failure of a question about the views.
#[must_use]
pub fn failure(error: ViewError) -> Failure {
    let exit = match &error {
        ViewError::NoSuchExecution(_)
        | ViewError::Ambiguous { .. }
        | ViewError::NotAnId(_)
        | ViewError::NoSuchStep(_)
        | ViewError::AmbiguousStep { .. }
        | ViewError::NotThatFar { .. } => Exit::Usage,
        ViewError::Views(_) | ViewError::Log(_) | ViewError::CatchUp(_) | ViewError::NotInTime { .. } => {
            Exit::StoreUnavailable
        }
    };
    Failure::new(exit, error)
}

/// Lists executions.
///
/// # Errors
/// [`Failure`].
pub async fn list(context: &Context, args: &ListArgs, least: &LeastArgs) -> Result<Exit, Failure> {
    let filter = filter(args, SystemClock.now())?;
    let views = views_at(&Existing::open(context).await?, least).await?;
    let page = views.list(&filter).await.map_err(|error| failure(error.into()))?;
    print(args.json, &page, || listing::table(&page, None))
}

/// Prints a value, as JSON or as text.
///
/// # Errors
/// [`Failure`] where it cannot be written.
pub fn print<T: serde::Serialize>(json: bool, value: &T, text: impl FnOnce() -> String) -> Result<Exit, Failure> {
    let text =
        if json { serde_json::to_string(value).map_err(|error| Failure::new(Exit::Internal, error))? } else { text() };
    writeln!(anstream::stdout(), "{}", text.trim_end())?;
    Ok(Exit::Passed)
}

/// Shows one execution.
///
/// # Errors
/// [`Failure`].
pub async fn show(context: &Context, id: &str, least: &LeastArgs, json: bool) -> Result<Exit, Failure> {
    let views = views_at(&Existing::open(context).await?, least).await?;
    let execution = views.resolve(id).await.map_err(failure)?;
    let shown = showing::show(&views, execution).await.map_err(failure)?;
    print(json, &shown, || show_text::text(&shown))
}

/// Asks an execution to stop. What has not started, or waits for its next attempt, ends at once.
///
/// # Errors
/// [`Failure`].
pub async fn cancel(context: &Context, id: &str) -> Result<Exit, Failure> {
    let existing = Existing::open(context).await?;
    let views = views_of(&existing).await?;
    let view = views.resolve(id).await.map_err(failure)?;
    let journal = journal(context, views.log());
    let root = view.parent_id.unwrap_or(view.id);
    let mut execution = Execution::load(journal, view.id, root).await?;
    if execution.state().is_final() {
        return Err(Failure::usage(format!("execution {} is over ({})", view.id, view.status)));
    }
    let events = execution.act(&[Command::RequestCancellation(CancelReason::User)]).await?;
    let is_abandoned = match execution.owner() {
        Some(worker) => existing.fates(context).of(views.log().as_ref(), worker).await?.is_some(),
        None => false,
    };
    let mut out = std::io::stdout().lock();
    match (events.is_empty(), execution.state().is_final()) {
        (true, _) => writeln!(out, "the cancellation of {} was requested before", view.id)?,
        (false, true) => writeln!(out, "{} is cancelled", view.id)?,
        (false, false) if is_abandoned => writeln!(
            out,
            "the cancellation of {} is requested, but its engine has ended without finishing it: it stays {} until it is \
             recovered: `testledger recover` does that at once",
            view.id, view.status
        )?,
        (false, false) => {
            writeln!(out, "the cancellation of {} is requested; its worker acts within a second", view.id)?
        }
    }
    Ok(Exit::Passed)
}

/// A journal for what a person does through a command.
pub fn journal(context: &Context, log: &SharedLog) -> SharedJournal {
    Arc::new(Journal {
        log: PatientLog::new(Arc::clone(log), context.settings.store_patience),
        clock: Arc::new(SystemClock),
        worker: None,
        ids: Arc::new(RandomIds),
        actor: context.actor(),
        bus: Default::default(),
        store_patience: context.settings.store_patience,
        own: Default::default(),
        latencies: Default::default(),
        lost: Default::default(),
    })
}

/// Runs an execution again, as a new one that is linked to it: a verdict is never taken back.
///
/// # Errors
/// [`Failure`].
pub async fn retry(context: Context, id: &str, json: bool) -> Result<Exit, Failure> {
    let views = views(&context).await?;
    let view = views.resolve(id).await.map_err(failure)?;
    if !view.is_final {
        return Err(Failure::usage(format!(
            "execution {} is {}: only what is over is run again",
            view.id, view.status
        )));
    }
    let missing = || match view.erasures {
        0 => Failure::new(Exit::LogIntegrity, "the plan of this execution is missing from the artifacts"),
        _ => Failure::usage(format!("the plan of execution {} was erased: it cannot be run again", view.id)),
    };
    let bytes = views.log().get_artifact(view.plan.ok_or_else(missing)?).await?.ok_or_else(missing)?;
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|_| missing())?;
    let plan = match (&view.case, view.kind) {
        (Some(case), ExecutionKind::Case) if plan.is_suite => {
            let cell = plan.cases.iter().find(|it| it.id == *case && it.matrix == view.matrix);
            let cases = vec![cell.map_or_else(|| case.clone(), Case::label)];
            select(plan, &Selection { cases, ..Selection::default() })
        }
        (Some(_) | None, ExecutionKind::Case | ExecutionKind::Suite) => plan,
    };
    crate::cli::plans::secrets_are_there(&context, &plan)?;
    let revision = git_revision(&context.directory).await;
    let options = RequestOptions { idempotency_key: None, revision, retry_of: Some(view.id) };
    views.log().close().await;
    run_all(&context, vec![plan], &options, &Output { json, ..Output::default() }).await
}
