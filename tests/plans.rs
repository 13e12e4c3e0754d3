//! Golden plans: good ones with the validated plan, broken ones with the exact message. `TESTLEDGER_GOLDEN=write`
//! writes the golden files anew.

use std::fs;
use std::path::{Path, PathBuf};

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
    }
}
