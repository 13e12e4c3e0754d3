//! The short form of the show `torture_sqlite`: one of two writers is killed three times.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;
#[path = "support/torture.rs"]
mod torture;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// So often one of the writers is killed.
const KILLS: usize = 3;
/// When within their lives they are killed.
const SEED: u64 = 20_261_123;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == torture::WRITER) {
        return torture::writer_main(&args[1..]);
    }
    let trial = Trial::test("two_processes_append_while_one_is_killed", || {
        one_is_killed();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn one_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let found = torture::torture(folder.path(), KILLS, SEED);
    println!(
        "{} acknowledged, {} of them by killed writers; seed {SEED}",
        found.acknowledged, found.acknowledged_by_killed
    );
    assert!(found.acknowledged_by_killed >= KILLS);
    assert_eq!((found.lost, found.duplicated), (0, 0));
    assert_eq!(found.positions, found.events, "positions are dense");
    assert!(found.stored >= found.acknowledged);
}
