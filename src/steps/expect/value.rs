//! What one value must be like.

use std::cmp::Ordering;

use serde_json::{Number, Value};
use testledger_schemas::plan::ValueExpect;

use super::{number, show, text};
use crate::steps::redact::Redactor;

/// One line for each expectation that the value does not meet; `subject` says where it stands. `None` is a value that
/// is not there.
#[must_use]
pub fn check_value(expect: &ValueExpect, subject: &str, value: Option<&Value>, redactor: &Redactor) -> Vec<String> {
    match (value, expect.exists) {
        (Some(value), Some(false)) => vec![format!("{subject} is {}, expected none", show::json(value, redactor))],
        (Some(value), Some(true) | None) => Check { expect, subject, value, redactor }.lines(),
        (None, Some(false)) => vec![],
        (None, Some(true) | None) => missing(expect, subject, redactor),
    }
}

/// Lines for a value that is not there.
fn missing(expect: &ValueExpect, subject: &str, redactor: &Redactor) -> Vec<String> {
    let quoted = |text: &String| show::quoted(text, redactor);
    let wanted = [
        expect.equals.as_ref().map(|json| redactor.text(json)),
        expect.contains.as_ref().map(|part| format!("it to contain {}", quoted(part))),
        expect.matches.as_ref().map(|regex| format!("a match of /{}/", redactor.text(regex))),
        expect.length.map(|length| format!("a length of {length}")),
        expect.at_least.as_ref().map(|bound| format!("at least {bound}")),
        expect.at_most.as_ref().map(|bound| format!("at most {bound}")),
    ];
    let lines: Vec<_> = wanted.iter().flatten().map(|it| format!("{subject} is missing, expected {it}")).collect();
    if lines.is_empty() && expect.exists == Some(true) { vec![format!("{subject} is missing")] } else { lines }
}

struct Check<'a> {
    expect: &'a ValueExpect,
    subject: &'a str,
    value: &'a Value,
    redactor: &'a Redactor,
}

impl Check<'_> {
    fn lines(&self) -> Vec<String> {
        let expect = self.expect;
        let lines = [
            expect.equals.as_ref().and_then(|wanted| self.equals(wanted)),
            expect.contains.as_ref().and_then(|part| self.contains(part)),
            expect.matches.as_ref().and_then(|regex| self.matches(regex)),
            expect.length.and_then(|length| self.length(length)),
            expect.at_least.as_ref().and_then(|bound| self.bound(bound, Ordering::Less, "at least")),
            expect.at_most.as_ref().and_then(|bound| self.bound(bound, Ordering::Greater, "at most")),
        ];
        lines.into_iter().flatten().collect()
    }

    fn shown(&self) -> String {
        show::json(self.value, self.redactor)
    }

    fn equals(&self, wanted: &str) -> Option<String> {
        let wanted: Value = match serde_json::from_str(wanted) {
            Ok(wanted) => wanted,
            Err(error) => return Some(format!("{} cannot be checked: expected no JSON ({error})", self.subject)),
        };
        difference(self.subject, self.value, &wanted, self.redactor)
    }

    fn contains(&self, part: &str) -> Option<String> {
        let found = match self.value {
            Value::Array(elements) => elements.iter().any(|element| is_element(element, part)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                as_text(self.value).contains(part)
            }
        };
        let part = show::quoted(part, self.redactor);
        (!found).then(|| format!("{} is {}, expected it to contain {part}", self.subject, self.shown()))
    }

    fn matches(&self, regex: &str) -> Option<String> {
        text::matches(regex, self.subject, &as_text(self.value), || self.shown(), self.redactor)
    }

    fn length(&self, wanted: u64) -> Option<String> {
        let (found, unit) = match self.value {
            Value::String(text) => (text.chars().count(), "characters"),
            Value::Array(elements) => (elements.len(), "elements"),
            Value::Object(fields) => (fields.len(), "fields"),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                return Some(format!("{} is {}, which has no length, expected {wanted}", self.subject, self.shown()));
            }
        };
        let differs = u64::try_from(found) != Ok(wanted);
        differs.then(|| format!("{} has {found} {unit}, expected {wanted}: {}", self.subject, self.shown()))
    }

    fn bound(&self, bound: &str, beyond: Ordering, words: &str) -> Option<String> {
        let Ok(limit) = serde_json::from_str::<Number>(bound) else {
            return Some(format!("{} cannot be checked: the bound {bound} is not a number", self.subject));
        };
        match self.value {
            Value::Number(found) if number::compare(found, &limit) != beyond => None,
            Value::Number(_) => Some(format!("{} is {}, expected {words} {bound}", self.subject, self.shown())),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Some(format!("{} is {}, expected a number of {words} {bound}", self.subject, self.shown()))
            }
        }
    }
}

/// A text as it is, anything else as JSON.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Whether this is the element that was asked for: as text, or as the same number.
fn is_element(element: &Value, wanted: &str) -> bool {
    match (element, serde_json::from_str::<Number>(wanted)) {
        (Value::Number(found), Ok(wanted)) => number::compare(found, &wanted) == Ordering::Equal,
        (element, _) => as_text(element) == wanted,
    }
}

/// The first difference between two values, in one line that names its place; none where they are equal. The depth is
/// that of a parsed JSON text: at most 128.
fn difference(place: &str, found: &Value, wanted: &Value, redactor: &Redactor) -> Option<String> {
    let shown = |value| show::json(value, redactor);
    match (found, wanted) {
        (Value::Number(a), Value::Number(b)) if number::compare(a, b) == Ordering::Equal => None,
        (Value::String(a), Value::String(b)) => text_difference(place, a, b, redactor),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.filter_map(|(at, (a, b))| difference(&format!("{place}[{at}]"), a, b, redactor)).next()
        }
        (Value::Array(a), Value::Array(b)) => {
            Some(format!("{place} has {} elements, expected {}: {}", a.len(), b.len(), shown(found)))
        }
        (Value::Object(a), Value::Object(b)) => {
            let absent = a.keys().filter(|key| !b.contains_key(*key));
            let extra = absent.map(|key| format!("{} is {}, expected none", field(place, key), shown(&a[key])));
            let inner = b.iter().filter_map(|(key, b)| field_difference(&field(place, key), a.get(key), b, redactor));
            inner.chain(extra).next()
        }
        (found, wanted) if found == wanted => None,
        (found, wanted) => Some(format!("{place} is {}, expected {}", shown(found), shown(wanted))),
    }
}

fn field_difference(place: &str, found: Option<&Value>, wanted: &Value, redactor: &Redactor) -> Option<String> {
    match found {
        Some(found) => difference(place, found, wanted, redactor),
        None => Some(format!("{place} is missing, expected {}", show::json(wanted, redactor))),
    }
}

fn text_difference(place: &str, found: &str, wanted: &str, redactor: &Redactor) -> Option<String> {
    if found == wanted {
        return None;
    }
    Some(match show::difference(found, wanted, redactor) {
        Some((found, wanted)) => format!("{place} is {found}, expected {wanted}"),
        None => format!("{place} is not what was expected; the difference is in what is redacted"),
    })
}

/// The place of a field: `.name` where that is a name, `["na me"]` elsewhere.
fn field(place: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
    if plain { format!("{place}.{key}") } else { format!("{place}[{}]", Value::from(key)) }
}

#[cfg(test)]
mod tests;
