//! Engines are killed, and what they had begun is brought to its end: by `recover`, and by the next run.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Place, eventually, fits};

/// Each step notes that it ran; `wait` waits for a file, so that its engine can be killed meanwhile.
const PLAN: &str = r#"
suite: resumed
services:
  - { id: web, run: "echo up >> services; echo ready; sleep 600", ready: { log: ready } }
cases:
  - id: long
    steps:
      - { id: first, run: "echo first >> ran; echo token-7", capture: { token: { regex: "token-(.*)" } } }
      - { id: wait, run: "echo wait >> ran; touch up; until [ -f go ]; do sleep 0.01; done" }
      - { id: use, run: [sh, -c, "echo use $1 >> ran", sh, "{{ token }}"] }
  - { id: short, steps: [{ id: s, run: "echo short >> ran" }] }
  - { id: after, needs: [long, short], steps: [{ id: s, run: "echo after >> ran" }] }
"#;

/// Kills the engine of a plan while a step of it waits.
fn killed(place: &Place, plan: &str) {
    killed_once(place, plan, || ());
}

/// Kills the engine of [`PLAN`] once its short case is over in the log: else that might have been interrupted, too.
fn killed_midway(place: &Place) {
    killed_once(place, PLAN, || {
        eventually("the short case has passed", || (place.status("resumed/short") == "PASSED").then_some(()));
    });
}

fn killed_once(place: &Place, plan: &str, ready: impl FnOnce()) {
    place.file("plan.yaml", plan);
    let run = place.start(&["run", "plan.yaml", "--jobs", "2"]);
    place.await_file("up");
    ready();
    run.signal(Signal::SIGKILL);
    run.wait();
    place.no_process_is_left();
}

