//! The short forms of the shows `recovery_killed` and `recovery_nodes`: a few engines are killed at random moments, and at some
//! of their appends; others run while their store loses its primary.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/kills/mod.rs"]
mod kills;

use std::path::Path;
use std::time::Duration;

use kills::{Arena, Blow, Found};
use test_servers::ReplicaSet;
use tokio_util::sync::CancellationToken;

/// So many engines are killed on each store.
const KILLS: usize = 8;
/// When the blows fall.
const SEED: u64 = 20_261_127;
/// What engines do in peace between two blows to their store.
const BETWEEN_BLOWS: Duration = Duration::from_secs(2);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_tell_the_truth_while_primaries_are_killed_and_step_down() {
    let mut set = ReplicaSet::start(3).await.unwrap();
    let stop = CancellationToken::new();
    let engines = tokio::task::spawn_blocking({
        let (store, stop) = (set.uri("engines"), stop.clone());
        move || kills::until(program(), &store, &stop)
    });
    tokio::time::sleep(BETWEEN_BLOWS).await;
    let killed = set.kill_primary().await.unwrap();
    set.primary().await.unwrap();
    tokio::time::sleep(BETWEEN_BLOWS).await;
    set.restart(killed).await.unwrap();
    set.settle().await.unwrap();
    set.step_down().await.unwrap();
    set.settle().await.unwrap();
    tokio::time::sleep(BETWEEN_BLOWS).await;
    stop.cancel();
    let (runs, left, found) = engines.await.unwrap();
    println!("{runs} suites ran, {left} were left to recovery: {found:?}");
    assert!(found.is_clean(), "{found:?}");
    assert!(runs > 1, "{runs}");
}
