//! Show: what the log on MongoDB survives without losing or doubling an event: histories that are lost, backfills that
//! are killed, commits that are dropped, members that stop, stall or die, clocks that are off.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/mongo.rs"]
mod mongo;
#[path = "../tests/support/mongo_history/mod.rs"]
mod mongo_history;
#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use mongo_history::dropped::{self, Loss};
use mongo_history::failover::{self, Blow};
use mongo_history::garbage::{self, When};
use mongo_history::killed::{self, SEQUENCER};
use mongo_history::overrun::{self, APPENDER};
use mongo_history::unknown::{self, End};
use mongo_history::{Found, clocks};
use show::Show;

/// When the blows fall.
const SEED: u64 = 20_261_126;
/// How long members stop.
const LONG: Duration = Duration::from_secs(15);
/// What happens to three nodes.
const BLOWS: [Blow; 10] = [
    Blow::StepDown,
    Blow::Kill,
    Blow::FreezePrimary(LONG),
    Blow::FreezeSecondaries(LONG),
    Blow::StepDown,
    Blow::StepDown,
    Blow::Kill,
    Blow::FreezePrimary(LONG),
    Blow::StepDown,
    Blow::Kill,
];
/// So many pages are filled up by processes that are killed.
const KILLED_PAGES: usize = 40;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(SEQUENCER) => return killed::sequencer_main(&args[1..]),
        Some(APPENDER) => return overrun::appender_main(&args[1..]),
        Some(_) | None if !show::is_asked() => return ExitCode::SUCCESS,
        Some(_) | None => {}
    }
    let mut show = Show::new(Some(SEED));
    tokio::runtime::Runtime::new().unwrap().block_on(all(&mut show));
    show.end()
}

async fn all(show: &mut Show) {
    figures(show, "lost_unsequenced", &overrun::while_nobody_sequenced(20_000).await, 1);
    figures(show, "lost_after_kill", &overrun::after_a_writer_was_killed(1_000, 5).await, 5);
    let open = overrun::while_a_handle_was_open(5).await;
    figures(show, "idle_open", &open, 5);
    let pages = open.whole.backfill_pages + open.whole.closing_pages;
    show.figure("history_mongodb_idle_open_backfill_pages", pages, 0, pages == 0);
    figures(show, "idle_closed", &overrun::while_nobody_was_there(3).await, 3);
    let killed = killed::at_every_page(KILLED_PAGES).await;
    figures(show, "backfill_killed", &killed, KILLED_PAGES);
    figures(show, "dropped", &dropped::and_restored(Loss::Dropped, 3).await, 3);
    figures(show, "renamed", &dropped::and_restored(Loss::Renamed, 3).await, 3);
    figures(show, "blows", &failover::under_appends(&BLOWS, SEED).await, BLOWS.len());
    figures(show, "unknown_confirmed", &unknown::and_then(End::Confirmed, 2).await, 2);
    figures(show, "unknown_rolled_back", &unknown::and_then(End::RolledBack, 2).await, 2);
    figures(show, "clocks", &clocks::an_hour_off(1_000).await, 1_000);
    for (name, when) in [("garbage", When::AtOnce), ("garbage_backfill", When::Later)] {
        // The scenario itself compares what an audit names with what was put there.
        let found = garbage::among_commits(when).await;
        wrongs(show, name, [("lost", found.lost), ("doubled", found.whole.doubled)]);
        let flagged = found.whole.flagged;
        show.figure(&format!("history_mongodb_{name}_flagged"), flagged, 2, flagged == 2);
    }
}

fn figures(show: &mut Show, scenario: &str, found: &Found, least_times: usize) {
    wrongs(show, scenario, found.wrongs());
    let (times, acknowledged) = (found.times, found.acknowledged);
    show.figure(&format!("history_mongodb_{scenario}_times"), times, format!(">={least_times}"), times >= least_times);
    show.figure(&format!("history_mongodb_{scenario}_acknowledged"), acknowledged, "reported", true);
}

fn wrongs<const N: usize>(show: &mut Show, scenario: &str, wrongs: [(&'static str, usize); N]) {
    for (name, value) in wrongs {
        show.figure(&format!("history_mongodb_{scenario}_{name}"), value, 0, value == 0);
    }
}
