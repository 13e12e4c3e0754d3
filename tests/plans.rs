//! Golden plans: good ones with the validated plan, broken ones with the exact message. `TESTLEDGER_GOLDEN=write`
//! writes the golden files anew.

#![allow(clippy::unwrap_used)] // A test may panic.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testledger::plan::{Origin, parse};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    files
}

fn origin(path: &Path) -> Origin {
    let name = PathBuf::from(path.file_name().unwrap());
    Origin::of_file(&name, "/plans".into())
}

/// Compares with the golden file beside the plan, or writes it.
fn compare(path: &Path, ending: &str, found: &str) {
    let golden = path.with_extension(ending);
    if std::env::var("TESTLEDGER_GOLDEN").is_ok_and(|value| value == "write") {
        fs::write(&golden, found).unwrap();
    }
    let wanted = fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(found, wanted, "{}", golden.display());
}

#[test]
fn good_plans_become_what_is_written_beside_them() {
    let files = files("good");
    assert!(files.len() >= 8, "{} good plans", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let plan = parse(&text, &origin(&path)).unwrap_or_else(|errors| panic!("{errors}"));
        compare(&path, "json", &(serde_json::to_string_pretty(&plan).unwrap() + "\n"));
        let again: testledger_schemas::Plan = serde_json::from_slice(&plan.to_bytes()).unwrap();
        assert_eq!(again, plan, "{}", path.display());
    }
}

#[test]
fn broken_plans_are_refused_with_the_message_beside_them() {
    let files = files("broken");
    assert!(files.len() >= 40, "{} broken plans", files.len());
    for path in files {
        // What is broken may be the text itself, so it is not taken for UTF-8 on trust.
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        let errors = parse(&text, &origin(&path)).expect_err(&path.display().to_string());
        compare(&path, "txt", &errors.to_string());
    }
}

#[test]
fn every_message_has_a_place_and_a_mend() {
    for path in files("broken") {
        let text = fs::read_to_string(&path).unwrap();
        let errors = parse(&text, &origin(&path)).unwrap_err();
        let lines = text.lines().count().max(1);
        assert!(!errors.problems.is_empty());
        for problem in &errors.problems {
            let place = problem.place;
            assert!((1..=lines + 1).contains(&place.line) && place.column >= 1, "{} {place:?}", path.display());
            assert!(place.offset + place.length <= text.len(), "{} {place:?}", path.display());
            assert!(text.is_char_boundary(place.offset), "{} {place:?}", path.display());
            assert!(!problem.message.is_empty() && problem.mend.len() > 10, "{} {problem:?}", path.display());
            let line = format!("{}:{}:{}: ", errors.file, place.line, place.column);
            assert!(errors.to_string().contains(&line), "{line}");
        }
    }
}

#[test]
fn messages_are_drawn_with_the_line_they_are_about() {
    for path in files("broken") {
        let text = fs::read_to_string(&path).unwrap();
        let errors = parse(&text, &origin(&path)).unwrap_err();
        let drawn = errors.fancy(100, false);
        assert!(drawn.contains("help:"), "{drawn}");
        if path.with_extension("drawn").exists() {
            compare(&path, "drawn", &drawn);
        }
    }
}

/// The published schema, ready to validate.
fn schema() -> jsonschema::Validator {
    jsonschema::validator_for(&testledger_schemas::published::plan_schema()).unwrap()
}

#[test]
fn the_published_schema_accepts_every_good_plan() {
    let schema = schema();
    for path in files("good") {
        let json = as_json(&fs::read_to_string(&path).unwrap());
        let errors: Vec<String> =
            schema.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    }
}

#[test]
fn the_published_schema_refuses_unknown_keys_and_wrong_types() {
    let schema = schema();
    for name in ["10-unknown-keys", "11-no-cases", "12-empty-cases", "14-wrong-types", "17-bad-durations", "42-retries"]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/broken").join(name).with_extension("yaml");
        assert!(!schema.is_valid(&as_json(&fs::read_to_string(&path).unwrap())), "{name}");
    }
}

/// The plan as JSON. Plain scalars are typed as YAML 1.2 does it, which is how the schema sees them in an editor.
fn as_json(text: &str) -> Value {
    let mut options = serde_saphyr::Options::default();
    options.strict_booleans = true;
    serde_saphyr::from_str_with_options(text, options).unwrap()
}

/// Every place in a value, as JSON Pointers.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                pointers(field, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| pointers(item, &format!("{at}/{index}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn what_the_published_schema_refuses_is_refused() {
    let schema = schema();
    let strangers =
        [Value::Null, json!(true), json!(5), json!(0.5), json!("x"), json!([]), json!({}), json!({ "zz": 1 })];
    let mut refused = 0;
    for path in files("good") {
        let plan = as_json(&fs::read_to_string(&path).unwrap());
        let mut places = vec![];
        pointers(&plan, "", &mut places);
        for place in places {
            for stranger in &strangers {
                let mut broken = plan.clone();
                *broken.pointer_mut(&place).unwrap() = stranger.clone();
                let text = broken.to_string();
                if !schema.is_valid(&broken) {
                    refused += 1;
                    assert!(parse(&text, &origin(&path)).is_err(), "{place} in {} as {stranger}", path.display());
                }
            }
        }
    }
    assert!(refused > 300, "{refused}");
}
