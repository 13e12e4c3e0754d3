//! `events`: dense positions, lines that fit the published schema, one execution's, those after a place, those to come.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{PATIENCE, Place, fits};

const PLAN: &str = r#"
suite: s
cases:
  - { id: a, steps: [{ id: x, run: "echo out; echo err >&2" }, { id: y, run: [true] }] }
  - { id: b, retries: { max_attempts: 2, backoff: 1ms }, steps: [{ id: x, run: "exit 1" }] }
  - { id: c, needs: [b], steps: [{ id: x, run: [true] }] }
"#;

fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

#[test]
fn positions_are_dense_and_every_line_fits_the_schema() {
    let place = Place::new();
    place.plan(PLAN, &[]).expect(100);
    place.run(&["run", "--", "sh", "-c", "exit 1"]).expect(100);
    let events = place.events(&[]);
    assert_eq!(positions(&events), (1..=events.len() as u64).collect::<Vec<_>>());
    fits(&place, "event-line", &events);
    let text = place.run(&["events"]).expect(0);
    assert_eq!(text.out().lines().count(), events.len());
    assert_eq!(positions(&place.events(&["--after", "5"])), (6..=events.len() as u64).collect::<Vec<_>>());
    assert!(place.events(&["--after", "1000000"]).is_empty());
}

#[test]
fn the_events_of_a_suite_are_those_of_its_cases_too() {
    let place = Place::new();
    place.plan(PLAN, &[]).expect(100);
    place.run(&["run", "--", "true"]).expect(0);
    let (suite, case) = (place.id_of("s"), place.id_of("s/a"));
    let of_case = place.events(&["--execution", &case]);
    assert!(of_case.iter().all(|event| event["execution_id"] == case.as_str()));
    assert_eq!(of_case.last().unwrap()["type"], "ExecutionPassed");
    let versions: Vec<u64> = of_case.iter().map(|event| event["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=of_case.len() as u64).collect::<Vec<_>>());
    let of_suite = place.events(&["--execution", &suite[..13]]);
    let streams: std::collections::BTreeSet<_> =
        of_suite.iter().map(|event| event["execution_id"].to_string()).collect();
    assert_eq!(streams.len(), 4);
    let ended = place.run(&["events", "--execution", "00000000-0000-0000"]).expect(2);
    assert!(ended.err().contains("00000000"), "{}", ended.all());
}

/// A program that prints lines for ever, read line by line.
fn lines(mut command: Command) -> (std::process::Child, mpsc::Receiver<Value>) {
    let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let _ = send.send(serde_json::from_str(&line).unwrap());
        }
    });
    (child, lines)
}

#[test]
fn following_sees_what_another_process_appends_later() {
    let place = Place::new();
    place.run(&["run", "--", "true"]).expect(0);
    let before = place.events(&[]).len();
    let (mut child, lines) = lines(place.command(&["events", "--json", "--follow", "--after", "2"]));
    let mut seen: Vec<Value> = (2..before).map(|_| lines.recv_timeout(PATIENCE).unwrap()).collect();
    place.plan(PLAN, &[]).expect(100);
    place.run(&["run", "--", "true"]).expect(0);
    let all = place.events(&[]).len();
    seen.extend((before..all).map(|_| lines.recv_timeout(PATIENCE).unwrap()));
    assert_eq!(positions(&seen), (3..=all as u64).collect::<Vec<_>>());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    crate::support::eventually("the follower ends", || child.try_wait().unwrap());
    place.no_process_is_left();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error_to_report() {
    let place = Place::new();
    for _ in 0..3 {
        place.plan(PLAN, &[]).expect(100);
    }
    let program = env!("CARGO_BIN_EXE_testledger");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("for i in 1 2 3 4 5 6 7 8; do '{program}' events --json --follow | head -n 1; done")]);
    place.prepare(&mut command);
    let writer = place.start(&["run", "--", "sh", "-c", "sleep 2"]);
    let ended = crate::support::spawn(command).wait();
    writer.wait();
    assert_eq!(ended.out().lines().count(), 8, "{}", ended.all());
    assert_eq!(ended.err(), "");
}
