//! `trace`: when each step of an execution ran, and how it ended.

use crate::cli::context::{Context, columns};
use crate::cli::executions::{failure, print, views_at, warn_of};
use crate::cli::exit::{Exit, Failure};
use crate::cli::lists::TraceArgs;
use crate::cli::open::Existing;
use crate::views::traces::TraceQuery;
use crate::views::{ViewError, trace_text};

/// Shows the trace of one execution.
///
/// # Errors
/// [`Failure`].
pub async fn show(context: &Context, args: &TraceArgs) -> Result<Exit, Failure> {
    let existing = Existing::open(context).await?;
    let execution = views_at(&existing, &args.least).await?.resolve(&args.id).await.map_err(failure)?;
    let traces = existing.traces().await?;
    warn_of(&traces.catch_up().await.map_err(|error| failure(error.into()))?);
    let query = TraceQuery { from: args.from, limit: args.limit, failed_only: args.failed };
    let found = traces.read(execution.id, &query).await.map_err(|error| failure(error.into()))?;
    let shown = found.ok_or_else(|| failure(ViewError::NoSuchExecution(args.id.clone())))?;
    print(args.json, &shown, || trace_text::text(&shown, columns()))
}
