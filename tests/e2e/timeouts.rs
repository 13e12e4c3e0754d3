//! Timeouts of steps, cases and suites; running an execution again by hand.

use serde_json::json;

use crate::support::Place;

#[test]
fn a_step_out_of_time_ends_with_its_whole_tree() {
    let place = Place::new().env("TESTLEDGER_GRACE", "300ms");
    let plan = r#"
suite: t
cases:
  - id: c
    steps: [{ id: a, timeout: 500ms, run: "setsid sleep 600 & sleep 600" }]
"#;
    let ended = place.plan(plan, &[]).expect(100);
    assert!(ended.out().contains("timed out after"), "{}", ended.all());
    let finished = &place.events_of("StepFinished")[0]["data"];
    assert_eq!(finished["outcome"], "TIMEOUT");
    assert_eq!(finished["signals_sent"][0], "TERM");
    assert_eq!(place.status("t/c"), "TIMEOUT");
    place.no_process_is_left();
}

#[test]
fn a_case_out_of_time_is_timed_out_and_tried_again() {
    let place = Place::new();
    let plan = r#"
suite: t
cases:
  - id: c
    timeout: 1s
    retries: { max_attempts: 2, backoff: 1ms }
    steps:
      - { id: a, run: "echo x >> tries" }
      - { id: b, run: "sleep 600" }
      - { id: never, run: "touch never" }
"#;
    place.plan(plan, &[]).expect(100);
    assert_eq!(place.status("t/c"), "TIMEOUT");
    assert_eq!(place.events_of("ExecutionTimedOut").len(), 2);
    assert_eq!(std::fs::read_to_string(place.path().join("tries")).unwrap(), "x\nx\n");
    assert!(!place.path().join("never").exists());
    place.no_process_is_left();
    place.verify();
}

#[test]
fn a_suite_past_its_deadline_is_timed_out() {
    let place = Place::new();
    let plan = "suite: d\ndeadline: 1s\ncases:\n  - { id: c, steps: [{ id: a, run: 'sleep 600' }] }\n  - { id: e, needs: [c], steps: \
                [{ id: a, run: 'touch never' }] }\n";
    place.plan(plan, &[]).expect(100);
    assert_eq!((place.status("d").as_str(), place.status("d/c").as_str()), ("TIMEOUT", "CANCELLED"));
    place.no_process_is_left();
}

#[test]
fn a_retry_by_hand_is_a_new_linked_execution() {
    let place = Place::new();
    let plan = "suite: r\ncases:\n  - { id: c, steps: [{ id: a, run: 'test -f mended' }] }\n  - { id: d, steps: [{ id: a, run: \
                'echo d >> ds' }] }\n";
    place.plan(plan, &[]).expect(100);
    let first = place.id_of("r");
    place.file("mended", "");
    // The plan on the disk has changed since: what is run again is the plan as it was.
    place.file("plan.yaml", "suite: other\n");
    let again = place.run(&["executions", "retry", &first, "--json"]).expect(0).json();
    assert_ne!(again["execution_id"], json!(first));
    let shown = place.run(&["executions", "show", again["execution_id"].as_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!(shown["execution"]["retry_of"], json!(first));
    let before = place.run(&["executions", "show", &first, "--json"]).expect(0).json();
    assert_eq!(before["execution"]["status"], "FAILED");
    // One case alone.
    let case = before["children"]
        .as_array()
        .unwrap()
        .iter()
        .find(|child| child["label"].as_str().unwrap().ends_with('c'))
        .unwrap();
    place.run(&["executions", "retry", case["id"].as_str().unwrap()]).expect(0);
    assert_eq!(std::fs::read_to_string(place.path().join("ds")).unwrap(), "d\nd\n");
    place.verify();
}

#[test]
fn a_retry_by_hand_of_one_cell_runs_that_cell_alone() {
    let place = Place::new();
    let plan = "suite: r\ncases:\n  - { id: c, matrix: { n: [1, 2, 3] }, steps: [{ id: a, run: [sh, -c, 'echo $0 >> ran; test $0 != 2', \
                '{{ matrix.n }}'] }] }\n";
    place.plan(plan, &["--jobs", "1"]).expect(100);
    let cell = place.id_of("r/c[n=2]");
    place.run(&["executions", "retry", &cell]).expect(100);
    assert_eq!(std::fs::read_to_string(place.path().join("ran")).unwrap(), "1\n2\n3\n2\n");
}

#[test]
fn a_retry_by_hand_of_what_still_runs_is_refused() {
    let place = Place::new();
    let run = place.start(&["run", "--", "sh", "-c", "touch up; sleep 600"]);
    place.await_file("up");
    let id = place.executions()[0]["id"].as_str().unwrap().to_owned();
    let ended = place.run(&["executions", "retry", &id]).expect(2);
    assert!(ended.err().contains("RUNNING"), "{}", ended.all());
    run.signal(nix::sys::signal::Signal::SIGINT);
    run.wait().expect(130);
    place.no_process_is_left();
}
