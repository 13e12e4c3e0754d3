//! `run PLAN`: suites of commands and of HTTP requests, captures, retries, needs, matrix; the exit codes of a run.

use serde_json::json;

use crate::service;
use crate::support::Place;

const COMMANDS: &str = r#"
suite: commands
cases:
  - id: plain
    steps:
      - { id: argv, run: [echo, "a  b", "$HOME"], expect: { stdout: { contains: ["a  b $HOME"] } } }
      - { id: line, run: "test -f plan.yaml && echo here", expect: { stdout: here } }
  - id: exits
    steps:
      - { id: three, run: "exit 3", expect: { exit: 3 } }
  - id: needs-both
    needs: [plain, exits]
    steps: [{ id: a, run: [true] }]
"#;

#[test]
fn a_command_suite_passes() {
    let place = Place::new();
    let ended = place.plan(COMMANDS, &[]).expect(0);
    assert!(ended.out().contains("commands PASSED"), "{}", ended.all());
    assert!(ended.out().contains("cases  3: 3 passed"), "{}", ended.all());
    assert_eq!(place.status("commands"), "PASSED");
    place.verify();
    place.no_process_is_left();
}

#[test]
fn an_http_suite_passes_against_the_service_it_starts() {
    let place = Place::new();
    let plan = format!(
        "suite: web\n{}{}",
        service::of_a_plan(service::free_port()),
        r#"
cases:
  - id: login
    steps:
      - id: token
        http: { method: POST, url: "{{ env.BASE }}/token", json: { user: ada } }
        expect: { status: 200, json: { "$.token": { exists: true }, "$.user": ada } }
        capture: { token: { json: "$.token", secret: true }, user: { json: "$.user" } }
      - id: greet
        http: { url: "{{ env.BASE }}/greet", headers: { Authorization: "Bearer {{ token }}" } }
        expect: { status: 2xx, text: "hello {{ user }}" }
      - id: in-a-command
        run: [test, "{{ user }}", "=", "ada"]
  - id: refused
    steps:
      - id: greet
        http: { url: "{{ env.BASE }}/greet" }
        expect: { status: 401 }
"#
    );
    place.plan(&plan, &[]).expect(0);
    let started = place.events_of("ServiceStarted");
    let stopped = place.events_of("ServiceStopped");
    assert_eq!((started.len(), stopped.len()), (1, 1));
    let statuses: Vec<_> =
        place.events_of("StepFinished").iter().map(|event| event["data"]["http_status"].clone()).collect();
    assert!(statuses.contains(&json!(401)), "{statuses:?}");
    place.verify();
    place.no_process_is_left();
}

#[test]
fn a_service_that_does_not_come_up_is_a_failed_set_up() {
    let place = Place::new();
    let plan = r#"
suite: broken
services:
  - { id: web, run: "echo no licence >&2; exit 1", ready: { tcp: "127.0.0.1:1", timeout: 20s } }
cases:
  - { id: one, steps: [{ id: a, run: [true] }] }
"#;
    let ended = place.plan(plan, &[]).expect(96);
    assert!(ended.out().contains("no licence"), "{}", ended.all());
    assert_eq!((place.status("broken").as_str(), place.status("broken/one").as_str()), ("FAILED", "CANCELLED"));
    place.no_process_is_left();
}

const FLAKY: &str = r#"
suite: flaky
cases:
  - id: second-try
    retries: { max_attempts: 3, backoff: 10ms }
    steps:
      - { id: first, run: "echo ran >> runs" }
      - { id: wobbly, run: "test -f seen || { touch seen; exit 1; }" }
"#;

#[test]
fn a_case_passes_on_its_second_try() {
    let place = Place::new();
    let ended = place.plan(FLAKY, &[]).expect(0);
    assert!(ended.out().contains("after 1 failed try"), "{}", ended.all());
    assert_eq!(std::fs::read_to_string(place.path().join("runs")).unwrap(), "ran\nran\n");
    let id = place.id_of("flaky/second-try");
    let shown = place.run(&["executions", "show", &id, "--json"]).expect(0).json();
    let statuses: Vec<_> = shown["attempts"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [json!("FAILED"), json!("PASSED")]);
    assert_eq!(place.events_of("ExecutionRetryScheduled").len(), 1);
}

#[test]
fn retries_from_the_command_line_win_over_the_plan() {
    let place = Place::new();
    place.plan(FLAKY, &["--retries", "0"]).expect(100);
    let other = Place::new();
    other
        .plan(
            "suite: s\ncases:\n  - id: c\n    steps: [{ id: a, run: 'echo x >> tries; exit 1' }]\n",
            &["--retries", "2"],
        )
        .expect(100);
    assert_eq!(std::fs::read_to_string(other.path().join("tries")).unwrap().lines().count(), 3);
}

#[test]
fn steps_are_tried_again_too() {
    let place = Place::new();
    let plan = r#"
suite: steps
cases:
  - id: c
    steps:
      - { id: a, run: "echo a >> log" }
      - { id: b, run: "echo b >> log; test $(wc -l < log) -ge 4", retries: { max_attempts: 3, backoff: 5ms } }
"#;
    place.plan(plan, &[]).expect(0);
    assert_eq!(std::fs::read_to_string(place.path().join("log")).unwrap(), "a\nb\nb\nb\n");
    assert_eq!(place.executions().iter().find(|one| one["label"] == "steps/c").unwrap()["attempt"], 1);
}

