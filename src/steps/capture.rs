//! What is kept of a result for later steps.

use std::collections::BTreeMap;

use serde_json::Value;
use testledger_schemas::plan::{Capture, CaptureSource};

use crate::steps::Captured;
use crate::steps::expect::json_path::{Path, document};
use crate::steps::expect::pattern;
use crate::steps::redact::Redactor;

/// The largest value that is captured, in bytes (of its JSON text, where it is not a text).
pub const MAX_CAPTURED_BYTES: usize = 64 * 1024;

/// What values are captured from.
#[derive(Clone, Copy, Debug)]
pub struct CaptureInput<'a> {
    /// The body of the response, or the standard output of the command.
    pub text: &'a str,
    /// The header fields of the response; a command has none.
    pub headers: Option<&'a [(String, String)]>,
    /// The status of the response; a command has none.
    pub status: Option<u16>,
}

/// Captures every value.
///
/// # Errors
/// The first capture (by name) that finds nothing, too many values, or one that is too large, in one line. It holds
/// no value.
pub fn take(
    captures: &BTreeMap<String, Capture>,
    input: &CaptureInput<'_>,
) -> Result<BTreeMap<String, Captured>, String> {
    let take_one = |(name, capture): (&String, &Capture)| {
        let value = one(&capture.from, input).and_then(within_bounds);
        let value = value.map_err(|reason| format!("cannot capture {name}: {reason}"))?;
        Ok((name.clone(), Captured { value, secret: capture.secret }))
    };
    captures.iter().map(take_one).collect()
}

/// Every text that the secret captures find, also where they find too many: what must be redacted before the result
/// is recorded. Of a list or an object it is each text and number within.
#[must_use]
pub fn secret_texts(captures: &BTreeMap<String, Capture>, input: &CaptureInput<'_>) -> Vec<String> {
    let secret = captures.values().filter(|capture| capture.secret);
    let values = secret.filter_map(|capture| candidates(&capture.from, input).ok());
    let mut texts = vec![];
    values.flatten().for_each(|value| leaves(&value, &mut texts));
    texts
}

/// Why nobody can tell which part of the text is a secret that is to be captured, if so: it begins as JSON and is
/// none. A text that does not even begin as JSON holds no value of it.
#[must_use]
pub fn hides_secrets(captures: &BTreeMap<String, Capture>, text: &str) -> Option<String> {
    let secret_json = |capture: &Capture| match capture.from {
        CaptureSource::Json(_) => capture.secret,
        CaptureSource::Header(_) | CaptureSource::Regex(_) | CaptureSource::Text | CaptureSource::Status => false,
    };
    if !captures.values().any(secret_json) || !text.trim_start().starts_with(['{', '[', '"']) {
        return None;
    }
    let error = document(text).err()?;
    Some(format!("it is not JSON ({error}), and it is not shown: a secret was to be captured from it"))
}

/// Marks as secret what holds a secret that is known already: captured in clear it would be recorded in clear.
pub fn mark_secrets(captured: &mut BTreeMap<String, Captured>, redactor: &Redactor) {
    for it in captured.values_mut().filter(|it| !it.secret) {
        let mut texts = vec![];
        leaves(&it.value, &mut texts);
        it.secret = texts.iter().any(|text| redactor.text(text) != *text);
    }
}

fn one(from: &CaptureSource, input: &CaptureInput<'_>) -> Result<Value, String> {
    let mut found = candidates(from, input)?;
    match (found.pop(), found.len()) {
        (Some(value), 0) => Ok(value),
        (Some(_), others) => Err(format!("{} is there {} times, a capture takes exactly one", named(from), others + 1)),
        (None, _) => Err(nothing(from)),
    }
}

/// Everything the source leads to.
fn candidates(from: &CaptureSource, input: &CaptureInput<'_>) -> Result<Vec<Value>, String> {
    match from {
        CaptureSource::Json(path) => json(path, input.text),
        CaptureSource::Header(name) => {
            let fields = input.headers.ok_or("a command has no header fields")?.iter();
            let named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
            Ok(named.map(|(_, value)| Value::from(value.as_str())).collect())
        }
        CaptureSource::Regex(regex) => first_match(regex, input.text),
        CaptureSource::Text => Ok(vec![Value::from(without_line_break(input.text))]),
        CaptureSource::Status => Ok(vec![Value::from(input.status.ok_or("a command has no status")?)]),
    }
}

