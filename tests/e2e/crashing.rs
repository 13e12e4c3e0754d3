//! The engine is killed at random moments: no process is left, the log is whole and truthful, the store works on.

use std::time::Duration;

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::Place;

const SEEDS: u64 = 10;

const PLAN: &str = r#"
suite: doomed
services:
  - { id: bg, run: "echo ready; setsid sleep 600 & exec sleep 600", ready: { log: ready } }
cases:
  - { id: quick, matrix: { n: [1, 2, 3, 4, 5, 6] }, steps: [{ id: a, run: "sleep 0.05" }, { id: b, run: "sleep 0.05" }] }
  - { id: retried, retries: { max_attempts: 50, backoff: 10ms }, steps: [{ id: a, run: "setsid sleep 600 & exit 1" }] }
  - { id: stuck, steps: [{ id: a, run: "trap '' TERM; (setsid sleep 600 &) ; sleep 600" }] }
"#;

#[test]
fn a_killed_engine_leaves_no_process_and_a_truthful_log() {
    for seed in 0..SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let place = Place::new();
        place.file("plan.yaml", PLAN);
        let run = place.start(&["run", "plan.yaml", "--jobs", "4"]);
        std::thread::sleep(Duration::from_millis(random.random_range(0..900)));
        run.signal(Signal::SIGKILL);
        run.wait();
        place.no_process_is_left();
        if place.store.has_log() {
            check(&place, seed);
            for execution in place.executions().iter().filter(|one| one["is_final"] == false) {
                if execution["parent_id"].is_null() {
                    place.run(&["executions", "cancel", execution["id"].as_str().unwrap()]).expect(0);
                }
            }
        }
        place.run(&["run", "--", "true"]).expect(0);
        for execution in place.executions() {
            assert_eq!(execution["is_final"], true, "seed {seed}: {execution}");
        }
        place.no_process_is_left();
        place.verify();
    }
}

fn check(place: &Place, seed: u64) {
    let verified = place.run(&["audit", "verify"]);
    assert_eq!(verified.code(), 0, "seed {seed}: {}", verified.all());
    for execution in place.executions() {
        let id = execution["id"].as_str().unwrap();
        let shown = place.run(&["executions", "show", id, "--json"]).expect(0).json();
        let events = place.events(&["--execution", id]);
        let own: Vec<&str> = events
            .iter()
            .filter(|event| event["execution_id"] == id)
            .filter_map(|event| event["type"].as_str())
            .collect();
        let last = |name: &str| own.iter().rposition(|one| *one == name);
        let status = shown["execution"]["status"].as_str().unwrap();
        let wanted = if last("ExecutionPassed").is_some() {
            "PASSED"
        } else if last("ExecutionStarted").is_none() {
            "PENDING"
        } else if last("ExecutionRetryScheduled") > last("ExecutionStarted") {
            "RETRYING"
        } else {
            "RUNNING"
        };
        assert_eq!(status, wanted, "seed {seed}: {own:?}");
        place.run(&["executions", "show", id]).expect(0);
    }
}

#[test]
fn an_execution_whose_engine_died_can_be_cancelled_in_words_that_are_true() {
    let place = Place::new();
    let run = place.start(&["run", "--", "sh", "-c", "touch up; sleep 600"]);
    place.await_file("up");
    run.signal(Signal::SIGKILL);
    run.wait();
    place.no_process_is_left();
    let id = place.executions()[0]["id"].as_str().unwrap().to_owned();
    let said = place.run(&["executions", "cancel", &id]).expect(0);
    assert!(said.out().contains("its engine has ended"), "{}", said.all());
    assert_eq!(place.executions()[0]["status"], "RUNNING");
    place.run(&["recover"]).expect(0);
    assert_eq!(place.executions()[0]["status"], "CANCELLED");
    place.verify();
}
