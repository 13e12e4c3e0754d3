//! Tests of the timeline: what it says, and that it keeps to its width.

use serde_json::{Value, json};

use super::*;

const BEGIN: i64 = 1_795_425_120_000;

fn at(ms: i64) -> Value {
    json!(Timestamp::from_unix_ms(BEGIN + ms).to_string())
}

fn head(status: &str, finished_at: Value, steps: u64) -> Value {
    json!({
        "execution_id": "00000000-0000-0000-0000-000000000001", "kind": "CASE", "case_type": "generic",
        "suite": "checkout", "case": "login", "matrix": "os=linux", "request": null, "parent_id": null, "place": null,
        "status": status, "is_final": !finished_at.is_null(), "attempt": 2, "attempts": [], "interruptions": 0,
        "failed_step": null, "requested_at": at(-500), "started_at": at(0), "finished_at": finished_at,
        "total_duration_ms": 10_000, "resource_usage": usage(), "usage_of_attempts": usage(), "use_embedded_steps": true,
        "embedded_steps": [], "step_count": steps, "partition_count": 0, "surroundings": [], "surrounding_count": 0,
        "artifact_count": 0, "open_steps": [], "erasures": 0, "last_position": 9,
    })
}

fn usage() -> Value {
    json!({ "measured": 0, "user_ms": 0, "system_ms": 0, "peak_memory_bytes": 0 })
}

fn told(text: Value) -> Value {
    json!({ "event_id": "00000000-0000-0000-0000-000000000002", "commit": 1, "text": text })
}

fn step(index: u64, label: &str, tries: (u32, u32), started_at: Value, end: Option<(i64, &str, Value)>) -> Value {
    let mut item =
        json!({ "index": index, "kind": "STEP", "label": label, "attempt": tries.0, "step_attempt": tries.1 });
    if !started_at.is_null() {
        item["started_at"] = started_at;
    }
    if let Some((finished, outcome, message)) = end {
        let text = if message.is_null() { Value::Null } else { json!({ "message": message }) };
        item["end"] = json!({
            "outcome": outcome, "will_retry": tries.1 == 1 && outcome == "FAILED", "finished_at": at(finished),
            "duration_ms": 1_250, "outputs": told(text),
        });
    }
    item
}

fn show(head: Value, items: Vec<Value>, next: Option<u64>) -> TraceShow {
    TraceShow {
        trace: serde_json::from_value(head).unwrap(),
        items: items.into_iter().map(|item| serde_json::from_value(item).unwrap()).collect(),
        next,
    }
}

/// Tries, a name that is too long and wide, a reported result, an erased message, a step that runs.
fn sample() -> TraceShow {
    let mut reported =
        step(3, "pytest", (2, 1), Value::Null, Some((8_000, "FAILED", json!("assert 1 == 2\nat line 3"))));
    reported["kind"] = json!("REPORTED");
    reported["end"]["will_retry"] = json!(false);
    reported["inputs"] = told(json!({ "name": "tests/test_login.py::test_日本語_and_a_very_long_name_indeed" }));
    let items = vec![
        step(0, "prepare", (1, 1), at(0), Some((1_250, "PASSED", json!("")))),
        step(1, "log-in", (1, 1), at(1_300), Some((2_550, "FAILED", json!("exit code 1: no such \u{1b}[31muser")))),
        step(2, "log-in", (1, 2), at(2_600), Some((7_900, "TIMEOUT", Value::Null))),
        reported,
        step(4, "clean-up", (2, 1), at(9_990), None),
    ];
    show(head("RUNNING", Value::Null, 700), items, Some(500))
}

#[test]
fn a_trace_is_a_timeline() {
    insta::assert_snapshot!(text(&sample(), 100));
}

#[test]
fn the_cases_of_a_suite_are_its_items() {
    let mut case = json!({ "index": 0, "kind": "CASE", "label": "login[os=linux]", "attempt": 1, "step_attempt": 0 });
    case["started_at"] = at(1_000);
    case["case"] = json!({
        "execution_id": "00000000-0000-0000-0000-000000000003", "status": "FAILED", "is_final": true,
        "finished_at": at(6_000), "duration_ms": 5_000, "usage": usage(),
        "failed_step": { "step": "log-in", "outcome": "TIMEOUT" },
    });
    let waiting = json!({ "index": 1, "kind": "CASE", "label": "pay", "attempt": 0, "step_attempt": 0, "case": {
        "execution_id": "00000000-0000-0000-0000-000000000004", "status": "CANCELLED", "is_final": true,
        "finished_at": at(7_000), "duration_ms": 0, "usage": usage() } });
    insta::assert_snapshot!(text(&show(head("FAILED", at(10_000), 2), vec![case, waiting], None), 80));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for columns in [0, 20, MIN_WIDTH, 60, 80, 100, 237] {
        for line in text(&sample(), columns).lines() {
            assert!(width(line) <= columns.max(MIN_WIDTH), "{columns}: {line}");
        }
    }
    assert!(!text(&sample(), MIN_WIDTH).contains('━'), "no room for a timeline");
    assert!(text(&sample(), 80).contains('━'));
}

#[test]
fn an_empty_trace_and_equal_times_do_no_harm() {
    assert!(text(&show(head("PENDING", Value::Null, 0), vec![], None), 80).contains("no such items"));
    let one = step(0, "quick", (1, 1), at(0), Some((0, "PASSED", json!(""))));
    let early = step(1, "by-another-clock", (1, 1), at(-9_999), Some((99_999, "PASSED", json!(""))));
    assert!(text(&show(head("PASSED", at(0), 2), vec![one, early], None), 80).contains("━"));
}
