//! Tests of the reader: a golden listing for each dialect, refusals, bounds, and properties on damaged input.

use std::collections::HashSet;

use proptest::prelude::*;
use testledger_schemas::Event;
use testledger_schemas::event::{ReportContent, StepResultsReported, StepRun};

use super::*;

macro_rules! dialects {
    ($($name:literal),* $(,)?) => {
        /// The fixtures: `pytest-*`, `nextest` and `node` were written by the tools themselves, the others by hand after
        /// the tools' sources.
        const DIALECTS: &[(&str, &str)] = &[$(($name, include_str!(concat!("fixtures/", $name, ".xml")))),*];
    };
}
dialects!(
    "pytest-xunit2",
    "pytest-xunit1",
    "nextest",
    "node",
    "surefire",
    "gotestsum",
    "jest",
    "mocha",
    "ctest",
    "phpunit",
    "gtest",
    "unittest",
);

const IDENTITY: (&str, &str, &str) = ("suite", "case", "");

fn listing(xml: &str) -> String {
    let line = |reported: Reported| {
        let Reported { result, case } = reported;
        let detail = result.detail.map_or(String::new(), |detail| format!(" ({detail})"));
        let kind = result.error.map_or(String::new(), |error| format!(" {:?}", error.kind));
        let message: Vec<&str> = case.message.lines().take(2).collect();
        format!("{}{detail}{kind} {} ms | {} | {}\n", result.outcome, result.duration_ms, case.name, message.join("⏎"))
    };
    read(xml.as_bytes(), IDENTITY).unwrap().into_iter().map(line).collect()
}

#[test]
fn every_dialect_is_read() {
    for (name, xml) in DIALECTS {
        insta::assert_snapshot!(*name, listing(xml));
    }
}

#[test]
fn names_and_keys_are_unique() {
    for (name, xml) in DIALECTS {
        let reported = read(xml.as_bytes(), IDENTITY).unwrap();
        let names: HashSet<&str> = reported.iter().map(|reported| reported.case.name.as_str()).collect();
        let keys: HashSet<StepKey> = reported.iter().map(|reported| reported.result.step_key).collect();
        assert_eq!((names.len(), keys.len()), (reported.len(), reported.len()), "{name}");
    }
}

#[test]
fn an_identity_survives_another_order() {
    let case = |suite: &str, name: &str| {
        format!("<testsuite name='{suite}'><testcase classname='C' name='{name}'/></testsuite>")
    };
    let keys = |parts: &[String]| -> HashSet<(String, StepKey)> {
        let xml = format!("<testsuites>{}</testsuites>", parts.concat());
        let reported = read(xml.as_bytes(), IDENTITY).unwrap();
        reported.into_iter().map(|reported| (reported.case.name, reported.result.step_key)).collect()
    };
    let parts = [case("a", "one"), case("b", "one"), case("b", "two")];
    let turned: Vec<String> = parts.iter().rev().cloned().collect();
    assert_eq!(keys(&parts), keys(&turned));
    assert!(keys(&parts).iter().any(|(name, _)| name == "b::C::one"));
}

fn read_text(xml: &str) -> Result<Vec<Reported>, ReportError> {
    read(xml.as_bytes(), IDENTITY)
}

#[test]
fn repeated_names_are_numbered_around_names_that_look_numbered() {
    let xml =
        "<testsuite><testcase name='a'/><testcase name='a#2'/><testcase name='a'/><testcase name='a'/></testsuite>";
    let names: Vec<String> = read_text(xml).unwrap().into_iter().map(|reported| reported.case.name).collect();
    assert_eq!(names, ["a", "a#2", "a#3", "a#4"]);
}

#[test]
fn what_is_no_report_is_refused_with_place_and_mend() {
    let billion_laughs = "<?xml version='1.0'?>\n<!DOCTYPE t [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]>\n<testsuite/>";
    let deep = format!("<testsuite>{}", "<testsuite>".repeat(MAX_DEPTH));
    let refused = [
        "",
        "  \n",
        "<testsuite><testcase name='a'>",
        "<testsuite>\n  <testcase></testsuite>",
        "<html></html>",
        billion_laughs,
        &deep,
        "<testsuite/>\n<testsuite/>",
        "{\"tests\": 1}",
        "<testsuite><testcase name='a",
    ];
    let lines: String = refused.iter().map(|xml| format!("{}\n", read_text(xml).unwrap_err())).collect();
    insta::assert_snapshot!("refusals", lines);
}

