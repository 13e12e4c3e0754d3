//! `events`: the log in order, as people or programs read it.

use std::collections::BTreeSet;
use std::io::Write;

use testledger_schemas::event::ExecutionKind;
use testledger_schemas::ids::StreamId;

use crate::cli::args::EventsArgs;
use crate::cli::context::Context;
use crate::cli::executions;
use crate::cli::exit::{Exit, Failure};
use crate::cli::open::Existing;
use crate::views::Views;
use crate::views::events::{Events, EventsQuery};

/// How many cases of a suite are followed at the most: as many as a plan may have.
const MAX_CHILDREN: usize = crate::plan::limits::MAX_CASES;

/// Prints events, one line each.
///
/// # Errors
/// [`Failure`].
pub async fn print(context: &Context, args: &EventsArgs) -> Result<Exit, Failure> {
    let (log, streams) = match &args.execution {
        Some(id) => {
            let views = executions::views(context).await?;
            (views.log().clone(), streams_of(&views, id).await?)
        }
        // The log alone has them: no view is brought up to date, so nothing is written.
        None => (Existing::open(context).await?.log, BTreeSet::new()),
    };
    let query = EventsQuery { streams, after: args.after, follow: args.follow };
    let mut events = Events::new(log, query);
    let mut out = std::io::BufWriter::new(std::io::stdout());
    while let Some(line) = events.next().await? {
        let text = if args.json {
            serde_json::to_string(&line).map_err(|error| Failure::new(Exit::Internal, error))?
        } else {
            line.to_text()
        };
        writeln!(out, "{text}")?;
        if args.follow {
            out.flush()?;
        }
    }
    out.flush()?;
    Ok(Exit::Passed)
}

/// The streams of an execution; of a suite, those of its cases, too.
async fn streams_of(views: &Views, id: &str) -> Result<BTreeSet<StreamId>, Failure> {
    let execution = views.resolve(id).await.map_err(executions::failure)?;
    let mut streams = BTreeSet::from([StreamId::from(execution.id)]);
    if execution.kind == ExecutionKind::Suite {
        let children =
            views.children(execution.id, MAX_CHILDREN).await.map_err(|error| executions::failure(error.into()))?;
        streams.extend(children.iter().map(|child| StreamId::from(child.id)));
    }
    Ok(streams)
}