fn json(path: &str, text: &str) -> Result<Vec<Value>, String> {
    let path = Path::parse(path)?;
    let document = document(text).map_err(|error| format!("the text is not JSON ({error})"))?;
    Ok(path.nodes(&document).into_iter().cloned().collect())
}

/// The first group of the first match; all of it, where the expression has no group or that one took no part.
fn first_match(regex: &str, text: &str) -> Result<Vec<Value>, String> {
    let found = pattern(regex)?.captures(text).and_then(|groups| groups.get(1).or(groups.get(0)));
    Ok(found.map(|it| Value::from(it.as_str())).into_iter().collect())
}

fn named(from: &CaptureSource) -> String {
    match from {
        CaptureSource::Json(path) => path.clone(),
        CaptureSource::Header(name) => format!("header {name}"),
        CaptureSource::Regex(regex) => format!("/{regex}/"),
        CaptureSource::Text => "the text".to_owned(),
        CaptureSource::Status => "the status".to_owned(),
    }
}

fn nothing(from: &CaptureSource) -> String {
    match from {
        CaptureSource::Json(path) => format!("{path} leads to nothing (0 values), a capture takes exactly one"),
        CaptureSource::Regex(regex) => format!("/{regex}/ is not found"),
        CaptureSource::Header(_) | CaptureSource::Text | CaptureSource::Status => format!("{} is missing", named(from)),
    }
}

fn without_line_break(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

fn within_bounds(value: Value) -> Result<Value, String> {
    let bytes = match &value {
        Value::String(text) => text.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string().len(),
    };
    if bytes > MAX_CAPTURED_BYTES {
        return Err(format!("the value has {bytes} bytes, at most {MAX_CAPTURED_BYTES} are captured"));
    }
    Ok(value)
}

/// Teaches a redactor captured secrets: each as a whole, and every text and number within it.
pub fn teach<'a>(redactor: &Redactor, secrets: impl IntoIterator<Item = &'a Value>) {
    let mut texts = vec![];
    for secret in secrets {
        texts.push(secret.as_str().map_or_else(|| secret.to_string(), str::to_owned));
        leaves(secret, &mut texts);
    }
    redactor.learn_all(texts);
}

