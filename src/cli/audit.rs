//! `audit`: verify, export, erase.

use std::io::Write;
use std::path::Path;

use testledger_schemas::EventId;
use testledger_schemas::commit::CommitId;
use testledger_schemas::page::Anchor;

use crate::audit::{ErasureDone, ErasureError, ErasureRequest, ExportError, PageRange, VerifyOptions};
use crate::cli::context::Context;
use crate::cli::executions;
use crate::cli::exit::{Exit, Failure};
use crate::cli::open::Existing;
use crate::cli::result::VerifyResult;
use crate::event_store::SharedLog;
use crate::ports::clock::SystemClock;
use crate::ports::ids::RandomIds;

/// How many commits of a stream are read at once.
const COMMITS_AT_ONCE: usize = 1_000;

/// Verifies the log.
///
/// # Errors
/// [`Failure`] if it cannot be read; what is wrong with it is printed, and the exit code says so.
pub async fn verify(context: &Context, expect: Option<Anchor>, views: bool, json: bool) -> Result<Exit, Failure> {
    let existing = Existing::open(context).await?;
    let options = VerifyOptions { expect, sequencing: existing.sequencing() };
    let log = crate::audit::verify(existing.log.as_ref(), &options, &|_| {}).await?;
    let views = match views {
        true => existing.projections().await?.compare().await.map_err(executions::failure)?,
        false => vec![],
    };
    let report = VerifyResult { log, views };
    let text = if json {
        serde_json::to_string(&report).map_err(|error| Failure::new(Exit::Internal, error))?
    } else {
        report.to_text()
    };
    writeln!(std::io::stdout(), "{}", text.trim_end())?;
    Ok(if report.is_clean() { Exit::Passed } else { Exit::LogIntegrity })
}

/// Writes the log as JSON lines.
///
/// # Errors
/// [`Failure`].
pub async fn export(context: &Context, output: Option<&Path>) -> Result<Exit, Failure> {
    let log = Existing::open(context).await?.log;
    let failed = |error: ExportError| match error {
        ExportError::Store(error) => error.into(),
        ExportError::Io(error) => error.into(),
        other => Failure::new(Exit::OutputNotWritten, other),
    };
    match output {
        Some(path) => {
            let file = std::fs::File::create(path)
                .map_err(|error| Failure::new(Exit::OutputNotWritten, format!("{}: {error}", path.display())))?;
            let mut writer = std::io::BufWriter::new(file);
            crate::audit::export(log.as_ref(), &mut writer, PageRange::default()).await.map_err(failed)?;
            writer.flush()?;
        }
        None => {
            let mut writer = std::io::BufWriter::new(std::io::stdout());
            crate::audit::export(log.as_ref(), &mut writer, PageRange::default()).await.map_err(failed)?;
            writer.flush()?;
        }
    }
    Ok(Exit::Passed)
}

/// Erases the content of an execution's events, or of some of them.
///
/// # Errors
/// [`Failure`].
pub async fn erase(context: &Context, execution: &str, only: &[EventId], grounds: String) -> Result<Exit, Failure> {
    let existing = Existing::open(context).await?;
    let views = executions::views_of(&existing).await?;
    let view = views.resolve(execution).await.map_err(executions::failure)?;
    let events = erasable(views.log(), view.id.into(), only).await?;
    if events.is_empty() {
        return Err(Failure::usage("no such event of this execution has content"));
    }
    let request = ErasureRequest { events, grounds, actor: context.actor() };
    let erased = crate::audit::erase(views.log().as_ref(), &request, &RandomIds, &SystemClock).await;
    let done = erased.map_err(|error| match error {
        ErasureError::Store(error) => error.into(),
        ErasureError::NoSuchEvent { .. } | ErasureError::NoContent { .. } => Failure::usage(error),
        ErasureError::Seal(_) | ErasureError::Append(_) => Failure::new(Exit::StoreUnavailable, error),
    })?;
    views.catch_up(None).await.map_err(|error| executions::failure(error.into()))?;
    existing.traces().await?.follow_erasure().await.map_err(|error| executions::failure(error.into()))?;
    existing.projections().await?.follow_erasure().await.map_err(|error| executions::failure(error.into()))?;
    // Once more: this empties the write-ahead file, in which the views have just been overwritten.
    views.log().erase_artifacts(&done.artifacts).await?;
    writeln!(std::io::stdout(), "{}", in_words(&done))?;
    Ok(Exit::Passed)
}

fn in_words(done: &ErasureDone) -> String {
    let mut text = match done.events - done.already_named.min(done.events) {
        0 => "the content of these events was erased before".to_owned(),
        new => format!(
            "the content of {} is erased, with {}; hashes stay",
            counted(new, "event"),
            counted(done.artifacts.len() as u64, "artifact")
        ),
    };
    if !done.kept_artifacts.is_empty() {
        let kept = counted(done.kept_artifacts.len() as u64, "artifact");
        text.push_str(&format!("\nkept, as events that are not erased name it too: {kept}"));
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The events of a stream that have content: all, or those asked for.
async fn erasable(
    log: &SharedLog,
    stream: testledger_schemas::StreamId,
    only: &[EventId],
) -> Result<Vec<(CommitId, EventId)>, Failure> {
    let mut found = vec![];
    let mut after = 0;
    loop {
        let commits = log.read_stream(stream, after, COMMITS_AT_ONCE).await?;
        let Some(last) = commits.last() else { return Ok(found) };
        after = last.id.number;
        for commit in &commits {
            let wanted = commit.events.iter().filter(|event| event.content_hash.is_some());
            let wanted = wanted.filter(|event| event.type_name != "DataErased");
            let wanted = wanted.filter(|event| only.is_empty() || only.contains(&event.event_id));
            found.extend(wanted.map(|event| (commit.id, event.event_id)));
        }
    }
}
