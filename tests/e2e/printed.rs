//! What the commands print: JSON that fits its schema, help, JUnit XML that our own reader understands, exports, erasure.

use serde_json::json;
use testledger::steps::junit;
use testledger_schemas::StepOutcome;

use crate::support::{Place, fits};

const PLAN: &str = r#"
suite: mixed
name: A mixed bag
cases:
  - { id: good, steps: [{ id: a, run: "echo '<&>\"'" }] }
  - { id: bad, steps: [{ id: a, run: "echo wrong; exit 1" }] }
  - { id: late, steps: [{ id: a, timeout: 100ms, run: "sleep 600" }] }
  - { id: flaky, retries: { max_attempts: 2, backoff: 1ms }, steps: [{ id: a, run: "test -f seen || { touch seen; exit 1; }" }] }
  - { id: after, needs: [bad], steps: [{ id: a, run: [true] }] }
"#;

#[test]
fn json_output_fits_the_published_schemas() {
    let place = Place::new();
    let result = place.plan(PLAN, &["--json"]).expect(100).json();
    fits(&place, "run", std::slice::from_ref(&result));
    assert_eq!((&result["exit_code"], &result["status"]), (&json!(100), &json!("FAILED")));
    place.run(&["run", "--", "nowhere-to-be-found"]).expect(100);
    fits(&place, "executions-list", &[place.run(&["executions", "list", "--json", "--all"]).expect(0).json()]);
    for execution in place.executions() {
        let id = execution["id"].as_str().unwrap();
        fits(&place, "executions-show", &[place.run(&["executions", "show", id, "--json"]).expect(0).json()]);
    }
    fits(&place, "audit-verify", &[place.run(&["audit", "verify", "--json"]).expect(0).json()]);
    let retried =
        place.run(&["executions", "retry", result["execution_id"].as_str().unwrap(), "--json"]).expect(100).json();
    fits(&place, "run", &[retried]);
    let names = place.run(&["schema"]).expect(0).out();
    for name in names.lines() {
        let schema = place.run(&["schema", name]).expect(0).json();
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(place.run(&["schema", "paln"]).expect(2).err().contains("plan"));
}

#[test]
fn lists_can_be_filtered_and_paged() {
    let place = Place::new();
    place.plan(PLAN, &[]).expect(100);
    let labels = |args: &[&str]| -> Vec<String> {
        let page = place.run(&[&["executions", "list", "--json"], args].concat()).expect(0).json();
        page["executions"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(labels(&[]), ["mixed"]);
    assert_eq!(labels(&["--all", "--status", "cancelled"]), ["mixed/after"]);
    assert_eq!(labels(&["--all"]).len(), 6);
    let mut seen = vec![];
    let mut place_in_list = String::new();
    loop {
        let more = format!("--after={place_in_list}");
        let mut args = vec!["executions", "list", "--json", "--all", "--limit", "4"];
        args.extend((!place_in_list.is_empty()).then_some(more.as_str()));
        let page = place.run(&args).expect(0).json();
        seen.extend(page["executions"].as_array().unwrap().iter().map(|one| one["label"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        place_in_list = next.to_owned();
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    let text = place.run(&["executions", "list", "--all", "--limit", "4"]).expect(0);
    assert!(text.out().contains("--after"), "{}", text.all());
}

#[test]
fn lists_can_be_asked_for_anything_and_in_any_order() {
    let place = Place::new();
    place.plan(PLAN, &["--actor", "ada", "--revision", "c0ffee", "--jobs", "1"]).expect(100);
    place.run(&["run", "--actor", "grace", "--", "true"]).expect(0);
    let labels = |args: &[&str]| -> Vec<String> {
        let page = place.run(&[&["executions", "list", "--json"], args].concat()).expect(0).json();
        page["executions"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(labels(&["--type", "suite"]), ["mixed"]);
    assert_eq!(labels(&["--type", "generic"]).len(), 6);
    assert_eq!(labels(&["--type", "manual"]), [""; 0]);
    assert_eq!(labels(&["--actor", "ada"]), ["mixed"]);
    assert_eq!(labels(&["--revision", "c0ffee", "--all"]).len(), 6);
    assert_eq!(labels(&["--revision", ""]), [""; 0], "an empty one is nobody's");
    assert_eq!(labels(&["--text", "Mixed, LATE"]), ["mixed/late"]);
    assert_eq!(labels(&["--text", "MIXED bag"]), ["mixed"]);
    assert_eq!(labels(&["--since", "1h"]).len(), 2);
    assert_eq!(labels(&["--until", "1h"]), [""; 0]);
    assert_eq!(labels(&["--all", "--sort", "oldest"])[0], "mixed");
    let times = |order: &str| -> Vec<u64> {
        let page = place.run(&["executions", "list", "--json", "--all", "--sort", order]).expect(0).json();
        page["executions"].as_array().unwrap().iter().map(|one| one["total_duration_ms"].as_u64().unwrap()).collect()
    };
    let (slowest, fastest) = (times("slowest"), times("fastest"));
    assert!(
        slowest.is_sorted_by(|a, b| a >= b) && fastest.is_sorted() && slowest.len() == 7,
        "{slowest:?} {fastest:?}"
    );
    assert!(labels(&["--min-duration", "100ms", "--all"]).contains(&"mixed/late".to_owned()));
    assert!(!labels(&["--max-duration", "99ms", "--all"]).contains(&"mixed/late".to_owned()));
    for (args, mend) in [
        (["--sort", "biggest"], "newest, oldest, slowest, fastest"),
        (["--since", "yesterday"], "7d, 2h"),
        (["--text", "--"], "no word"),
        (["--min-duration", "long"], "1m30s"),
        (["--type", "unit"], "generic"),
    ] {
        let refused = place.run(&["executions", "list", &format!("{}={}", args[0], args[1])]).expect(2);
        assert!(refused.err().contains(mend), "{}", refused.all());
    }
}

#[test]
fn a_reader_waits_for_the_position_it_was_told_of() {
    let place = Place::new();
    place.plan(PLAN, &[]).expect(100);
    let last = place.events(&[]).last().unwrap()["position"].as_u64().unwrap();
    let there = last.to_string();
    place.run(&["executions", "list", "--min-position", &there]).expect(0);
    let id = place.executions()[0]["id"].as_str().unwrap().to_owned();
    let next = (last + 1).to_string();
    let commands = [&["executions", "list"][..], &["executions", "show", &id], &["trace", &id]];
    for command in commands {
        let late = place.run(&[command, &["--min-position", &next, "--wait", "300ms"]].concat()).expect(111);
        assert!(late.err().contains(&format!("position {last} after 300 ms, not to {next}")), "{}", late.all());
    }
    // Somebody runs another one meanwhile: its engine has the next position, its request the one after.
    let request = (last + 2).to_string();
    let waiting = place.start(&["executions", "list", "--min-position", &request, "--wait", "60s", "--json"]);
    place.run(&["run", "--", "true"]).expect(0);
    assert_eq!(waiting.wait().expect(0).json()["executions"].as_array().unwrap().len(), 2);
}

#[test]
fn the_junit_report_says_what_the_run_says() {
    let place = Place::new();
    place.plan(PLAN, &["--junit", "new/folder/out.xml"]).expect(100);
    let xml = std::fs::read(place.path().join("new/folder/out.xml")).unwrap();
    let cases = junit::read(&xml, ("mixed", "c", "")).unwrap();
    let count = |outcome| cases.iter().filter(|case| case.result.outcome == outcome).count();
    assert_eq!(cases.len(), 5, "{}", String::from_utf8_lossy(&xml));
    assert_eq!((count(StepOutcome::Passed), count(StepOutcome::Skipped)), (2, 1));
    assert_eq!(cases.len() - count(StepOutcome::Passed) - count(StepOutcome::Skipped), 2);
}

#[test]
fn a_report_that_cannot_be_written_is_found_out_before_anything_runs() {
    let place = Place::new();
    place.file("file", "");
    for path in ["file/out.xml", "."] {
        let ended = place.run(&["run", "--junit", path, "--", "touch", "ran"]).expect(110);
        assert!(ended.err().contains("cannot be written"), "{}", ended.all());
        assert!(!place.path().join("ran").exists());
    }
    place.run(&["run", "--junit", "/dev/full", "--", "true"]).expect(110);
    assert_eq!(place.executions()[0]["status"], "PASSED");
}

#[test]
fn every_command_has_its_help() {
    let place = Place::new();
    let commands = [
        "",
        "run",
        "executions",
        "executions list",
        "executions show",
        "executions cancel",
        "executions retry",
        "trace",
        "flaky",
        "flaky show",
        "project",
        "projections",
        "projections status",
        "projections rebuild",
        "projections pause",
        "projections resume",
        "replay",
        "events",
        "plan",
        "plan check",
        "schema",
        "audit",
        "audit verify",
        "audit export",
        "audit erase",
        "settings",
        "completions",
    ];
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let ended = place.run(&words).expect(0);
        assert!(ended.out().contains("Usage: testledger"), "{command}: {}", ended.all());
        assert!(ended.stderr.is_empty(), "{command}: {}", ended.all());
    }
    assert!(place.run(&["--help"]).out().contains("130"), "the exit codes are not in the help");
    assert!(place.run(&["--version"]).expect(0).out().starts_with("testledger "));
    assert!(!place.run(&["completions", "bash"]).expect(0).stdout.is_empty());
}

#[test]
fn settings_show_where_they_come_from() {
    let place = Place::new().env("TESTLEDGER_JOBS", "7");
    place.file("testledger.toml", "grace = \"3s\"\njobs = 5\n");
    let said = place.run(&["settings"]).expect(0).out();
    let store = format!("store = \"{}\"", place.store.setting().unwrap_or("sqlite:.testledger/ledger.db"));
    for wanted in ["jobs = 7", "grace = \"3s\"", "TESTLEDGER_GRACE", &store] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // What is printed is a settings file.
    place.file("testledger.toml", &said);
    place.run(&["settings"]).expect(0);
}

#[test]
fn an_export_verifies_by_itself() {
    let place = Place::new();
    let result = place.plan(PLAN, &["--json"]).expect(100).json();
    place.run(&["audit", "export", "--output", "log.jsonl"]).expect(0);
    let bytes = std::fs::read(place.path().join("log.jsonl")).unwrap();
    assert_eq!(place.run(&["audit", "export"]).expect(0).stdout, bytes);
    let anchor = result["anchor"].as_str().unwrap().parse().unwrap();
    let report = testledger::audit::verify_export(&mut &bytes[..], Some(anchor)).unwrap();
    assert!(report.is_clean(), "{}", report.to_text());
    let text = String::from_utf8(bytes).unwrap().replacen("\"FAILED\"", "\"PASSED\"", 1);
    let report = testledger::audit::verify_export(&mut text.as_bytes(), None).unwrap();
    assert!(!report.is_clean());
    place.run(&["audit", "export", "--output", "no/such/folder/x"]).expect(110);
}

#[test]
fn erased_content_is_gone_everywhere_and_the_log_verifies_and_names_it() {
    let place = Place::new();
    let personal = "Ada-Lovelace-1815";
    place.run(&["run", "--", "sh", "-c", &format!("seq 1 20000; echo {personal}; exit 1")]).expect(100);
    place.run(&["run", "--", "echo", "another"]).expect(0);
    let id = place.executions()[1]["id"].as_str().unwrap().to_owned();
    let held = |place: &Place| -> Vec<String> {
        let contents = place.store.contents().into_iter();
        let with = contents.filter(|(_, bytes)| bytes.windows(personal.len()).any(|part| part == personal.as_bytes()));
        with.map(|(name, _)| name).collect()
    };
    assert!(!held(&place).is_empty());
    place.run(&["audit", "erase", "--execution", &id]).expect(2);
    let ended = place.run(&["audit", "erase", "--execution", &id, "--grounds", "the person asked for it"]).expect(0);
    assert!(ended.out().contains("erased"), "{}", ended.all());
    assert_eq!(held(&place), Vec::<String>::new());
    for args in [
        &["executions", "show", &id][..],
        &["executions", "show", &id, "--json"],
        &["events", "--json"],
        &["events"],
        &["executions", "list", "--all", "--json"],
        &["audit", "export"],
    ] {
        let ended = place.run(args).expect(0);
        assert!(!ended.out().contains(personal), "{args:?}: {}", ended.all());
    }
    let verified = place.run(&["audit", "verify"]).expect(0);
    assert!(verified.out().contains("erased"), "{}", verified.all());
    assert!(!verified.out().contains("0 erased"), "{}", verified.all());
    let erased = place.events_of("DataErased");
    assert!(!erased.is_empty() && erased[0].to_string().contains("the person asked for it"));
    let again = place.run(&["audit", "erase", "--execution", &id, "--grounds", "again"]).expect(0);
    assert!(again.out().contains("erased before"), "{}", again.all());
    assert_eq!(place.events_of("DataErased").len(), erased.len());
    assert!(place.run(&["executions", "retry", &id]).expect(2).err().contains("erased"));
}
