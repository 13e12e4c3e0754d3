//! Show: two processes append to one SQLite log while one is killed 20 times; nothing acknowledged is lost or doubled.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/support/torture.rs"]
mod torture;

use std::process::ExitCode;

/// So often one of the writers is killed.
const KILLS: usize = 20;
/// When within their lives they are killed.
const SEED: u64 = 20_261_123;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == torture::WRITER) {
        return torture::writer_main(&args[1..]);
    }
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().unwrap();
    let found = torture::torture(folder.path(), KILLS, SEED);
    let mut show = show::Show::new(Some(SEED));
    show.figure("torture_sqlite_kills", found.kills, KILLS, found.kills == KILLS);
    show.figure("torture_sqlite_acknowledged", found.acknowledged, ">=1000", found.acknowledged >= 1000);
    let by_killed = found.acknowledged_by_killed;
    show.figure("torture_sqlite_acknowledged_by_killed", by_killed, format!(">={KILLS}"), by_killed >= KILLS);
    show.figure("torture_sqlite_lost", found.lost, 0, found.lost == 0);
    show.figure("torture_sqlite_duplicated", found.duplicated, 0, found.duplicated == 0);
    let gaps = found.positions.abs_diff(found.events);
    show.figure("torture_sqlite_position_gaps", gaps, 0, gaps == 0);
    show.end()
}
