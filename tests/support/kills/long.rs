//! A suite of 200 cases that is killed on its way, beside one that is not.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::compare::label;
use super::{Arena, Blow, Found};

/// The plan of the suite that is killed on its way: 200 cases, a service, a capture in each.
const LONG_PLAN: &str = r#"
suite: long
services:
  - { id: web, run: "echo ready; exec sleep 600", ready: { log: ready } }
cases:
  - id: case
    matrix: { n: [CELLS] }
    steps:
      - { id: get, run: [sh, -c, "sleep 0.02; echo value-$1", sh, "{{ matrix.n }}"], capture: { v: { regex: "value-(.*)" } } }
      - { id: use, run: [sh, -c, "sleep 0.02; test $1 = $2", sh, "{{ v }}", "{{ matrix.n }}"] }
"#;
/// How many cases it has.
pub const LONG_CASES: usize = 200;

/// What a suite has come to, step by step: label, step, outcome of its last run; and how often engines were lost.
#[derive(PartialEq, Eq, Debug)]
pub struct Record {
    pub verdicts: BTreeMap<String, String>,
    pub steps: BTreeMap<(String, String), String>,
}

/// Runs the long suite undisturbed, and once more killed so many times on its way. Both records, and the number of recorded
/// interruptions of the suite.
pub fn long_suite(
    program: &Path,
    folder: &Path,
    store: Option<&str>,
    kills: usize,
    seed: u64,
) -> (Record, Record, u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let arena = Arena::new(program, folder, store);
    let cells: Vec<String> = (0..LONG_CASES).map(|cell| cell.to_string()).collect();
    std::fs::write(folder.join("plan.yaml"), LONG_PLAN.replace("CELLS", &cells.join(", "))).unwrap();
    let (code, out, err) = arena.ask(&["run", "plan.yaml", "--jobs", "4"]);
    assert_eq!(code, 0, "{out}{err}");
    let calm = arena.record(0);
    let seen = calm.2;
    let mut found = Found::default();
    let mut args: &[&str] = &["run", "plan.yaml", "--jobs", "4"];
    while found.kills < kills {
        let blow = Blow::After(Duration::from_millis(random.random_range(350..500)));
        assert!(arena.kill_one(args, &blow, &mut found), "it was over before it could be killed {kills} times");
        args = &["recover"];
    }
    let (code, out, err) = arena.ask(&["recover"]);
    assert_eq!(code, 0, "{out}{err}");
    arena.check_whole(&mut found);
    assert!(found.is_clean(), "{found:?}");
    let killed = arena.record(seen);
    (calm.0, killed.0, killed.1)
}

impl Arena<'_> {
    /// What the executions have come to that began after a position; the interruptions of the suite; the last position.
    fn record(&self, after: u64) -> (Record, u64, u64) {
        let (_, out, _) = self.ask(&["events", "--json", "--after", &after.to_string()]);
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        let mut record = Record { verdicts: BTreeMap::new(), steps: BTreeMap::new() };
        let (mut interruptions, mut last) = (0, after);
        for event in out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            last = event["position"].as_u64().unwrap();
            let Some(execution) = event["execution_id"].as_str() else { continue };
            let data = &event["data"];
            let label = labels.entry(execution.to_owned()).or_insert_with(|| label(data)).clone();
            match event["type"].as_str().unwrap() {
                "StepFinished" if data["will_retry"] == false => {
                    let step = data["run"]["step"].as_str().unwrap().to_owned();
                    record.steps.insert((label, step), data["outcome"].to_string());
                }
                "ExecutionInterrupted" if !label.contains('/') => interruptions += 1,
                verdict @ ("ExecutionPassed" | "ExecutionFailed" | "ExecutionCancelled" | "ExecutionTimedOut") => {
                    record.verdicts.insert(label, verdict.to_owned());
                }
                _ => {}
            }
        }
        (record, interruptions, last)
    }
}
