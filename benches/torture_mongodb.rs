//! Show: four writers and two sequencers on three MongoDB nodes for five minutes, while primaries, writers and sequencers
//! are killed; nothing acknowledged is lost, doubled or changed, and a subscriber sees each position once and in order.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/mongo.rs"]
mod mongo;
#[path = "../tests/support/mongo_torture.rs"]
mod mongo_torture;
#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use mongo_torture::{SEQUENCER, Torture, WRITER};

/// What is killed when.
const TORTURE: Torture = Torture {
    seed: 20_261_125,
    lasts: Duration::from_secs(300),
    primary_kills: 9,
    writer_kills: 10,
    sequencer_kills: 10,
    stalls: 2,
};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(WRITER) => return mongo_torture::writer_main(&args[1..]),
        Some(SEQUENCER) => return mongo_torture::sequencer_main(&args[1..]),
        Some(_) | None if !show::is_asked() => return ExitCode::SUCCESS,
        Some(_) | None => {}
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = runtime.block_on(mongo_torture::torture(folder.path(), TORTURE));
    let mut show = show::Show::new(Some(TORTURE.seed));
    let mut none = |name: &str, value: usize| show.figure(&format!("torture_mongodb_{name}"), value, 0, value == 0);
    none("lost", found.lost);
    none("changed", found.changed);
    none("doubled", found.doubled);
    none("flagged", found.flagged);
    none("broken_pages", found.broken_pages);
    none("position_gaps", usize::try_from(found.positions.abs_diff(found.events)).unwrap());
    none("seen_wrong", usize::try_from(found.seen_wrong).unwrap());
    let mut least = |name: &str, value: usize, least: usize| {
        show.figure(&format!("torture_mongodb_{name}"), value, format!(">={least}"), value >= least);
    };
    least("seconds", usize::try_from(found.took.as_secs()).unwrap(), 300);
    least("acknowledged", found.acknowledged, 1_000 * found.primary_kills);
    least("between_primary_kills", found.between_kills, 1_000);
    least("primary_kills", found.primary_kills, 8);
    least("writer_kills", found.writer_kills, 10);
    least("sequencer_kills", found.sequencer_kills, 10);
    least("unknown_outcomes", found.unknown_outcomes, 1);
    let share = found.least_share;
    show.figure("torture_mongodb_least_share_percent", format!("{share:.1}"), ">=15", share >= 15.0);
    let gap = found.longest_gap.as_millis();
    show.figure("torture_mongodb_longest_gap_ms", gap, "reported", true);
    show.end()
}
