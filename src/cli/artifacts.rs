//! `artifacts`: looking after what the events name.

use std::time::Duration;

use crate::audit::{CleanError, Cleaned, clean as take_away};
use crate::cli::context::Context;
use crate::cli::executions::print;
use crate::cli::exit::{Exit, Failure};
use crate::cli::open::Existing;

/// Removes artifacts that no event names.
///
/// # Errors
/// [`Failure`].
pub async fn clean(context: &Context, grace: Duration, dry_run: bool, json: bool) -> Result<Exit, Failure> {
    let existing = Existing::open(context).await?;
    let cleaned = take_away(existing.log.as_ref(), grace, dry_run).await.map_err(|error| match error {
        CleanError::Store(error) => Failure::from(error),
        CleanError::Unreadable { .. } => Failure::new(Exit::LogIntegrity, error),
    })?;
    existing.log.close().await;
    print(json, &cleaned, || text(&cleaned, dry_run))
}

fn text(cleaned: &Cleaned, dry_run: bool) -> String {
    let Cleaned { artifacts, bytes, young, unnamed, unnamed_bytes, removed, removed_bytes } = *cleaned;
    let all = format!("{artifacts} artifacts ({bytes} bytes), {young} of them too young to say");
    let found = format!("{unnamed} that no event names ({unnamed_bytes} bytes)");
    match (unnamed, dry_run) {
        (0, _) => format!("{all}: none that no event names"),
        (_, true) => format!("{all}: {found} would be removed"),
        (_, false) if removed == unnamed => format!("{all}: {found}, removed"),
        (_, false) => {
            format!("{all}: {found}; {removed} removed ({removed_bytes} bytes), the others were put again meanwhile")
        }
    }
}
