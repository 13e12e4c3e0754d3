//! What a text must be like.

use regex::Regex;
use testledger_schemas::plan::TextExpect;

use super::show;
use crate::steps::redact::Redactor;

/// The regular expression, or why it is none, in one line.
///
/// # Errors
/// A line that names the expression and what is wrong with it.
pub fn pattern(regex: &str) -> Result<Regex, String> {
    Regex::new(regex).map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("/{regex}/ is not a regular expression: {reason}")
    })
}

/// One line for each expectation that the text does not meet; `subject` says what the text is.
#[must_use]
pub fn check_text(expect: &TextExpect, subject: &str, text: &str, redactor: &Redactor) -> Vec<String> {
    let equals = expect.equals.iter().filter_map(|wanted| equals(wanted, subject, text, redactor));
    let contains = expect.contains.iter().filter_map(|wanted| contains(wanted, subject, text, redactor));
    let not_contains = expect.not_contains.iter().filter_map(|banned| not_contains(banned, subject, text, redactor));
    let shown = || show::quoted(text, redactor);
    let matches = expect.matches.iter().filter_map(|regex| matches(regex, subject, text, shown, redactor));
    equals.chain(contains).chain(not_contains).chain(matches).collect()
}

fn equals(wanted: &str, subject: &str, text: &str, redactor: &Redactor) -> Option<String> {
    if text == wanted {
        return None;
    }
    Some(match show::difference(text, wanted, redactor) {
        Some((found, wanted)) => format!("{subject} is {found}, expected {wanted}"),
        None => format!("{subject} is not what was expected; the difference is in what is redacted"),
    })
}

fn contains(wanted: &str, subject: &str, text: &str, redactor: &Redactor) -> Option<String> {
    let missing = || {
        let (found, wanted) = (show::quoted(text, redactor), show::quoted(wanted, redactor));
        format!("{subject} is {found}, expected it to contain {wanted}")
    };
    (!text.contains(wanted)).then(missing)
}

fn not_contains(banned: &str, subject: &str, text: &str, redactor: &Redactor) -> Option<String> {
    let there = || {
        let (found, banned) = (show::around(text, banned, redactor), show::quoted(banned, redactor));
        format!("{subject} is {found}, expected it not to contain {banned}")
    };
    text.contains(banned).then(there)
}

/// Looks for the regular expression; `shown` is how the text stands in the line.
pub(super) fn matches(
    regex: &str,
    subject: &str,
    text: &str,
    shown: impl FnOnce() -> String,
    redactor: &Redactor,
) -> Option<String> {
    match pattern(regex) {
        Ok(pattern) if pattern.is_match(text) => None,
        Ok(_) => Some(format!("{subject} is {}, expected a match of /{}/", shown(), redactor.text(regex))),
        Err(reason) => Some(format!("{subject} cannot be checked: {}", redactor.text(&reason))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(expect: &TextExpect, text: &str) -> Vec<String> {
        check_text(expect, "stdout", text, &Redactor::default())
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_expectation_that_fails_is_one_line_in_the_order_of_the_plan_schema() {
        let expect = TextExpect {
            equals: Some("ok".to_owned()),
            contains: texts(&["pass", "3 tests"]),
            not_contains: texts(&["panic", "absent"]),
            matches: texts(&["^ok$", "[0-9]+ tests"]),
        };
        let lines = [
            r#"stdout is "a panic in 3 tests\n", expected "ok""#,
            r#"stdout is "a panic in 3 tests\n", expected it to contain "pass""#,
            r#"stdout is "a panic in 3 tests\n", expected it not to contain "panic""#,
            r#"stdout is "a panic in 3 tests\n", expected a match of /^ok$/"#,
        ];
        assert_eq!(check(&expect, "a panic in 3 tests\n"), lines);
    }

    #[test]
    fn nothing_expected_is_met_by_any_text() {
        assert_eq!(check(&TextExpect::default(), "anything"), Vec::<String>::new());
    }

    #[test]
    fn a_broken_regular_expression_is_named_with_its_fault() {
        let expect = TextExpect { matches: texts(&["a(b"]), ..TextExpect::default() };
        let line = "stdout cannot be checked: /a(b/ is not a regular expression: unclosed group";
        assert_eq!(check(&expect, "ab"), [line]);
    }

    #[test]
    fn secrets_are_redacted_in_what_was_found_and_in_what_was_expected() {
        let redactor = Redactor::new(["hunter22".to_owned()]);
        let expect = TextExpect { equals: Some("hunter22".to_owned()), ..TextExpect::default() };
        let lines = check_text(&expect, "body", "not hunter22", &redactor);
        assert_eq!(lines, [r#"body is "not ***", expected "***""#]);
        let redactor = redactor.with("hunter23");
        let lines = check_text(&expect, "body", "hunter23", &redactor);
        assert_eq!(lines, ["body is not what was expected; the difference is in what is redacted"]);
    }

    proptest! {
        #[test]
        fn any_regular_expression_and_any_text_give_lines_and_no_panic(
            regex in "\\PC{0,20}", wanted in "\\PC{0,4}", text in "(?s).{0,300}", secret in "\\PC{0,5}",
        ) {
            let expect = TextExpect {
                equals: Some(wanted.clone()),
                contains: vec![wanted.clone()],
                not_contains: vec![wanted.clone()],
                matches: vec![regex],
            };
            let lines = check_text(&expect, "body", &text, &Redactor::new([secret]));
            // A text has a part in it or has not: exactly one of the two lines is there.
            let about_parts = lines.iter().filter(|line| line.contains("to contain")).count();
            prop_assert!(about_parts >= 1 && lines.len() <= 3);
        }
    }
}