#[test]
fn what_needs_a_failed_case_is_not_run() {
    let place = Place::new();
    let plan = r#"
suite: needs
cases:
  - { id: base, steps: [{ id: a, run: "exit 1" }] }
  - { id: above, needs: [base], steps: [{ id: a, run: "touch above-ran" }] }
  - { id: top, needs: [above], steps: [{ id: a, run: "touch top-ran" }] }
  - { id: other, steps: [{ id: a, run: "touch other-ran" }] }
"#;
    let ended = place.plan(plan, &[]).expect(100);
    assert!(ended.out().contains("2 not run"), "{}", ended.all());
    assert_eq!(place.status("needs/top"), "CANCELLED");
    assert_eq!(place.status("needs/other"), "PASSED");
    let ran = |name: &str| place.path().join(name).exists();
    assert_eq!((ran("above-ran"), ran("top-ran"), ran("other-ran")), (false, false, true));
    let reasons: Vec<_> =
        place.events_of("ExecutionCancelled").iter().map(|event| event["data"]["reason"].clone()).collect();
    assert_eq!(reasons, [json!("DEPENDENCY_FAILED"), json!("DEPENDENCY_FAILED")]);
    place.verify();
}

#[test]
fn every_cell_of_a_matrix_and_every_parameter_reaches_its_command() {
    let place = Place::new();
    let plan = r#"
suite: cells
params: { greeting: hello, name: }
cases:
  - id: m
    matrix: { colour: [red, blue], size: [1, 2] }
    steps: [{ id: a, run: [touch, "{{ params.greeting }}-{{ params.name }}-{{ matrix.colour }}-{{ matrix.size }}"] }]
"#;
    let ended = place.plan(plan, &[]).expect(2);
    assert!(ended.err().contains("name"), "{}", ended.all());
    let ended = place.plan(plan, &["--param", "nmae=x"]).expect(2);
    assert!(ended.err().contains("nmae"), "{}", ended.all());
    place.plan(plan, &["--param", "name=ada", "--param", "greeting=bye"]).expect(0);
    for cell in ["bye-ada-red-1", "bye-ada-red-2", "bye-ada-blue-1", "bye-ada-blue-2"] {
        assert!(place.path().join(cell).exists(), "{cell}");
    }
    assert_eq!(place.executions().len(), 5);
}

#[test]
fn fail_fast_starts_nothing_more() {
    let place = Place::new();
    let cases: String =
        (0..8).map(|n| format!("  - {{ id: c{n}, steps: [{{ id: a, run: 'touch ran-{n}; exit 1' }}] }}\n")).collect();
    place.plan(&format!("suite: fast\ncases:\n{cases}"), &["--fail-fast", "--jobs", "1"]).expect(100);
    let ran = (0..8).filter(|n| place.path().join(format!("ran-{n}")).exists()).count();
    assert_eq!(ran, 1);
    let not_run = place.executions().iter().filter(|one| one["cancel_reason"] == "FAIL_FAST").count();
    assert_eq!(not_run, 7);
}

/// Each of two cases ends only when the other has begun; with one at a time neither could pass.
#[test]
fn cases_run_side_by_side_as_far_as_jobs_allow() {
    let plan = r#"
suite: both
cases:
  - { id: one, steps: [{ id: a, run: "touch one; until [ -f two ]; do sleep 0.01; done" }] }
  - { id: two, steps: [{ id: a, run: "touch two; until [ -f one ]; do sleep 0.01; done" }] }
"#;
    Place::new().plan(plan, &["--jobs", "2"]).expect(0);
    let alone = r#"
suite: alone
concurrency: 1
cases:
  - { id: one, steps: [{ id: a, run: "mkdir lock && sleep 0.05 && rmdir lock" }] }
  - { id: two, steps: [{ id: a, run: "mkdir lock && sleep 0.05 && rmdir lock" }] }
  - { id: three, steps: [{ id: a, run: "mkdir lock && sleep 0.05 && rmdir lock" }] }
"#;
    Place::new().plan(alone, &["--jobs", "4"]).expect(0);
    Place::new().plan(&alone.replace("concurrency: 1\n", ""), &["--jobs", "1"]).expect(0);
}

#[test]
fn several_plans_end_with_the_worst_code() {
    let place = Place::new();
    place.file("good.yaml", "suite: good\ncases: [{ id: a, steps: [{ id: a, run: [true] }] }]\n");
    place.file("bad.yaml", "suite: bad\ncases: [{ id: a, steps: [{ id: a, run: [false] }] }]\n");
    place.run(&["run", "good.yaml", "bad.yaml", "good.yaml"]).expect(100);
    assert_eq!(place.executions().len(), 6);
}

#[test]
fn a_failed_suite_is_reported_well() {
    let place = Place::new();
    let plan = r#"
suite: demo
cases:
  - id: bad
    steps:
      - { id: check, run: "echo the answer is 41; echo beware >&2", expect: { stdout: "the answer is 42" } }
"#;
    let said = place.plan(plan, &[]).expect(100);
    for wanted in ["FAILED", "the answer is 42", "the answer is 41", "beware", "look closer", "executions show"] {
        assert!(said.out().contains(wanted), "{wanted}: {}", said.all());
    }
}

#[test]
fn what_cannot_be_captured_is_an_error_of_its_step() {
    let place = Place::new();
    let plan = r#"
suite: demo
cases:
  - id: c
    steps:
      - { id: a, run: [echo, nothing], capture: { n: { regex: '(\d+)' } } }
      - { id: b, run: [echo, "{{ n }}"] }
"#;
    let ended = place.plan(plan, &[]).expect(100);
    assert!(ended.out().contains("cannot capture n"), "{}", ended.all());
    let finished = place.events_of("StepFinished");
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0]["data"]["outcome"], "ERROR");
}
