//! The server goes away while tests run: for a moment, which is waited for, and for longer than the patience.

use test_servers::ReplicaSet;

use super::store::{Store, wait_for};
use crate::support::Place;

/// Two cases: one whose second step must not begin while the log cannot know of it, and one with a tree of processes.
const PLAN: &str = r#"
suite: s
cases:
  - { id: a, steps: [{ id: x, run: "touch up; until [ -f go ]; do sleep 0.01; done" }, { id: y, run: "touch second" }] }
  - { id: b, steps: [{ id: x, run: "setsid sleep 600 & until [ -f go ]; do sleep 0.01; done; [ ! -f stay ] || sleep 600" }] }
"#;

/// A place with a server of its own, which may be broken.
fn broken_place(patience: &str) -> (ReplicaSet, Place) {
    let set = wait_for(ReplicaSet::start(1)).unwrap();
    let place = Place::with(|_| Store::at(&set.uri("tests"), "tests")).env("TESTLEDGER_STORE_PATIENCE", patience);
    place.file("plan.yaml", PLAN);
    (set, place)
}

#[test]
fn a_store_that_stays_away_ends_the_run_and_its_processes() {
    let (mut set, place) = broken_place("300ms");
    place.file("stay", "");
    let run = place.start(&["run", "plan.yaml", "--jobs", "2"]);
    place.await_file("up");
    set.kill(0).unwrap();
    place.file("go", "");
    let ended = run.wait().expect(111);
    let said = ended.err();
    assert!(said.contains("the store is unavailable: mongodb://127.0.0.1"), "{}", ended.all());
    assert!(!said.contains("labels") && !said.contains("None"), "the driver's own words: {}", ended.all());
    assert!(!place.path().join("second").exists(), "a step was begun that the log does not know");
    place.no_process_is_left();
    wait_for(set.restart(0)).unwrap();
    wait_for(set.settle()).unwrap();
    place.verify();
    assert_eq!(place.status("s"), "RUNNING");
    place.run(&["executions", "cancel", &place.id_of("s")]).expect(0);
    place.run(&["run", "--", "true"]).expect(0);
}

#[test]
fn a_store_that_is_away_for_a_moment_is_waited_for() {
    let (mut set, place) = broken_place("2m");
    let run = place.start(&["run", "plan.yaml", "--jobs", "2", "--json"]);
    place.await_file("up");
    set.kill(0).unwrap();
    place.file("go", "");
    std::thread::sleep(std::time::Duration::from_secs(1));
    wait_for(set.restart(0)).unwrap();
    let ended = run.wait().expect(0);
    assert!(place.path().join("second").exists(), "{}", ended.all());
    place.run(&["audit", "verify", "--expect", ended.json()["anchor"].as_str().unwrap()]).expect(0);
    place.no_process_is_left();
}