/// The texts and numbers within a value. The depth is that of a parsed JSON text: at most 128.
fn leaves(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => texts.push(number.to_string()),
        Value::String(text) => texts.push(text.clone()),
        Value::Array(elements) => elements.iter().for_each(|element| leaves(element, texts)),
        Value::Object(fields) => fields.values().for_each(|field| leaves(field, texts)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input<'a>(text: &'a str, headers: &'a [(String, String)]) -> CaptureInput<'a> {
        CaptureInput { text, headers: Some(headers), status: Some(201) }
    }

    fn captures(from: CaptureSource, secret: bool) -> BTreeMap<String, Capture> {
        BTreeMap::from([("it".to_owned(), Capture { from, secret })])
    }

    fn take_one(from: CaptureSource, text: &str, headers: &[(&str, &str)]) -> Result<Value, String> {
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        take(&captures(from, false), &input(text, &headers)).map(|mut taken| taken.remove("it").unwrap().value)
    }

    fn error(reason: &str) -> Result<Value, String> {
        Err(format!("cannot capture it: {reason}"))
    }

    #[test]
    fn a_json_path_leads_to_exactly_one_value() {
        let take = |path: &str, text| take_one(CaptureSource::Json(path.to_owned()), text, &[]);
        let text = r#"{"token": "abc", "ids": [1, 2], "nothing": null}"#;
        assert_eq!(take("$.token", text), Ok(json!("abc")));
        assert_eq!(take("$.ids", text), Ok(json!([1, 2])));
        assert_eq!(take("$.nothing", text), Ok(Value::Null));
        assert_eq!(take("$.ids[*]", text), error("$.ids[*] is there 2 times, a capture takes exactly one"));
        assert_eq!(take("$.absent", text), error("$.absent leads to nothing (0 values), a capture takes exactly one"));
        assert_eq!(take("$.a", "<"), error("the text is not JSON (expected value at line 1 column 1)"));
        assert!(take("token", text).unwrap_err().starts_with("cannot capture it: token is not a JSONPath (RFC 9535)"));
    }

    #[test]
    fn header_fields_are_found_in_any_case_and_must_be_there_once() {
        let take =
            |name: &str| take_one(CaptureSource::Header(name.to_owned()), "", &[("ETag", "x"), ("a", "1"), ("A", "2")]);
        assert_eq!(take("etag"), Ok(json!("x")));
        assert_eq!(take("location"), error("header location is missing"));
        assert_eq!(take("a"), error("header a is there 2 times, a capture takes exactly one"));
    }

    #[test]
    fn a_regular_expression_gives_its_first_group_or_all() {
        let take = |regex: &str| take_one(CaptureSource::Regex(regex.to_owned()), "id=17 id=18", &[]);
        assert_eq!(take("id=([0-9]+)"), Ok(json!("17")));
        assert_eq!(take("id=[0-9]+"), Ok(json!("id=17")));
        assert_eq!(take("x(y)?|id"), Ok(json!("id")));
        assert_eq!(take("name=(.*)"), error("/name=(.*)/ is not found"));
        assert_eq!(take("("), error("/(/ is not a regular expression: unclosed group"));
    }

    #[test]
    fn a_text_loses_one_line_break() {
        for (text, kept) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", "")] {
            assert_eq!(take_one(CaptureSource::Text, text, &[]), Ok(json!(kept)));
        }
    }

    #[test]
    fn a_status_is_a_number_and_a_command_has_none() {
        assert_eq!(take_one(CaptureSource::Status, "", &[]), Ok(json!(201)));
        let command = CaptureInput { text: "", headers: None, status: None };
        let taken = |from| take(&captures(from, false), &command).unwrap_err();
        assert_eq!(taken(CaptureSource::Status), "cannot capture it: a command has no status");
        assert_eq!(taken(CaptureSource::Header("a".to_owned())), "cannot capture it: a command has no header fields");
    }

    #[test]
    fn values_are_bounded() {
        let largest = "x".repeat(MAX_CAPTURED_BYTES);
        assert_eq!(take_one(CaptureSource::Text, &largest, &[]), Ok(json!(largest)));
        let reason = "the value has 65537 bytes, at most 65536 are captured";
        assert_eq!(take_one(CaptureSource::Text, &format!("{largest}x"), &[]), error(reason));
        let list = format!("[{}1]", "1,".repeat(MAX_CAPTURED_BYTES));
        assert!(take_one(CaptureSource::Json("$".to_owned()), &list, &[]).unwrap_err().contains("131075 bytes"));
    }

    #[test]
    fn secrets_are_found_even_where_the_capture_fails() {
        let text = r#"{"tokens": ["abc", {"inner": "def"}, 12345, true]}"#;
        let found = |path: &str, secret| {
            let captures = captures(CaptureSource::Json(path.to_owned()), secret);
            secret_texts(&captures, &input(text, &[]))
        };
        assert_eq!(found("$.tokens", true), ["abc", "def", "12345"]);
        assert_eq!(found("$.tokens[*]", true), ["abc", "def", "12345"]);
        assert_eq!(found("$.tokens", false), Vec::<String>::new());
        assert_eq!(found("$.absent", true), Vec::<String>::new());
    }

    #[test]
    fn what_holds_a_known_secret_becomes_one() {
        let redactor = Redactor::new(["hunter22".to_owned()]);
        let value = |value| Captured { value, secret: false };
        let mut taken = BTreeMap::from([
            ("plain".to_owned(), value(json!("nothing"))),
            ("within".to_owned(), value(json!({ "a": ["Bearer hunter22"] }))),
        ]);
        mark_secrets(&mut taken, &redactor);
        assert!(!taken["plain"].secret);
        assert!(taken["within"].secret);
    }
}
