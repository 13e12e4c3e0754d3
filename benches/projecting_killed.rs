//! Show: the projection workers are killed 200 times while 20,000 events flow, on SQLite and on MongoDB; the views equal a
//! fresh replay, document by document.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/history.rs"]
mod history;
#[path = "../tests/support/projecting.rs"]
mod projecting;
#[path = "../tests/support/show.rs"]
mod show;

use std::process::ExitCode;

use projecting::Found;

/// So often a worker is killed.
const KILLS: usize = 200;
/// While so many events flow, at least.
const EVENTS: u64 = 20_000;
/// When the blows fall.
const SEED: u64 = 20_261_127;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == projecting::WORKER) {
        return projecting::worker_main(&args[1..]);
    }
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let mut show = show::Show::new(Some(SEED));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", folder.path().join("ledger.db").display());
        figures(&mut show, "sqlite", &projecting::killed(&file, KILLS, EVENTS, SEED).await);
        let fresh = test_servers::fresh_database().await.unwrap();
        figures(&mut show, "mongodb", &projecting::killed(fresh.uri(), KILLS, EVENTS, SEED).await);
    });
    show.end()
}

fn figures(show: &mut show::Show, store: &str, found: &Found) {
    let name = |what: &str| format!("projecting_killed_{store}_{what}");
    show.figure(&name("kills"), found.kills, KILLS, found.kills == KILLS);
    let half = KILLS / 2;
    show.figure(&name("in_flight"), found.in_flight, format!(">={half}"), found.in_flight >= half);
    show.figure(&name("events"), found.events, format!(">={EVENTS}"), found.events >= EVENTS);
    show.figure(&name("views"), found.views, "reported", true);
    show.figure(&name("differences"), found.differences, 0, found.differences == 0);
    if let Some(first) = &found.first {
        eprintln!("{first}");
    }
}
