//! The house rules, held by a test: who may use whom, what the pure rooms do not know, where a panic may stand.
#![allow(clippy::unwrap_used, reason = "tests")]

mod matches;
mod panics;
mod rooms;
mod rules;
mod source;
mod texts;
mod tree;

use source::Source;

/// Where a rule is broken, and what to do.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there, and the mend.
    pub what: String,
}

/// Fails with all findings, one a line.
#[track_caller]
fn none(findings: Vec<Finding>) {
    let lines: Vec<String> =
        findings.iter().map(|Finding { file, line, what }| format!("{file}:{line}: {what}")).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// The sources of the three crates: what is built into the program, without tests.
fn program() -> Vec<Source> {
    let sources = tree::sources(&["src", "schemas/src", "projections/src"]);
    assert!(sources.len() > 100, "only {} files", sources.len());
    source::without_tests(sources)
}

#[test]
fn every_file_opens_with_what_it_is() {
    let all = tree::sources(&["src", "schemas", "projections", "tests", "benches", "examples"]);
    none(all.iter().filter_map(|source| texts::opening(&source.path, &source.text)).collect());
}

#[test]
fn nobody_uses_whom_they_should_not_know() {
    none(program().iter().flat_map(rooms::check).collect());
}

#[test]
fn every_room_stands_in_the_table() {
    none(rooms::unknown_rooms(&program()));
}

#[test]
fn panics_say_why_they_cannot_happen() {
    none(program().iter().flat_map(panics::check).collect());
}

#[test]
fn every_reader_of_statuses_and_events_decides() {
    none(program().iter().flat_map(matches::check).collect());
}

#[test]
fn texts_name_no_place_of_one_machine() {
    none(tree::texts().iter().flat_map(|(path, text)| texts::places(path, text)).collect());
}

#[test]
fn the_readme_says_where_the_settings_are() {
    assert!(tree::read("README.md").contains("testledger settings"));
}

#[test]
fn every_bench_runs_only_when_it_is_asked() {
    let benches = tree::sources(&["benches"]).into_iter().filter(|source| source.path.matches('/').count() == 1);
    let unasked = benches.filter(|source| !source.text.contains("show::is_asked()"));
    let what = "begin `main` with `show::is_asked()`: test runners start benches, too";
    none(unasked.map(|source| Finding { file: source.path, line: 1, what: what.to_owned() }).collect());
}
