//! Reading what ran: traces, flaky steps, and the executions as they were earlier.

use serde_json::{Value, json};

use crate::support::{Place, eventually, fits, spawn};

/// A case that passes at once, one that needs a second try, one that always fails, and one that is not run.
const PLAN: &str = r#"
suite: mixed
cases:
  - { id: good, steps: [{ id: a, run: "echo fine" }, { id: b, run: [true] }] }
  - { id: wobbly, retries: { max_attempts: 2, backoff: 1ms }, steps: [{ id: a, run: "test -f seen && rm seen || { touch seen; echo cold >&2; exit 1; }" }] }
  - { id: bad, steps: [{ id: a, run: "exit 3" }] }
  - { id: after, needs: [bad], steps: [{ id: a, run: [true] }] }
"#;

#[track_caller]
fn json_of(place: &Place, args: &[&str]) -> Value {
    place.run(&[args, &["--json"]].concat()).expect(0).json()
}

#[test]
fn a_trace_shows_steps_and_cases_with_their_times() {
    let place = Place::new();
    let result = place.plan(PLAN, &["--json"]).expect(100).json();
    let suite = json_of(&place, &["trace", &result["execution_id"].as_str().unwrap()[..13]]);
    let wobbly = json_of(&place, &["trace", &place.id_of("mixed/wobbly")]);
    fits(&place, "trace", &[suite.clone(), wobbly.clone()]);
    let labels = |trace: &Value| -> Vec<String> {
        trace["items"].as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    };
    let mut cases = labels(&suite);
    cases.sort();
    assert_eq!(cases, ["after", "bad", "good", "wobbly"]);
    assert_eq!((labels(&wobbly), &wobbly["trace"]["attempt"]), (vec!["a".to_owned(), "a".to_owned()], &json!(2)));
    assert_eq!(wobbly["trace"]["embedded_steps"], json!([]), "items stand in one place");
    let failed = json_of(&place, &["trace", &place.id_of("mixed"), "--failed"]);
    assert_eq!(labels(&failed), ["bad"], "what was not run did not fail");
    let text = place.run(&["trace", &place.id_of("mixed/wobbly")]).expect(0);
    for words in ["mixed/wobbly  PASSED", "FAILED", "━"] {
        assert!(text.out().contains(words), "{words}: {}", text.all());
    }
    assert!(place.run(&["trace", "00000000"]).expect(2).err().contains("no execution"));
}

#[test]
fn a_long_trace_is_paged_whether_its_items_are_in_partitions_or_not() {
    let steps: String = (0..120).map(|n| format!("{{ id: s{n}, run: [true] }}, ")).collect();
    let place = Place::new();
    place.plan(&format!("suite: long\ncases:\n  - {{ id: c, steps: [{steps}] }}\n"), &[]).expect(0);
    let id = place.id_of("long/c");
    let (mut seen, mut from) = (vec![], 0);
    loop {
        let page = json_of(&place, &["trace", &id, "--limit", "35", "--from", &from.to_string()]);
        assert_eq!(page["trace"]["use_embedded_steps"], json!(false));
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["index"].as_u64().unwrap()));
        let Some(next) = page["next"].as_u64() else { break };
        from = next;
    }
    assert_eq!(seen, (0..120).collect::<Vec<_>>());
    let text = place.run(&["trace", &id, "--limit", "35"]).expect(0);
    assert!(text.out().contains("more: --from 35"), "{}", text.all());
    for columns in ["44", "80", "120"] {
        let narrow = Place::command(&place, &["trace", &id]).env("COLUMNS", columns).output().unwrap();
        let text = String::from_utf8(narrow.stdout).unwrap();
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= columns.parse().unwrap(), "{columns}: {text}");
    }
}

#[test]
fn erased_text_is_in_no_trace_and_in_no_file() {
    let place = Place::new();
    let personal = "Ada-Lovelace-1815";
    place.run(&["run", "--", "sh", "-c", &format!("echo {personal}; exit 1")]).expect(100);
    let id = place.executions()[0]["id"].as_str().unwrap().to_owned();
    assert!(place.run(&["trace", &id, "--json"]).expect(0).out().contains(personal), "the trace holds it at first");
    place.run(&["audit", "erase", "--execution", &id, "--grounds", "asked for"]).expect(0);
    for (name, bytes) in place.store.contents() {
        let holds = bytes.windows(personal.len()).any(|part| part == personal.as_bytes());
        assert!(!holds, "{name} holds it still");
    }
    assert!(!place.run(&["trace", &id, "--json"]).expect(0).out().contains(personal));
    let text = place.run(&["trace", &id]).expect(0);
    assert!(text.out().contains("erased"), "{}", text.all());
}

