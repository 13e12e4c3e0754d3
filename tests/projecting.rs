//! The short form of the show `projecting_killed`: projection workers are killed some times on each store.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/history.rs"]
mod history;
#[path = "support/projecting.rs"]
mod projecting;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// So often a worker is killed on each store.
const KILLS: usize = 8;
/// While so many events flow, at least.
const EVENTS: u64 = 800;
/// When the blows fall.
const SEED: u64 = 20_261_127;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == projecting::WORKER) {
        return projecting::worker_main(&args[1..]);
    }
    let on_sqlite = Trial::test("sqlite::killed_workers_leave_views_that_equal_a_replay", || {
        let folder = tempfile::tempdir().unwrap();
        wait_for(are_killed(&format!("sqlite:{}", folder.path().join("ledger.db").display())));
        Ok(())
    });
    let on_mongodb = Trial::test("mongodb::killed_workers_leave_views_that_equal_a_replay", || {
        wait_for(async { are_killed(test_servers::fresh_database().await.unwrap().uri()).await });
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![on_sqlite, on_mongodb]).exit_code()
}

fn wait_for(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

async fn are_killed(address: &str) {
    let found = projecting::killed(address, KILLS, EVENTS, SEED).await;
    println!("{found:?}; seed {SEED}");
    assert_eq!(found.kills, KILLS);
    assert!(found.in_flight > 0, "none was killed while it saved");
    assert_eq!(found.differences, 0, "{}", found.first.unwrap_or_default());
}