#[test]
fn what_is_too_large_is_refused() {
    let huge = vec![b' '; MAX_REPORT_BYTES + 1];
    assert!(matches!(read(&huge, IDENTITY), Err(ReportError::TooLarge { .. })));
    let many = format!("<testsuite>{}</testsuite>", "<testcase/>".repeat(MAX_CASES + 1));
    assert!(read_text(&many).unwrap_err().to_string().contains("more than 1000000 test cases"));
}

#[test]
fn texts_are_bounded_and_tolerated() {
    let text = format!("begin\u{1}\u{1b}[31m{}end", "ä".repeat(MAX_MESSAGE_BYTES));
    let name = "ü".repeat(MAX_NAME_BYTES);
    let xml = format!(
        "<testsuite><testcase name='{name}'><failure>{text}</failure></testcase><testcase name='{name}x'/></testsuite>"
    );
    let reported = read_text(&xml).unwrap();
    let message = &reported[0].case.message;
    assert!(message.len() <= MAX_MESSAGE_BYTES && message.starts_with("begin\u{1}") && message.ends_with("end"));
    assert!(reported.iter().all(|reported| reported.case.name.len() <= MAX_NAME_BYTES));
    assert_ne!(reported[0].case.name, reported[1].case.name);
}

#[test]
fn secrets_are_redacted_before_anything_is_cut() {
    let half = (MAX_MESSAGE_BYTES - CUT.len()) / 2;
    let text = format!("{}hunter2{}", "a".repeat(half - 3), "b".repeat(MAX_MESSAGE_BYTES));
    let xml = format!(
        "<testsuite name='hunter2'><testcase name='t[hunter2]'><failure message='hunter2'>{text}</failure></testcase></testsuite>"
    );
    let reported = read_redacted(xml.as_bytes(), IDENTITY, &|text| text.replace("hunter2", "***")).unwrap();
    assert_eq!(reported[0].case.name, "***::t[***]");
    assert!(!reported[0].case.message.contains("hun"), "{}", reported[0].case.message);
}

#[test]
fn each_chunk_fits_a_commit_and_nothing_is_lost() {
    let message = "\u{1}".repeat(MAX_MESSAGE_BYTES);
    let case = |at: usize| format!("<testcase name='{at}'><failure>{message}</failure></testcase>");
    let xml = format!("<testsuite>{}</testsuite>", (0..100).map(case).collect::<String>());
    let reported = read_text(&xml).unwrap();
    let parts = chunks(reported.clone());
    assert_eq!(parts.concat(), reported);
    assert!(parts.len() > 1);
    for part in parts {
        let (results, cases) = part.into_iter().map(|reported| (reported.result, reported.case)).unzip();
        let run = StepRun { attempt: 1, step: "s".into(), step_attempt: 1 };
        let event = StepResultsReported { run, chunk: 1, chunks: 1, results, content: ReportContent { cases }.into() };
        let bytes = serde_json::to_vec(&event).unwrap().len();
        assert!(bytes <= MAX_CHUNK_BYTES + 1024, "{bytes}");
        drop(Event::from(event));
    }
    assert!(chunks(vec![]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_reports_never_panic(
        which in 0..DIALECTS.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..12),
    ) {
        let mut bytes = DIALECTS[which].1.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.extend_from_within(at..),
            }
        }
        if let Ok(reported) = read(&bytes, IDENTITY) {
            let names: HashSet<&str> = reported.iter().map(|reported| reported.case.name.as_str()).collect();
            prop_assert_eq!(names.len(), reported.len());
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, IDENTITY);
    }

    #[test]
    fn tags_in_any_order_never_panic(tags in prop::collection::vec(prop::sample::select(vec![
        "<testsuites>", "</testsuites>", "<testsuite name='s'>", "</testsuite>", "<testcase name='c'>", "</testcase>",
        "<failure message='m'>", "</failure>", "<error/>", "<skipped/>", "text", "&lt;", "&", "<![CDATA[x]]>", "<", "\"",
    ]), 0..30)) {
        let _ = read_text(&tags.concat());
    }
}
