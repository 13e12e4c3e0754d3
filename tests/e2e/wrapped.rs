//! `run -- CMD`: the command's exit code, its output unchanged, and the report of a tool as results of its cases.

use serde_json::json;

use crate::support::Place;

#[test]
fn the_exit_code_is_recorded_and_the_run_says_that_tests_failed() {
    let place = Place::new();
    let ended = place.run(&["run", "--", "sh", "-c", "exit 7"]).expect(100);
    assert!(ended.err().contains("exit code 7"), "{}", ended.all());
    let finished = place.events_of("StepFinished");
    assert_eq!(finished.len(), 1);
    assert_eq!((&finished[0]["data"]["exit_code"], &finished[0]["data"]["outcome"]), (&json!(7), &json!("FAILED")));
    place.verify();
}

#[test]
fn output_passes_through_unchanged_on_both_streams() {
    let place = Place::new();
    let every_byte: String = (0..=255).map(|byte| format!("\\{byte:03o}")).collect();
    let line = format!("printf '{every_byte}'; printf '{every_byte}{every_byte}no newline' >&2");
    let ended = place.run(&["run", "--", "sh", "-c", &line]).expect(0);
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(ended.stdout, bytes);
    let twice = [&bytes[..], &bytes[..], b"no newline"].concat();
    assert_eq!(&ended.stderr[..twice.len()], twice, "{}", ended.all());
}

#[test]
fn a_signal_that_ends_the_command_is_recorded() {
    let place = Place::new();
    let ended = place.run(&["run", "--", "sh", "-c", "kill -SEGV $$"]).expect(100);
    assert!(ended.err().to_lowercase().contains("signal") || ended.err().contains("SIGSEGV"), "{}", ended.all());
    assert_eq!(place.events_of("StepFinished")[0]["data"]["signal"], 11);
}

#[test]
fn a_program_that_does_not_exist_is_an_error_that_says_so() {
    let place = Place::new();
    let ended = place.run(&["run", "--", "no-such-program-here", "-q"]).expect(100);
    assert!(ended.err().contains("no program `no-such-program-here`"), "{}", ended.all());
    let finished = &place.events_of("StepFinished")[0];
    assert_eq!(finished["data"]["outcome"], "ERROR");
    assert!(finished["content"]["message"].as_str().unwrap().contains("no-such-program-here"), "{finished:#}");
    place.file("script", "#!/bin/sh\n");
    let ended = place.run(&["run", "--", "./script"]).expect(100);
    assert!(ended.err().contains("./script"), "{}", ended.all());
}

#[test]
fn a_command_runs_in_the_callers_directory_and_environment() {
    let place = Place::new().env("COLOUR", "teal");
    let ended = place.run(&["run", "--", "sh", "-c", "pwd; echo $COLOUR"]).expect(0);
    let folder = place.path().canonicalize().unwrap();
    assert_eq!(ended.out(), format!("{}\nteal\n", folder.display()));
}

const REPORT: &str = r#"<testsuites><testsuite name="unit" tests="4" failures="1" errors="0" skipped="1">
<testcase classname="pkg" name="adds" time="0.010"/>
<testcase classname="pkg" name="divides" time="0.020"><failure message="0 is not 1">trace</failure></testcase>
<testcase classname="pkg" name="later"><skipped message="not today"/></testcase>
<testcase classname="pkg" name="multiplies" time="0.030"/>
</testsuite></testsuites>"#;

#[test]
fn a_tools_report_becomes_results_of_its_cases() {
    let place = Place::new();
    place.file("ready-made.xml", REPORT);
    let plan = r#"
suite: reported
cases:
  - id: unit
    steps: [{ id: tool, run: "cp ready-made.xml out.xml; exit 1", report: { junit: out.xml } }]
"#;
    let ended = place.plan(plan, &["--json"]).expect(100);
    let result = ended.json();
    assert_eq!(result["reported"], json!({ "PASSED": 2, "FAILED": 1, "SKIPPED": 1 }));
    let reported = place.events_of("StepResultsReported");
    assert_eq!(reported.len(), 1);
    assert_eq!(reported[0]["data"]["results"].as_array().unwrap().len(), 4);
    assert!(reported[0]["content"].to_string().contains("0 is not 1"));
    place.verify();
}

#[test]
fn a_report_that_is_missing_or_broken_fails_the_step_and_says_why() {
    let plan = "suite: r\ncases:\n  - id: c\n    steps: [{ id: t, run: 'echo \"<testsuite><oops\" > bad.xml', report: { junit: FILE } }]\n";
    for file in ["bad.xml", "never.xml"] {
        let place = Place::new();
        let ended = place.plan(&plan.replace("FILE", file), &[]).expect(100);
        assert!(ended.out().contains(file) || ended.out().contains("report"), "{}", ended.all());
    }
}