fn lines(place: &Place, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(place.path().join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn recovered(place: &Place, code: i32) -> Vec<Value> {
    let ended = place.run(&["recover", "--json"]).expect(code);
    ended.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_killed_suite_goes_on_where_it_was_with_what_it_had_captured() {
    let place = Place::new();
    killed_midway(&place);
    let found = place.run(&["recover", "--dry-run"]).expect(75);
    assert!(found.out().contains("resumed was RUNNING; its engine is gone; would be recovered"), "{}", found.all());
    let before = place.events(&[]).len();
    place.run(&["recover", "--dry-run", "--json"]).expect(75);
    assert_eq!(place.events(&[]).len(), before, "who only looks writes nothing");
    place.file("go", "");
    let told = recovered(&place, 0);
    assert_eq!((&told[0]["action"], &told[0]["status"]), (&"RECOVERED".into(), &"PASSED".into()), "{told:?}");
    fits(&place, "recover", &told);
    let mut ran = lines(&place, "ran");
    ran.sort();
    assert_eq!(ran, ["after", "first", "short", "use 7", "wait", "wait"], "finished steps do not run again");
    assert_eq!(lines(&place, "services").len(), 2, "services are started again");
    for label in ["resumed", "resumed/long", "resumed/short", "resumed/after"] {
        assert_eq!(place.status(label), "PASSED", "{label}");
    }
    let outcomes: Vec<Value> = place.events_of("StepFinished").iter().map(|it| it["data"]["outcome"].clone()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "INTERRUPTED").count(), 1, "{outcomes:?}");
    assert_eq!(place.events_of("ExecutionRecovered").len(), 2);
    let ends: Vec<Value> = place.events_of("ServiceStopped").iter().map(|it| it["data"]["end"].clone()).collect();
    assert_eq!(ends, ["WORKER_LOST", "STOPPED"]);
    assert_eq!(recovered(&place, 0), Vec::<Value>::new(), "there is nothing to do a second time");
    place.no_process_is_left();
    place.verify();
}

#[test]
fn who_asks_at_once_after_a_death_finds_the_engine_gone() {
    let place = Place::new();
    place.file("plan.yaml", PLAN);
    let run = place.start(&["run", "plan.yaml", "--jobs", "2"]);
    place.await_file("up");
    run.signal(Signal::SIGKILL);
    run.wait();
    let found = place.run(&["recover", "--dry-run"]).expect(75);
    assert!(found.out().contains("its engine is gone; would be recovered"), "{}", found.all());
}

#[test]
fn the_next_run_recovers_too_and_says_so() {
    let place = Place::new();
    killed_midway(&place);
    place.file("go", "");
    let ended = place.run(&["run", "--", "true"]).expect(0);
    assert!(ended.err().contains("recovering") && ended.err().contains("recovered"), "{}", ended.all());
    assert_eq!(place.status("resumed"), "PASSED");
    place.no_process_is_left();
    place.verify();
}

#[test]
fn a_step_that_must_not_run_again_fails_as_infrastructure() {
    let place = Place::new();
    let plan = "suite: once\ncases:\n  - { id: a, retries: { max_attempts: 3 }, steps: [{ id: s, on_interrupt: fail, run: 'echo x >> ran; touch \
                up; sleep 600' }] }\n";
    killed(&place, plan);
    assert_eq!(recovered(&place, 100)[0]["status"], "FAILED");
    assert_eq!(lines(&place, "ran").len(), 1);
    let failed = place.events_of("ExecutionFailed");
    assert_eq!(failed[0]["data"]["reason"], "INFRASTRUCTURE");
    assert_eq!(place.status("once/a"), "FAILED");
    place.verify();
}

const SECRET: &str = r#"
suite: secret
cases:
  - id: a
    steps:
      - { id: get, run: "echo get >> ran; echo s3cret-$(echo s3cret)-$(wc -l < ran)", capture: { token: { regex: "(.*)", secret: true } } }
      - { id: wait, run: "touch up; until [ -f go ]; do sleep 0.01; done" }
      - { id: use, run: [sh, -c, "echo \"$1\" > used", sh, "{{ token }}"] }
"#;

#[test]
fn a_secret_capture_comes_back_from_the_log_where_its_key_is() {
    let place = Place::new();
    killed(&place, SECRET);
    place.file("go", "");
    assert_eq!(recovered(&place, 0)[0]["status"], "PASSED");
    assert_eq!((lines(&place, "ran").len(), lines(&place, "used")), (1, vec!["s3cret-s3cret-1".to_owned()]));
    for (name, bytes) in place.store.contents() {
        assert!(!bytes.windows(13).any(|window| window == b"s3cret-s3cret"), "{name} holds the secret");
    }
    place.verify();
}

#[test]
fn without_the_key_of_a_secret_the_attempt_begins_anew() {
    let place = Place::new().env("TESTLEDGER_CAPTURE_KEY", "the.key");
    killed(&place, SECRET);
    std::fs::remove_file(place.path().join("the.key")).unwrap();
    place.file("go", "");
    assert_eq!(recovered(&place, 0)[0]["status"], "PASSED");
    assert_eq!((lines(&place, "ran").len(), lines(&place, "used")), (2, vec!["s3cret-s3cret-2".to_owned()]));
    let attempts: Vec<Value> =
        place.events_of("ExecutionStarted").iter().map(|it| it["data"]["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 1, 2], "the suite, and its case twice");
    place.verify();
}

#[test]
fn what_cannot_be_recovered_here_says_why_and_can_be_given_up() {
    let place = Place::new().env("API_TOKEN", "t0ken-t0ken");
    killed(
        &place,
        "suite: s\nsecrets: [API_TOKEN]\ncases:\n  - { id: a, steps: [{ id: s, run: 'touch up; sleep 600' }] }\n",
    );
    let mut command = place.command(&["recover"]);
    command.env_remove("API_TOKEN");
    let left = crate::support::spawn(command).wait().expect(75);
    assert!(left.out().contains("the secret `API_TOKEN` is not in this environment"), "{}", left.all());
    assert_eq!(place.status("s"), "RUNNING");
    place.run(&["executions", "cancel", &place.id_of("s")]).expect(0);
    let mut command = place.command(&["recover"]);
    command.env_remove("API_TOKEN");
    crate::support::spawn(command).wait().expect(0);
    assert_eq!(place.status("s"), "CANCELLED");
    place.verify();
}

#[test]
fn what_a_living_engine_has_is_left_to_it() {
    let place = Place::new();
    place.file("plan.yaml", PLAN);
    let run = place.start(&["run", "plan.yaml"]);
    place.await_file("up");
    run.signal(Signal::SIGSTOP);
    let told = recovered(&place, 0);
    assert_eq!(told[0]["action"], "IN_HANDS", "{told:?}");
    run.signal(Signal::SIGCONT);
    place.file("go", "");
    run.wait().expect(0);
    place.verify();
}

/// The spawner and every keeper.
fn spawners_of(place: &Place) -> Vec<Pid> {
    let ours = place.processes().into_iter().filter(|(_, line)| line.contains("__spawner"));
    ours.map(|(pid, _)| Pid::from_raw(i32::try_from(pid).unwrap())).collect()
}

/// The same, stopped: else the one would see the other's end.
fn stopped_spawners(place: &Place) -> Vec<Pid> {
    let all = spawners_of(place);
    assert!(all.len() >= 2, "the spawner and its keeper: {all:?}");
    all.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
    all
}

/// Kills the spawner and every keeper first, so that nobody is left who would end the command.
#[test]
fn what_outlived_engine_spawner_and_keeper_is_ended() {
    let place = Place::new();
    place.file("plan.yaml", "suite: s\ncases:\n  - { id: a, steps: [{ id: s, run: 'echo x >> ran; touch up; until [ -f go ]; do sleep 0.01; done' }] }\n");
    let run = place.start(&["run", "plan.yaml"]);
    place.await_file("up");
    let spawners = stopped_spawners(&place);
    run.signal(Signal::SIGSTOP);
    spawners.iter().for_each(|pid| kill(*pid, Signal::SIGKILL).unwrap());
    run.signal(Signal::SIGKILL);
    run.wait();
    eventually("the command is alone", || spawners_of(&place).is_empty().then_some(()));
    assert!(!place.processes().is_empty(), "the command still runs");
    let going = place.start(&["recover", "--json"]);
    eventually("the step runs again", || (lines(&place, "ran").len() == 2).then_some(()));
    // A shell that is about to become its `sleep` still looks like the shell.
    let shells = || place.processes().into_iter().filter(|(_, line)| line.contains("until [ -f go ]")).count();
    eventually("the old one was ended", || (shells() == 1).then_some(()));
    place.file("go", "");
    going.wait().expect(0);
    assert_eq!(place.status("s"), "PASSED");
    place.no_process_is_left();
    place.verify();
}

/// The engine lives, and ends in what order is left: but what it can no longer vouch for stays noted.
#[test]
fn what_outlived_the_spawner_of_a_living_engine_is_ended_by_the_next() {
    let place = Place::new();
    place.file("plan.yaml", "suite: s\ncases:\n  - { id: a, steps: [{ id: s, run: 'echo x >> ran; touch up; until [ -f go ]; do sleep 0.01; done' }] }\n");
    let run = place.start(&["run", "plan.yaml"]);
    place.await_file("up");
    stopped_spawners(&place).iter().for_each(|pid| kill(*pid, Signal::SIGKILL).unwrap());
    let ended = run.wait();
    assert_ne!(ended.code(), 0, "{}", ended.all());
    assert!(place.events_of("WorkerStopped").is_empty(), "nobody knows whether everything has ended");
    let shells = || place.processes().into_iter().filter(|(_, line)| line.contains("until [ -f go ]")).count();
    assert_eq!(shells(), 1, "the command still runs");
    let going = place.start(&["recover", "--json"]);
    eventually("the step runs again", || (lines(&place, "ran").len() == 2).then_some(()));
    eventually("the old one was ended", || (shells() == 1).then_some(()));
    place.file("go", "");
    going.wait().expect(0);
    assert_eq!(place.status("s"), "PASSED");
    place.no_process_is_left();
    place.verify();
}

/// The secret is a part of what was captured, and another case prints it.
const HIDDEN: &str = r#"
suite: hidden
cases:
  - id: login
    steps:
      - { id: get, run: 't=inner-$(echo s3cret); echo $t > cookie; echo "{\"session\":{\"token\":\"$t\"}}"', capture: { session: { json: "$.session", secret: true } } }
      - { id: wait, run: "[ -f go ] || touch up; until [ -f go ]; do sleep 0.01; done" }
      - { id: show, run: [sh, -c, "echo $1; cat cookie", sh, "{{ session.token }}"] }
  - id: other
    steps:
      - { id: wait, run: "until [ -f go ]; do sleep 0.01; done" }
      - { id: show, run: "cat cookie >&2; cat cookie" }
"#;

#[test]
fn what_was_captured_as_secret_before_the_crash_is_hidden_after_it_from_every_case() {
    let place = Place::new();
    killed(&place, HIDDEN);
    place.file("go", "");
    assert_eq!(recovered(&place, 0)[0]["status"], "PASSED");
    assert_eq!(lines(&place, "cookie"), ["inner-s3cret"]);
    for (name, bytes) in place.store.contents() {
        assert!(!bytes.windows(12).any(|window| window == b"inner-s3cret"), "{name} holds the secret");
    }
    place.verify();
}

#[test]
fn a_suite_that_is_cancelled_after_the_crash_starts_nothing() {
    let place = Place::new();
    killed_midway(&place);
    place.run(&["executions", "cancel", &place.id_of("resumed")]).expect(0);
    let told = recovered(&place, 0);
    assert_eq!(told[0]["status"], "CANCELLED", "{told:?}");
    assert_eq!(lines(&place, "services").len(), 1, "no service is started");
    assert_eq!(place.status("resumed/after"), "CANCELLED");
    place.no_process_is_left();
    place.verify();
}

#[test]
fn cases_of_a_suite_that_was_cancelled_before_anybody_had_it_are_ended() {
    let place = Place::new();
    place.file("plan.yaml", PLAN);
    let mut command = place.command(&["run", "plan.yaml"]);
    // Its own start, the suite, three cases; the next one makes the suite ready.
    command.env("TESTLEDGER_FAULT", "BeforeAppend:6");
    let _ = crate::support::spawn(command).wait();
    assert_eq!(place.status("resumed"), "PENDING");
    place.run(&["executions", "cancel", &place.id_of("resumed")]).expect(0);
    assert_eq!(place.status("resumed"), "CANCELLED");
    assert_eq!(place.status("resumed/long"), "PENDING");
    place.run(&["recover", "--dry-run"]).expect(75);
    assert_eq!(recovered(&place, 0)[0]["action"], "RECOVERED");
    assert_eq!(place.status("resumed/long"), "CANCELLED");
    assert_eq!(recovered(&place, 0), Vec::<Value>::new());
    place.verify();
}
