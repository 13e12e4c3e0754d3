//! `projections`: how far the views are; rebuild, pause, resume.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use testledger_projections::ports::Hold;
use testledger_projections::worker::rebuild::Rebuilt;

use crate::cli::context::Context;
use crate::cli::executions::{failure, print};
use crate::cli::exit::{Exit, Failure};
use crate::cli::open::Existing;
use crate::cli::project::holder;
use crate::ports::clock::{Clock, SystemClock};
use crate::views::projections::Name;
use crate::views::projections_text;

/// What the bar of a rebuild looks like.
const TEMPLATE: &str = "{spinner} {bar:30} {pos}/{len} events  {per_sec}  {elapsed} (still {eta})";
/// Where there is no terminal, a line so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how all projections are.
///
/// # Errors
/// [`Failure`].
pub async fn status(context: &Context, json: bool) -> Result<Exit, Failure> {
    let projections = Existing::open(context).await?.projections().await?;
    let now = SystemClock.now();
    let status = projections.status(now).await.map_err(failure)?;
    print(json, &status, || projections_text::table(&status))
}

/// Rebuilds a projection.
///
/// # Errors
/// [`Failure`].
pub async fn rebuild(context: &Context, name: Name, afresh: bool) -> Result<Exit, Failure> {
    let projections = Existing::open(context).await?.projections().await?;
    let shown = Shown::new();
    let rebuilt = projections.rebuild(name, &holder(), afresh, &|position, head| shown.at(position, head)).await;
    shown.end();
    let name = name.as_str();
    match rebuilt.map_err(|error| failure(error.into()))? {
        Rebuilt::Done { position, folded } => {
            writeln!(std::io::stdout(), "{name}: rebuilt up to position {position}; {folded} events folded now")?;
            Ok(Exit::Passed)
        }
        Rebuilt::Elsewhere => Err(Failure::new(
            Exit::StoreUnavailable,
            format!("somebody else rebuilds {name} now, or was killed less than a minute ago"),
        )),
        Rebuilt::Poisoned(poison) => {
            let why = format!(
                "{name}: position {} cannot be read: {}; the views stay as they are",
                poison.position, poison.reason
            );
            Err(Failure::new(Exit::LogIntegrity, why))
        }
        Rebuilt::Behind => {
            let why = format!("{name}: the log grows faster than it is folded; run it again when less is going on");
            Err(Failure::new(Exit::StoreUnavailable, why))
        }
    }
}

/// The progress of a rebuild, on standard error.
struct Shown {
    bar: Option<ProgressBar>,
    told: Mutex<Instant>,
}

impl Shown {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style)
        });
        Self { bar, told: Mutex::new(Instant::now()) }
    }

    fn at(&self, position: u64, head: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(head);
            bar.set_position(position);
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.elapsed() >= LINE_EVERY {
            *told = Instant::now();
            let _ = writeln!(std::io::stderr(), "{position} of {head} events");
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Pauses a projection.
///
/// # Errors
/// [`Failure`].
pub async fn pause(context: &Context, name: Name) -> Result<Exit, Failure> {
    let projections = Existing::open(context).await?.projections().await?;
    let hold = Hold { by: context.actor(), at: SystemClock.now() };
    projections.pause(name, hold).await.map_err(|error| failure(error.into()))?;
    writeln!(std::io::stdout(), "{} is paused; `testledger projections resume {0}` goes on", name.as_str())?;
    Ok(Exit::Passed)
}

/// Resumes a projection.
///
/// # Errors
/// [`Failure`].
pub async fn resume(context: &Context, name: Name) -> Result<Exit, Failure> {
    let projections = Existing::open(context).await?.projections().await?;
    projections.resume(name).await.map_err(|error| failure(error.into()))?;
    writeln!(std::io::stdout(), "{} is folded again", name.as_str())?;
    Ok(Exit::Passed)
}
