//! Show: the built program is killed 500 times at random moments with an execution in flight, and before and after each of its
//! appends, on SQLite and on MongoDB. What happened in the world is what the log says, and everything comes to its end.
//! `KILLS=N` for another number.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/kills/mod.rs"]
mod kills;
#[path = "../tests/support/show.rs"]
mod show;

use std::path::Path;
use std::process::ExitCode;

use kills::Found;

/// When the blows fall.
const SEED: u64 = 20_261_127;
/// So often the suite of 200 cases is killed on its way.
const LONG_KILLS: usize = 10;
/// The least number of appends that the plan makes.
const APPENDS: usize = 30;

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let kills: usize = std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let mut show = show::Show::new(Some(SEED));
    let program = Path::new(env!("CARGO_BIN_EXE_testledger"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fresh = runtime.block_on(test_servers::fresh_database()).unwrap();
    let other = runtime.block_on(test_servers::fresh_database()).unwrap();
    for (name, store, for_appends) in [("sqlite", None, None), ("mongodb", Some(fresh.uri()), Some(other.uri()))] {
        let folder = tempfile::tempdir().unwrap();
        let found = kills::at_random(program, folder.path(), store, kills / 2, SEED);
        let in_flight = found.in_flight;
        show.figure(
            &format!("recovery_killed_{name}_in_flight"),
            in_flight,
            format!(">={}", kills / 2),
            in_flight >= kills / 2,
        );
        show.figure(&format!("recovery_killed_{name}_kills"), found.kills, "reported", true);
        figures(&mut show, &format!("recovery_killed_{name}"), &found);
        let folder = tempfile::tempdir().unwrap();
        let (appends, found) = kills::at_each_append(program, folder.path(), for_appends, APPENDS);
        show.figure(&format!("recovery_appends_{name}"), appends, format!(">={APPENDS}"), appends >= APPENDS);
        let killed = format!("recovery_at_appends_{name}_kills");
        show.figure(&killed, found.kills, format!(">={}", 2 * appends), found.kills >= 2 * appends);
        figures(&mut show, &format!("recovery_at_appends_{name}"), &found);
    }
    let third = runtime.block_on(test_servers::fresh_database()).unwrap();
    for (name, store) in [("sqlite", None), ("mongodb", Some(third.uri()))] {
        let folder = tempfile::tempdir().unwrap();
        let (calm, killed, interruptions) = kills::long::long_suite(program, folder.path(), store, LONG_KILLS, SEED);
        let differences = usize::from(calm.verdicts != killed.verdicts)
            + calm.steps.iter().filter(|(step, outcome)| killed.steps.get(*step) != Some(*outcome)).count()
            + killed.steps.keys().filter(|step| !calm.steps.contains_key(*step)).count();
        show.figure(&format!("recovery_suite_{name}_kills"), LONG_KILLS, LONG_KILLS, true);
        show.figure(&format!("recovery_suite_{name}_steps"), killed.steps.len(), 2 * kills::long::LONG_CASES, true);
        show.figure(&format!("recovery_suite_{name}_differences"), differences, 0, differences == 0);
        show.figure(&format!("recovery_suite_{name}_interruptions"), interruptions, "reported", true);
    }
    show.end()
}

fn figures(show: &mut show::Show, name: &str, found: &Found) {
    let all = [
        ("lost", found.lost),
        ("doubled", found.doubled),
        ("stuck", found.stuck),
        ("orphans", found.orphans),
        ("wrong_verdicts", found.wrong_verdicts),
        ("findings", found.findings),
    ];
    for (what, count) in all {
        show.figure(&format!("{name}_{what}"), count, 0, count == 0);
    }
    if let Some(first) = &found.first {
        eprintln!("{first}");
    }
}
