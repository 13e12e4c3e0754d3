//! What happened in the world, compared with what the log says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Arena, Found, VERDICTS};

impl Arena<'_> {
    /// Compares everything that was added to the log since the last call.
    pub(super) fn check_log(&mut self, found: &mut Found) {
        let (_, out, _) = self.ask(&["events", "--json", "--after", &self.seen.to_string()]);
        let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        self.seen =
            events.last().map_or(self.seen, |event| usize::try_from(event["position"].as_u64().unwrap()).unwrap());
        let mut started: BTreeMap<String, usize> = BTreeMap::new();
        let mut ended: BTreeMap<String, usize> = BTreeMap::new();
        let mut begun_for_sure: BTreeMap<String, usize> = BTreeMap::new();
        let mut runs: BTreeMap<String, usize> = BTreeMap::new();
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for event in &events {
            let Some(execution) = event["execution_id"].as_str() else { continue };
            let data = &event["data"];
            let run = &data["run"];
            let mark = format!("{execution}/{}/{}", run["attempt"], run["step"].as_str().unwrap_or(""));
            match event["type"].as_str().unwrap() {
                "ExecutionRequested" => drop(labels.insert(execution.to_owned(), label(data))),
                "StepStarted" => {
                    *started.entry(mark.clone()).or_default() += 1;
                    *runs.entry(format!("{mark} {}", run["step_attempt"])).or_default() += 1;
                }
                "StepFinished" => {
                    *ended.entry(mark.clone()).or_default() += 1;
                    if data["outcome"] != "INTERRUPTED" {
                        *begun_for_sure.entry(mark).or_default() += 1;
                    }
                }
                "ExecutionPassed" => drop(last.insert(execution.to_owned(), "PASSED".to_owned())),
                "ExecutionFailed" if data["will_retry"] == false => {
                    last.insert(execution.to_owned(), "FAILED".to_owned());
                }
                "ExecutionCancelled" => drop(last.insert(execution.to_owned(), "CANCELLED".to_owned())),
                "ExecutionTimedOut" => drop(last.insert(execution.to_owned(), "TIMEOUT".to_owned())),
                _ => {}
            }
        }
        let marks = std::fs::read_to_string(self.folder.join("marks")).unwrap_or_default();
        let mut begun: BTreeMap<String, usize> = BTreeMap::new();
        marks.lines().for_each(|line| *begun.entry(line.to_owned()).or_default() += 1);
        std::fs::write(self.folder.join("marks"), "").unwrap();
        for (mark, count) in &begun {
            let known = started.get(mark).copied().unwrap_or(0);
            found.note(
                |it| &mut it.lost,
                count.saturating_sub(known),
                || format!("{mark} began {count} times, the log has {known}"),
            );
        }
        for (mark, count) in &begun_for_sure {
            let really = begun.get(mark).copied().unwrap_or(0);
            found.note(
                |it| &mut it.doubled,
                count.saturating_sub(really),
                || format!("{mark} ended {count} times, and began {really}"),
            );
        }
        for (run, count) in &runs {
            found.note(|it| &mut it.doubled, count - 1, || format!("{run} stands {count} times in the log"));
        }
        let open = started.iter().filter(|(mark, count)| ended.get(*mark) != Some(*count)).count();
        found.note(|it| &mut it.stuck, open, || "a started step has not exactly one end".to_owned());
        for (execution, label) in &labels {
            let wanted = VERDICTS.iter().find(|(name, _)| name == label).map(|(_, verdict)| *verdict);
            let is_so = last.get(execution).map(String::as_str) == wanted;
            found.note(
                |it| &mut it.wrong_verdicts,
                usize::from(!is_so),
                || format!("{label} ({execution}) came to {:?}, not {wanted:?}", last.get(execution)),
            );
        }
    }
}

/// Suite, case and matrix of a request.
pub(super) fn label(data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or("").to_owned();
    match (text("case"), text("matrix")) {
        (case, _) if case.is_empty() => text("suite"),
        (case, matrix) if matrix.is_empty() => format!("{}/{case}", text("suite")),
        (case, matrix) => format!("{}/{case}[{matrix}]", text("suite")),
    }
}