#[test]
fn flaky_steps_are_listed_the_worst_first() {
    let place = Place::new();
    for _ in 0..6 {
        place.plan(PLAN, &[]).expect(100);
    }
    let list = json_of(&place, &["flaky"]);
    fits(&place, "flaky-list", std::slice::from_ref(&list));
    let steps = list["steps"].as_array().unwrap();
    let states: Vec<(&str, &str)> =
        steps.iter().map(|it| (it["label"]["case"].as_str().unwrap(), it["state"].as_str().unwrap())).collect();
    assert_eq!(states, [("bad", "BROKEN"), ("wobbly", "FLAKY")]);
    assert_eq!((&steps[0]["latest"], &steps[1]["latest"]), (&json!("✗✗✗✗✗✗"), &json!("±±±±±±")));
    let all = json_of(&place, &["flaky", "--all", "--window", "1d"]);
    assert_eq!(all["steps"].as_array().unwrap().len(), 4, "a step that was never run is none");
    let one = json_of(&place, &["flaky", "--limit", "1"]);
    assert_eq!((one["steps"].as_array().unwrap().len(), &one["omitted"]), (1, &json!(1)));
    let text = place.run(&["flaky"]).expect(0);
    assert!(text.out().contains("mixed/wobbly/a") && text.out().contains("±±"), "{}", text.all());
    assert!(place.run(&["flaky", "--window", "30"]).expect(2).err().contains("1d to 366d"));
}

