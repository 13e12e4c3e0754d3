//! Tests of what people read of steps: the history line, the rules, the bounds.

use testledger_projections::flaky_steps::rules::Thresholds;
use testledger_projections::flaky_steps::{Bucket, Day, Days, StepRunRecord, Window};
use testledger_schemas::{ExecutionId, StepKey};

use super::*;
use crate::views::flaky::{StepReport, report_of};

/// A window with these runs: `P` passed, `F` failed, `R` failed and then passed.
fn window(runs: &str) -> Window {
    let day: Day = "2026-11-23".parse().unwrap();
    let step_key = StepKey::derive("shop", "cart", "", "pay");
    let mut window = Window::of(step_key, Days::up_to(day, 30), &[] as &[Bucket], &Default::default());
    (window.label.suite, window.label.case, window.label.step) = ("shop".into(), "cart".into(), "pay".into());
    window.runs = (1..).zip(runs.chars()).map(|(number, sign)| run(number, sign)).collect();
    window
}

fn run(number: u64, sign: char) -> StepRunRecord {
    let id = ExecutionId(uuid::Uuid::from_u128(number.into()));
    let error = serde_json::json!({ "kind": "EXIT_CODE", "fingerprint": "exit 1" });
    StepRunRecord {
        execution_id: id,
        root_id: id,
        position: number,
        at: "2026-11-23T09:12:00.000Z".parse().unwrap(),
        revision: None,
        passes: u64::from(sign != 'F'),
        failures: u64::from(sign != 'P'),
        flips: u64::from(sign == 'R'),
        began_passed: sign == 'P',
        passed: sign != 'F',
        error: (sign != 'P').then(|| serde_json::from_value(error).unwrap()),
    }
}

fn shown(runs: &str) -> FlakyShow {
    let window = window(runs);
    let thresholds = Thresholds::default();
    FlakyShow { step: report_of(&window, &thresholds), thresholds, runs: window.runs }
}

#[test]
fn one_step_is_shown_with_its_rules() {
    insta::assert_snapshot!(show(&shown("PPRPPFPPPPFP"), 80));
}

#[test]
fn the_history_keeps_to_the_width() {
    let text = show(&shown(&"PF".repeat(200)), 80);
    let history = text.lines().last().unwrap();
    assert_eq!(history.chars().count(), 80);
    assert!(history.starts_with("  ✓✗✓✗") && history.ends_with("✓✗"), "{history}");
    assert!(text.contains("the latest 78 runs"), "{text}");
}

#[test]
fn a_list_fits_the_terminal_and_says_what_is_left_out() {
    let step: StepReport = shown("FFFFFFFFFF").step;
    let (from, to) = (step.reliability.from, step.reliability.to);
    let all = FlakyList { from, to, rule: None, steps: vec![step], seen: 7, omitted: 3 };
    let text = list(&all, 100);
    for words in ["BROKEN", "shop/cart/pay", "100.0 %", "✗✗✗✗✗✗✗✗✗✗", "7 steps seen", "3 more: --limit"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let none = FlakyList { steps: vec![], ..all };
    assert!(list(&none, 100).contains("none of them"));
}
