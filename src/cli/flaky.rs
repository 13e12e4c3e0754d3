//! `flaky`: which steps cannot be relied on, and one of them in full.

use testledger_projections::flaky_steps::{Day, Days};

use crate::cli::args::{FlakyArgs, FlakyCommand};
use crate::cli::context::{Context, columns};
use crate::cli::executions::{failure, print, warn_of};
use crate::cli::exit::{Exit, Failure};
use crate::cli::open::Existing;
use crate::ports::clock::{Clock, SystemClock};
use crate::views::flaky::{FlakyQuery, list, resolve, show};
use crate::views::steps::StepViews;
use crate::views::{ViewError, flaky_text};

/// Lists steps, or shows one.
///
/// # Errors
/// [`Failure`].
pub async fn flaky(context: &Context, args: &FlakyArgs) -> Result<Exit, Failure> {
    let views = Existing::open(context).await?.steps().await?;
    warn_of(&views.catch_up().await.map_err(|error| failure(error.into()))?);
    let today = Day::of(SystemClock.now());
    match &args.command {
        Some(FlakyCommand::Show { step, window, json }) => one(&views, step, Days::up_to(today, *window), *json).await,
        None => {
            let days = Days::up_to(today, args.window);
            let query = FlakyQuery { days, all: args.all, rule: args.rule, limit: args.limit as usize };
            let found = list(&views, &query).await.map_err(failure)?;
            let width = u16::try_from(columns()).unwrap_or(u16::MAX);
            print(args.json, &found, || flaky_text::list(&found, width))
        }
    }
}

async fn one(views: &StepViews, step: &str, days: Days, json: bool) -> Result<Exit, Failure> {
    let key = resolve(views, step).await.map_err(failure)?;
    let found = show(views, key, days).await.map_err(failure)?;
    let shown = found.ok_or_else(|| failure(ViewError::NoSuchStep(step.to_owned())))?;
    print(json, &shown, || flaky_text::show(&shown, columns()))
}
