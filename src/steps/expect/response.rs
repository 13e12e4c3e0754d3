//! What the status, the header fields and the JSON body of a response must be like.

use std::collections::BTreeMap;

use serde_json::{Number, Value};
use testledger_schemas::plan::ValueExpect;

use super::json_path::{Path, document};
use super::{check_value, show};
use crate::steps::redact::Redactor;

/// The status codes that pass where nothing is said.
const USUAL_STATUS: (u16, u16) = (200, 399);

/// Whether the status is none of those expected (inclusive ranges; none is 200 to 399), in one line.
#[must_use]
pub fn check_status(ranges: &[(u16, u16)], status: u16) -> Option<String> {
    let ranges = if ranges.is_empty() { &[USUAL_STATUS] } else { ranges };
    if ranges.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
        return None;
    }
    let range = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let expected: Vec<_> = ranges.iter().map(range).collect();
    Some(format!("status is {status}, expected {}", expected.join(" or ")))
}

/// The values of a header field, joined by commas where it stands more than once (RFC 9110, 5.3).
#[must_use]
pub fn header(headers: &[(String, String)], name: &str) -> Option<String> {
    let values = headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// One line for each expectation on header fields that does not hold.
#[must_use]
pub fn check_headers(
    expect: &BTreeMap<String, ValueExpect>,
    headers: &[(String, String)],
    redactor: &Redactor,
) -> Vec<String> {
    let check = |(name, expect): (&String, &ValueExpect)| {
        let value = header(headers, name).map(|text| header_value(expect, text));
        check_value(expect, &format!("header {name}"), value.as_ref(), redactor)
    };
    expect.iter().flat_map(check).collect()
}

/// A header field is text; where a number is expected and it is one, it is compared as a number.
fn header_value(expect: &ValueExpect, text: String) -> Value {
    let number_wanted = expect.at_least.is_some()
        || expect.at_most.is_some()
        || expect.equals.as_ref().is_some_and(|wanted| serde_json::from_str::<Number>(wanted).is_ok());
    match serde_json::from_str::<Number>(&text) {
        Ok(number) if number_wanted => Value::Number(number),
        Ok(_) | Err(_) => Value::String(text),
    }
}

/// One line for each expectation on the JSON body that does not hold; one line alone for a body that is not JSON.
///
/// A path of names and indexes means the node there; any other path means the list of all nodes it leads to, which
/// is there when it is not empty.
#[must_use]
pub fn check_json(expect: &BTreeMap<String, ValueExpect>, body: &str, redactor: &Redactor) -> Vec<String> {
    if expect.is_empty() {
        return vec![];
    }
    match document(body) {
        Ok(document) => expect.iter().flat_map(|(path, expect)| check_at(path, expect, &document, redactor)).collect(),
        Err(error) => vec![format!("the body is not JSON ({error}): {}", show::quoted(body, redactor))],
    }
}

fn check_at(text: &str, expect: &ValueExpect, document: &Value, redactor: &Redactor) -> Vec<String> {
    let path = match Path::parse(text) {
        Ok(path) => path,
        Err(reason) => return vec![reason],
    };
    let nodes = path.nodes(document);
    if path.is_singular() {
        return check_value(expect, text, nodes.first().copied(), redactor);
    }
    let there = !nodes.is_empty() || expect.exists.is_none();
    let list = Value::Array(nodes.into_iter().cloned().collect());
    check_value(expect, text, there.then_some(&list), redactor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, expect: ValueExpect) -> BTreeMap<String, ValueExpect> {
        BTreeMap::from([(name.to_owned(), expect)])
    }

    fn equals(json: &str) -> ValueExpect {
        ValueExpect { equals: Some(json.to_owned()), ..ValueExpect::default() }
    }

    #[test]
    fn statuses_are_ranges() {
        assert_eq!(check_status(&[(200, 200)], 404).as_deref(), Some("status is 404, expected 200"));
        let line = "status is 404, expected 200-299 or 301";
        assert_eq!(check_status(&[(200, 299), (301, 301)], 404).as_deref(), Some(line));
        assert_eq!(check_status(&[(200, 299)], 299), None);
        assert_eq!(check_status(&[], 304), None);
        assert_eq!(check_status(&[], 500).as_deref(), Some("status is 500, expected 200-399"));
    }

    #[test]
    fn header_fields_are_found_in_any_case_and_joined() {
        let headers =
            [("vary", "a"), ("Content-Length", "17"), ("Vary", "b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let check = |name: &str, expect| check_headers(&one(name, expect), &headers, &Redactor::default());
        assert_eq!(check("vary", equals(r#""a, b""#)), Vec::<String>::new());
        assert_eq!(check("content-length", equals("17")), Vec::<String>::new());
        assert_eq!(check("content-length", equals(r#""17""#)), Vec::<String>::new());
        assert_eq!(check("content-length", equals("18")), ["header content-length is 17, expected 18"]);
        let at_most = ValueExpect { at_most: Some("9".to_owned()), ..ValueExpect::default() };
        assert_eq!(check("content-length", at_most), ["header content-length is 17, expected at most 9"]);
        assert_eq!(check("etag", equals(r#""x""#)), [r#"header etag is missing, expected "x""#]);
    }

    #[test]
    fn a_path_to_many_nodes_means_their_list() {
        let body = r#"{"user": {"name": "bob"}, "items": [{"id": 1}, {"id": 2}]}"#;
        let check = |path: &str, expect| check_json(&one(path, expect), body, &Redactor::default());
        let exists = |exists| ValueExpect { exists: Some(exists), ..ValueExpect::default() };
        assert_eq!(check("$.user.name", equals(r#""ada""#)), [r#"$.user.name is "bob", expected "ada""#]);
        assert_eq!(check("$.items[*].id", equals("[1, 2]")), Vec::<String>::new());
        assert_eq!(check("$.items[*].id", equals("[1, 3]")), ["$.items[*].id[1] is 2, expected 3"]);
        assert_eq!(check("$..nothing", equals("[]")), Vec::<String>::new());
        assert_eq!(check("$..nothing", exists(false)), Vec::<String>::new());
        assert_eq!(check("$..nothing", exists(true)), ["$..nothing is missing"]);
        assert_eq!(check("$..id", exists(false)), ["$..id is [1,2], expected none"]);
    }

    #[test]
    fn a_body_that_is_not_json_is_one_line() {
        let expect = BTreeMap::from([("$.a".to_owned(), equals("1")), ("$.b".to_owned(), equals("2"))]);
        let lines = check_json(&expect, "<html>", &Redactor::default());
        assert_eq!(lines, [r#"the body is not JSON (expected value at line 1 column 1): "<html>""#]);
        assert_eq!(check_json(&BTreeMap::new(), "<html>", &Redactor::default()), Vec::<String>::new());
        let deep = "[".repeat(100_000);
        assert!(
            check_json(&expect, &deep, &Redactor::default())[0].starts_with("the body is not JSON (recursion limit")
        );
    }
}
