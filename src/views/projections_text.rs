//! The state of projections as a table for people.

use comfy_table::{ContentArrangement, Table, presets};

use crate::views::phrase::time;
use crate::views::projections::{ProjectionStatus, ProjectionsStatus};

/// One line for each projection.
#[must_use]
pub fn table(status: &ProjectionsStatus) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["PROJECTION", "POSITION", "BEHIND", "STATE"]);
    for one in &status.projections {
        table.add_row([one.name.to_owned(), format!("{} of {}", one.position, one.head), behind(one), state(one)]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt() + "\n"
}

fn behind(one: &ProjectionStatus) -> String {
    match one.behind_events {
        0 => "nothing".to_owned(),
        1 => format!("1 event, {}", time(one.behind_ms)),
        many => format!("{many} events, {}", time(one.behind_ms)),
    }
}

fn state(one: &ProjectionStatus) -> String {
    let mut parts = vec![];
    if let (Some(by), Some(at)) = (&one.paused_by, one.paused_at) {
        parts.push(format!("PAUSED by {by} since {at}"));
    }
    if let (Some(position), Some(reason)) = (one.poison_position, &one.poison_reason) {
        parts.push(format!("WAITS before position {position}: {reason}"));
    }
    match &one.worker {
        Some(worker) => parts.push(format!("followed by {worker}")),
        None if one.paused_by.is_none() => parts.push("brought up to date by whoever asks".to_owned()),
        None => {}
    }
    if let Some(position) = one.rebuilt_to {
        let by =
            one.rebuilt_by.as_ref().map_or_else(|| "broken off; rebuild goes on".to_owned(), |by| format!("by {by}"));
        parts.push(format!("rebuilt to {position} ({by})"));
    }
    parts.join(" · ")
}
