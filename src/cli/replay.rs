//! `replay`: the executions as they were at an earlier place of the log.

use std::io::Write;

use crate::cli::args::ReplayArgs;
use crate::cli::context::Context;
use crate::cli::executions::{failure, print, warn_of};
use crate::cli::exit::{Exit, Failure};
use crate::cli::lists::filter;
use crate::cli::open::Existing;
use crate::ports::clock::{Clock, SystemClock};
use crate::views::replay::replay as fold;
use crate::views::{list as listing, show as showing, show_text};

/// Prints what `executions list` or `executions show` would have printed then.
///
/// # Errors
/// [`Failure`].
pub async fn replay(context: &Context, args: &ReplayArgs) -> Result<Exit, Failure> {
    let filter = filter(&args.list, SystemClock.now())?;
    let then = fold(&Existing::open(context).await?.log, args.at).await.map_err(failure)?;
    warn_of(&then.progress);
    let _ = writeln!(std::io::stderr(), "as of position {}", then.position);
    let json = args.list.json;
    if let Some(id) = &args.execution {
        let execution = then.views.resolve(id).await.map_err(failure)?;
        let shown = showing::show_as_of(&then.views, execution).await.map_err(failure)?;
        return print(json, &shown, || show_text::text(&shown));
    }
    let page = then.views.list(&filter).await.map_err(|error| failure(error.into()))?;
    print(json, &page, || listing::table(&page, None))
}
