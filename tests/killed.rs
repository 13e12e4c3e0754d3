//! The short form of the show `recovery_killed`: a few engines are killed at random moments, and at some of their appends.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/kills.rs"]
mod kills;

use std::path::Path;

use kills::{Arena, Blow, Found};

/// So many engines are killed on each store.
const KILLS: usize = 8;
/// When the blows fall.
const SEED: u64 = 20_261_127;
/// Every so many appends an engine dies before and after one.
const STRIDE: usize = 9;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_testledger"))
}

fn at_random(store: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let found = kills::at_random(program(), folder.path(), store, KILLS, SEED);
    println!("seed {SEED}: {found:?}");
    assert!(found.is_clean(), "{found:?}");
    assert!(found.in_flight > 0);
}

fn at_some_appends(store: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let mut arena = Arena::new(program(), folder.path(), store);
    let mut found = Found::default();
    for append in (2..).step_by(STRIDE) {
        let mut is_killed = false;
        for point in ["BeforeAppend", "AfterAppend"] {
            let blow = Blow::AtPoint(format!("{point}:{append}"));
            is_killed |= arena.kill_one(&["run", "plan.yaml", "--jobs", "1"], &blow, &mut found);
            arena.recover_and_check(&mut found);
        }
        assert!(found.is_clean(), "append {append}: {found:?}");
        if !is_killed {
            break;
        }
    }
    arena.check_whole(&mut found);
    assert!(found.is_clean() && found.kills >= 6, "{found:?}");
}

#[test]
fn engines_are_killed_at_random_moments_on_sqlite() {
    at_random(None);
}

#[tokio::test]
async fn engines_are_killed_at_random_moments_on_mongodb() {
    let fresh = test_servers::fresh_database().await.unwrap();
    at_random(Some(fresh.uri()));
}

#[test]
fn engines_die_at_their_appends_on_sqlite() {
    at_some_appends(None);
}

#[tokio::test]
async fn engines_die_at_their_appends_on_mongodb() {
    let fresh = test_servers::fresh_database().await.unwrap();
    at_some_appends(Some(fresh.uri()));
}
