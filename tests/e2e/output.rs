//! Output that is large, binary, of one endless line, or left open by somebody: kept up to a cap, told in full.

use serde_json::Value;

use crate::support::Place;

fn output_of<'a>(finished: &'a Value, stream: &str) -> &'a Value {
    let outputs = finished["data"]["outputs"].as_array().unwrap();
    outputs.iter().find(|output| output["stream"] == stream).unwrap_or_else(|| panic!("{finished:#}"))
}

#[test]
fn fifty_megabytes_are_counted_and_kept_up_to_the_cap() {
    let place = Place::new();
    place
        .plan(
            "suite: s\ncases: [{ id: c, steps: [{ id: a, run: 'head -c 52428800 /dev/zero | tr \"\\\\0\" x' }] }]\n",
            &[],
        )
        .expect(0);
    let finished = &place.events_of("StepFinished")[0];
    let output = output_of(finished, "STDOUT");
    assert_eq!(output["bytes"], 52_428_800, "{finished:#}");
    assert!(output.to_string().contains("truncated") || output["artifact"].is_string(), "{output:#}");
    let excerpt = finished["content"]["excerpts"].to_string();
    assert!(excerpt.len() < 40 << 10, "{}", excerpt.len());
    let store: usize = place.store.contents().iter().map(|(_, bytes)| bytes.len()).sum();
    assert!((16 << 20..40 << 20).contains(&store), "{store}");
    place.verify();
}

#[test]
fn binary_output_and_very_long_lines_do_no_harm() {
    let place = Place::new();
    let plan = r#"
suite: s
cases:
  - { id: binary, steps: [{ id: a, run: "head -c 300000 /dev/urandom; head -c 300000 /dev/urandom >&2; exit 1" }] }
  - { id: line, steps: [{ id: a, run: "head -c 3000000 /dev/zero | tr '\\0' y; exit 1" }] }
  - { id: controls, steps: [{ id: a, run: 'printf "\\033[2J\\033]0;title\\007\\000\\r\\n"; exit 1' }] }
"#;
    let ended = place.plan(plan, &["--junit", "out.xml"]).expect(100);
    assert!(ended.stdout.len() < 200_000, "{}", ended.stdout.len());
    assert!(
        !ended.out().contains("\u{1b}[2J") && !ended.out().contains("\u{1b}]0"),
        "control sequences reach the terminal"
    );
    let xml = std::fs::read(place.path().join("out.xml")).unwrap();
    assert_eq!(testledger::steps::junit::read(&xml, ("s", "c", "")).unwrap().len(), 3);
    for label in ["s/binary", "s/line", "s/controls"] {
        let id = place.id_of(label);
        let shown = place.run(&["executions", "show", &id]).expect(0);
        assert!(!shown.out().contains("\u{1b}[2J"), "control sequences reach the terminal");
        place.run(&["executions", "show", &id, "--json"]).expect(0).json();
    }
    place.run(&["events"]).expect(0);
    place.verify();
}

#[test]
fn the_full_output_of_a_wrapped_command_passes_through_whatever_its_size() {
    let place = Place::new();
    let ended = place.run(&["run", "--", "sh", "-c", "head -c 30000000 /dev/zero"]).expect(0);
    assert_eq!(ended.stdout.len(), 30_000_000);
    assert!(ended.stdout.iter().all(|byte| *byte == 0));
}

#[test]
fn a_grandchild_that_holds_the_output_open_does_not_hang_the_step() {
    let place = Place::new().env("TESTLEDGER_LEAK_TIMEOUT", "200ms");
    place
        .plan("suite: s\ncases: [{ id: c, steps: [{ id: a, run: 'setsid sleep 600 & echo done' }] }]\n", &[])
        .expect(0);
    let finished = &place.events_of("StepFinished")[0];
    assert_eq!(
        (&finished["data"]["leaked"], &finished["data"]["outcome"]),
        (&Value::Bool(true), &Value::from("PASSED"))
    );
    place.no_process_is_left();
}

#[test]
fn live_output_is_led_by_its_case() {
    let place = Place::new();
    let plan = "suite: s\ncases: [{ id: talk, steps: [{ id: a, run: 'echo one; echo two >&2' }] }]\n";
    let ended = place.plan(plan, &["--no-capture"]).expect(0);
    for word in ["one", "two"] {
        let led = ended.out().lines().any(|line| line.contains("talk") && line.ends_with(word));
        assert!(led, "{}", ended.all());
    }
    assert!(!place.plan(plan, &[]).expect(0).out().contains("one"));
}