#[test]
fn flaky_steps_are_listed_by_a_rule() {
    let place = Place::new();
    for _ in 0..6 {
        place.plan(PLAN, &[]).expect(100);
    }
    let cases = |rule: &str| -> Vec<String> {
        let list = json_of(&place, &["flaky", "--rule", rule]);
        fits(&place, "flaky-list", std::slice::from_ref(&list));
        assert_eq!((&list["rule"]["name"], &list["seen"]), (&json!(rule), &json!(4)));
        let steps = list["steps"].as_array().unwrap();
        steps.iter().map(|it| it["label"]["case"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(cases("passed_on_retry"), ["wobbly"]);
    assert_eq!(cases("failure_rate"), ["bad"]);
    assert!(cases("transitions").is_empty());
    let text = place.run(&["flaky", "--rule", "passed_on_retry"]).expect(0).out();
    assert!(text.contains("PASSED_ON_RETRY") && text.contains("wobbly"), "{text}");
    let nothing = place.run(&["flaky", "--rule", "transitions"]).expect(0).out();
    assert!(nothing.contains("transitions has something to tell of none of them"), "{nothing}");
    let wrong = place.run(&["flaky", "--rule", "luck"]).expect(2).err();
    assert!(wrong.contains("passed_on_retry, same_code, transitions"), "{wrong}");
}

#[test]
fn one_step_is_shown_with_rules_errors_and_history() {
    let place = Place::new();
    for _ in 0..6 {
        place.plan(PLAN, &[]).expect(100);
    }
    let shown = json_of(&place, &["flaky", "show", "mixed/bad/a"]);
    fits(&place, "flaky-show", std::slice::from_ref(&shown));
    assert_eq!((&shown["state"], &shown["counts"]["failures"]), (&json!("BROKEN"), &json!(6)));
    assert_eq!((shown["runs"].as_array().unwrap().len(), &shown["clusters"][0]["runs"]), (6, &json!(6)));
    let key = shown["step_key"].as_str().unwrap();
    assert_eq!(json_of(&place, &["flaky", "show", &key[..13]]), shown, "a step is found by its key as well");
    let text = place.run(&["flaky", "show", "mixed/wobbly/a"]).expect(0).out();
    for words in ["FLAKY", "passed_on_retry v1", "±±±±±±", "6 failed and then passed", "half of the runs"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for unknown in ["mixed/bad/nothing", "00000000", "bad"] {
        assert!(place.run(&["flaky", "show", unknown]).expect(2).err().contains("no step"), "{unknown}");
    }
}

#[test]
fn a_replay_shows_the_executions_as_they_were() {
    let place = Place::new();
    place.run(&["run", "--", "true"]).expect(0);
    let (first, id) = (place.events(&[]), place.executions()[0]["id"].as_str().unwrap().to_owned());
    let lists = json_of(&place, &["executions", "list"]);
    let shown = json_of(&place, &["executions", "show", &id]);
    let last = first.last().unwrap()["position"].as_u64().unwrap();
    place.plan(PLAN, &[]).expect(100);
    let at = |position: u64| json_of(&place, &["replay", "--at", &position.to_string()]);
    fits(&place, "executions-list", &[at(last)]);
    assert_eq!((at(last), at(0)["executions"].clone()), (lists.clone(), json!([])));
    let then = json_of(&place, &["replay", "--at", &last.to_string(), "--execution", &id]);
    assert_eq!(then, shown, "the view and what its stream said then");
    let started = first.iter().find(|it| it["type"] == "ExecutionStarted").unwrap()["version"].as_u64();
    // At every position of the first execution, its status is what its latest event says, and nothing later shows.
    for event in first.iter().filter(|event| event["execution_id"] == json!(id)) {
        let position = event["position"].as_u64().unwrap();
        let view = &at(position)["executions"][0];
        assert_eq!((&view["last_version"], &view["last_position"]), (&event["version"], &json!(position)));
        let shown = json_of(&place, &["replay", "--at", &position.to_string(), "--execution", &id]);
        assert_eq!(
            !shown["attempts"].as_array().unwrap().is_empty(),
            event["version"].as_u64() >= started,
            "{position}"
        );
    }
    let time = first.last().unwrap()["recorded_at"].as_str().unwrap();
    assert_eq!(json_of(&place, &["replay", "--at", time]), lists, "a time is its last position");
    assert_eq!(json_of(&place, &["replay", "--at", "2020-01-01T00:00:00Z"])["executions"], json!([]));
    let now = json_of(&place, &["executions", "list", "--all"]);
    assert_eq!(json_of(&place, &["replay", "--at", "9999-01-01T00:00:00Z", "--all"]), now);
    assert!(place.run(&["replay", "--at", "999999"]).expect(2).err().contains("has not come to position"));
    place.run(&["replay", "--at", "yesterday"]).expect(2);
    assert!(place.run(&["replay", "--at", "0", "--execution", &id]).expect(2).err().contains("no execution"));
}

/// What a person sees of a run under way can be seen again when it is long over.
#[test]
fn a_replay_in_the_middle_of_a_run_shows_what_was_shown_then() {
    let place = Place::new();
    place.file(
        "plan.yaml",
        r#"
suite: underway
cases:
  - { id: early, steps: [{ id: a, run: "echo wrong; exit 1" }] }
  - { id: waits, steps: [{ id: a, run: [true] }, { id: b, run: "touch up; while [ ! -f go ]; do sleep 0.01; done" }] }
  - { id: later, needs: [waits], steps: [{ id: a, run: [true] }] }
"#,
    );
    let running = place.start(&["run", "plan.yaml", "--jobs", "2"]);
    place.await_file("up");
    eventually("the other case is over", || (place.status("underway/early") == "FAILED").then_some(()));
    // Nothing is appended while the step waits for us.
    let position = place.events(&[]).last().unwrap()["position"].as_u64().unwrap();
    let look = |then: &[&str]| -> Vec<Value> {
        let ids = place.executions().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let list = if then.is_empty() { vec!["executions", "list", "--all"] } else { [then, &["--all"]].concat() };
        let mut seen = vec![json_of(&place, &list)];
        for id in &ids {
            let show =
                if then.is_empty() { vec!["executions", "show", id] } else { [then, &["--execution", id]].concat() };
            seen.push(json_of(&place, &show));
        }
        seen
    };
    let shown = look(&[]);
    assert_eq!(place.events(&[]).last().unwrap()["position"].as_u64(), Some(position));
    place.file("go", "");
    running.wait().expect(100);
    let at = position.to_string();
    assert_eq!(look(&["replay", "--at", &at]), shown);
    assert_ne!(look(&[]), shown, "the run went on since");
}

/// The threshold that views were begun with holds for all that fold them, until they are rebuilt.
#[test]
fn the_threshold_of_traces_is_a_setting_of_their_views() {
    let place = Place::new();
    place.plan(PLAN, &[]).expect(100);
    place.run(&["projections", "rebuild", "traces"]).expect(0);
    let embedded = || -> Vec<bool> {
        let ids = place.executions().into_iter().map(|it| it["id"].as_str().unwrap().to_owned());
        ids.map(|id| json_of(&place, &["trace", &id])["trace"]["use_embedded_steps"].as_bool().unwrap()).collect()
    };
    assert!(embedded().iter().all(|is| *is));
    let mut rebuilding = place.command(&["projections", "rebuild", "traces"]);
    rebuilding.env("TESTLEDGER_TRACE_EMBEDDING_THRESHOLD", "1");
    spawn(rebuilding).wait().expect(0);
    // The suite has four items, `good` and `wobbly` two, `bad` one, `after` none.
    assert_eq!(embedded().iter().filter(|is| **is).count(), 2);
    place.plan(PLAN, &[]).expect(100);
    assert_eq!(embedded().iter().filter(|is| **is).count(), 4, "another process keeps to it");
    place.run(&["audit", "verify", "--views"]).expect(0);
    place.run(&["projections", "rebuild", "traces"]).expect(0);
    assert!(embedded().iter().all(|is| *is));
    let mut wrong = place.command(&["settings"]);
    wrong.env("TESTLEDGER_TRACE_EMBEDDING_THRESHOLD", "51");
    assert!(spawn(wrong).wait().expect(2).err().contains("0 to 50"));
}
