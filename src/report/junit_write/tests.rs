//! Golden and property tests of the written XML, read back by this program's own reader.

use proptest::prelude::*;
use testledger_schemas::StepKey;
use testledger_schemas::event::{OutcomeTally, ReportedCase, ReportedResult};

use super::*;
use crate::report::samples::{ROOT, Sample, every_ending};
use crate::steps::Reported;
use crate::steps::junit::read;

fn outcomes(xml: &str) -> OutcomeTally {
    let mut tally = OutcomeTally::new();
    for reported in read(xml.as_bytes(), ("s", "c", "")).unwrap() {
        *tally.entry(reported.result.outcome).or_default() += 1;
    }
    tally
}

#[test]
fn every_ending_is_written() {
    insta::assert_snapshot!(write(&every_ending().report()));
}

#[test]
fn what_was_written_is_read_with_the_same_counts() {
    let report = every_ending().report();
    let mut expected = report.reported_outcomes();
    for (outcome, cases) in [
        (StepOutcome::Passed, 2),
        (StepOutcome::Failed, 1),
        (StepOutcome::Timeout, 1),
        (StepOutcome::Skipped, 1),
        // Could not be carried out; stopped; aborted. `unit` is said by its reported results.
        (StepOutcome::Error, 3),
    ] {
        *expected.entry(outcome).or_default() += cases;
    }
    assert_eq!(outcomes(&write(&report)), expected);
}

#[test]
fn an_empty_run_is_a_report_too() {
    assert!(outcomes(&write(&RunReport::default())).is_empty());
    let running = Sample::command("sleep 9").report();
    assert_eq!(outcomes(&write(&running)), OutcomeTally::from([(StepOutcome::Error, 1)]));
}

#[test]
fn several_runs_are_one_report() {
    let runs = [every_ending().report(), Sample::command("true").report()];
    let mut expected = outcomes(&write(&runs[0]));
    *expected.entry(StepOutcome::Error).or_default() += 1;
    assert_eq!(outcomes(&write_all(&runs)), expected);
    assert!(outcomes(&write_all(&[])).is_empty());
}

fn reported() -> impl Strategy<Value = Reported> {
    let outcome = prop::sample::select(vec![
        StepOutcome::Passed,
        StepOutcome::Failed,
        StepOutcome::Error,
        StepOutcome::Timeout,
        StepOutcome::Skipped,
    ]);
    let text = prop_oneof!["\\PC{0,20}", "[\u{0}-\u{20}<>&\"'\\]\u{fffe}\u{ffff}\u{fffd}a:\u{1b}\\[]{0,12}"];
    (outcome, text.clone(), text, 0..10_000_000u64).prop_map(|(outcome, name, message, duration_ms)| Reported {
        result: ReportedResult {
            step_key: StepKey::derive("", "", "", &name),
            outcome,
            duration_ms,
            detail: None,
            error: None,
        },
        case: ReportedCase { name, message },
    })
}

proptest! {
    #[test]
    fn any_texts_survive_as_valid_xml_with_equal_counts(results in prop::collection::vec(reported(), 0..8)) {
        let mut sample = Sample::command("tool");
        sample.start(ROOT, 1);
        sample.start_step(ROOT, (1, "tool", 1));
        sample.report_results(ROOT, (1, "tool", 1), results);
        sample.finish_step(ROOT, (1, "tool", 1), StepOutcome::Passed, |_, _| {});
        sample.pass(ROOT, 1);
        let report = sample.report();
        let mut expected = report.reported_outcomes();
        if expected.is_empty() {
            expected.insert(StepOutcome::Passed, 1);
        }
        let xml = write(&report);
        prop_assert_eq!(outcomes(&xml), expected, "{}", xml);
        let is_no_xml = |c: char| (c < ' ' && !"\t\n\r".contains(c)) || matches!(c, '\u{fffe}' | '\u{ffff}');
        let invalid = xml.find(is_no_xml);
        prop_assert_eq!(invalid, None);
        let durations: u64 = report.cases().flat_map(|case| case.final_steps()).flat_map(|step| &step.reported)
            .map(|entry| entry.result.duration_ms).sum();
        let read_back: u64 = read(xml.as_bytes(), ("", "", "")).unwrap().iter().map(|r| r.result.duration_ms).sum();
        prop_assert!(report.reported_outcomes().is_empty() || durations == read_back);
    }
}
