//! Large plans and plans with very many mistakes: read in time that grows with their length, or refused.

use std::fmt::Write as _;
use std::path::Path;

use super::{MAX_PROBLEMS, Origin, limits, parse};

fn origin() -> Origin {
    Origin::of_file(Path::new("large.yaml"), "/".into())
}

#[test]
fn a_case_may_have_very_many_steps_that_hand_values_on() {
    const STEPS: usize = 5000;
    let mut text = "cases:\n  - id: long\n    steps:\n".to_owned();
    for step in 0..STEPS {
        let given = if step == 0 { "x".to_owned() } else { format!("'{{{{ c{} }}}}'", step - 1) };
        let _ =
            writeln!(text, "      - {{ id: s{step}, run: [a, {given}], capture: {{ c{step}: {{ text: true }} }} }}");
    }
    let plan = parse(&text, &origin()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(plan.cases[0].steps.len(), STEPS);
}

#[test]
fn very_many_mistakes_are_not_all_told() {
    let mut shape = "cases:\n  - id: one\n    steps:\n".to_owned();
    let mut needs = "cases:\n".to_owned();
    for number in 0..2000 {
        let _ = writeln!(shape, "      - {{ id: s{number}, rnu: [a] }}");
        let _ = writeln!(needs, "  - {{ id: case{number}, needs: [caes{number}], steps: [{{ id: s, run: [a] }}] }}");
    }
    for text in [shape, needs] {
        let errors = parse(&text, &origin()).unwrap_err();
        assert_eq!((errors.problems.len(), errors.has_more), (MAX_PROBLEMS, true));
        assert!(errors.to_string().ends_with("... and more problems of this kind or others\n"));
    }
}

#[test]
fn what_is_too_large_is_refused_at_the_door() {
    let long = format!("suite: {}\n", "x".repeat(limits::MAX_TEXT_BYTES));
    let errors = parse(&long, &origin()).unwrap_err();
    assert!(errors.to_string().starts_with("large.yaml:1:1: the file has "), "{errors}");
    let field = format!(
        "cases:\n  - {{ id: a, steps: [{{ id: s, run: [a, {}] }}] }}\n",
        "x".repeat(limits::MAX_FIELD_BYTES + 1)
    );
    let errors = parse(&field, &origin()).unwrap_err();
    assert!(errors.to_string().contains("keep it under 1048576 bytes"), "{errors}");
}

#[test]
fn a_long_circle_of_needs_is_followed_once() {
    const CASES: usize = 2000;
    let mut text = "cases:\n".to_owned();
    for number in 0..CASES {
        let next = (number + 1) % CASES;
        let _ = writeln!(text, "  - {{ id: c{number}, needs: [c{next}], steps: [{{ id: s, run: [a] }}] }}");
    }
    let errors = parse(&text, &origin()).unwrap_err();
    assert_eq!(errors.problems.len(), 1);
    assert!(errors.problems[0].message.starts_with("these cases need each other: c0 -> c1 -> "), "{errors}");
}
