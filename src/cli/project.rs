//! `project`: folds the log into views as it grows.

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::args::ProjectArgs;
use crate::cli::context::{Context, host};
use crate::cli::executions::{failure, warn_of};
use crate::cli::exit::{Exit, Failure};
use crate::cli::open::Existing;
use crate::views::projections::{Name, Worked};

/// The name of this process among the workers.
pub fn holder() -> String {
    format!("{}:{}:{}", host(), std::process::id(), uuid::Uuid::new_v4().simple())
}

/// Works until a signal comes; with `--once`, until the end of the log as it is now.
///
/// # Errors
/// [`Failure`].
pub async fn project(context: &Context, args: &ProjectArgs) -> Result<Exit, Failure> {
    let existing = Existing::open(context).await?;
    let projections = existing.projections().await?;
    let names = if args.only.is_empty() { Name::ALL.to_vec() } else { args.only.clone() };
    if args.once {
        for (name, progress) in projections.catch_up(&names).await.map_err(|error| failure(error.into()))? {
            warn_of(&progress);
            writeln!(
                std::io::stdout(),
                "{}: at position {}, {} folded",
                name.as_str(),
                progress.position,
                progress.folded
            )?;
        }
        existing.log.close().await;
        return Ok(Exit::Passed);
    }
    let stop = CancellationToken::new();
    end_on_signal(stop.clone())?;
    let holder = holder();
    writeln!(
        std::io::stderr(),
        "{holder} folds {}; Ctrl-C ends it",
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
    )?;
    for worked in projections.work(&names, &holder, &context.settings.routing, &stop).await {
        writeln!(std::io::stdout(), "{}", in_words(&worked))?;
    }
    existing.log.close().await;
    Ok(Exit::Passed)
}

fn end_on_signal(stop: CancellationToken) -> Result<(), Failure> {
    let catch = |kind| signal(kind).map_err(|error| Failure::new(Exit::Internal, error));
    let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

fn in_words(worked: &Worked) -> String {
    let ways: Vec<String> = worked
        .commits
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(route, count)| format!("{count} {}", route.as_str()))
        .collect();
    let ways = if ways.is_empty() { "none".to_owned() } else { ways.join(", ") };
    format!(
        "{}: {} events folded; commits: {ways}; {} failures waited out",
        worked.name.as_str(),
        worked.folded,
        worked.failures
    )
}
