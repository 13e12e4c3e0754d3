//! How values are shown in messages: redacted, quoted, and short.

use serde_json::Value;

use crate::steps::redact::Redactor;

/// So many characters of a value are shown.
pub const SHOWN_CHARS: usize = 120;

/// So many characters before the place that matters are shown.
const CONTEXT_CHARS: usize = 30;

/// A text in quotes, redacted and shortened.
pub fn quoted(text: &str, redactor: &Redactor) -> String {
    in_quotes(&redactor.text(text), 0)
}

/// A value as JSON, redacted and shortened.
pub fn json(value: &Value, redactor: &Redactor) -> String {
    match value {
        Value::String(text) => quoted(text, redactor),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            shortened(&redactor.text(&value.to_string()), 0)
        }
    }
}

/// The surroundings of the first `needle` in the text, in quotes.
pub fn around(text: &str, needle: &str, redactor: &Redactor) -> String {
    let (text, needle) = (redactor.text(text), redactor.text(needle));
    let at = text.find(&needle).unwrap_or(0);
    in_quotes(&text, text[..at].chars().count().saturating_sub(CONTEXT_CHARS))
}

/// Two different texts, each from a little before the first difference on, in quotes; none where only what is
/// redacted differs.
pub fn difference(found: &str, wanted: &str, redactor: &Redactor) -> Option<(String, String)> {
    let (found, wanted) = (redactor.text(found), redactor.text(wanted));
    if found == wanted {
        return None;
    }
    let same = found.chars().zip(wanted.chars()).take_while(|(a, b)| a == b).count();
    let from = if same < SHOWN_CHARS / 2 { 0 } else { same - CONTEXT_CHARS };
    Some((in_quotes(&found, from), in_quotes(&wanted, from)))
}

/// Quotes as in JSON, so that line breaks and control characters are seen.
fn in_quotes(text: &str, from: usize) -> String {
    let total = text.chars().count();
    let part: String = text.chars().skip(from).take(SHOWN_CHARS).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if total > from + SHOWN_CHARS { "…" } else { "" };
    let note = if before.is_empty() && after.is_empty() { String::new() } else { format!(" ({total} characters)") };
    // The dots stand inside the quotes; the characters between are escaped.
    let escaped = Value::String(part).to_string();
    let inner = escaped.get(1..escaped.len() - 1).unwrap_or_default();
    format!("\"{before}{inner}{after}\"{note}")
}

fn shortened(text: &str, from: usize) -> String {
    let total = text.chars().count();
    if total <= SHOWN_CHARS {
        return text.to_owned();
    }
    let part: String = text.chars().skip(from).take(SHOWN_CHARS).collect();
    format!("{part}… ({total} characters)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_after_redaction_so_that_no_half_secret_shows() {
        let redactor = Redactor::new(["correct-horse-battery".to_owned()]);
        let text = format!("{}correct-horse-battery and more", "x".repeat(SHOWN_CHARS - 5));
        let shown = quoted(&text, &redactor);
        assert_eq!(shown, format!("\"{}*** a…\" (127 characters)", "x".repeat(SHOWN_CHARS - 5)));
        assert!(!shown.contains("corr"));
    }

    #[test]
    fn a_difference_far_into_a_text_is_what_is_shown() {
        let (found, wanted) = (format!("{}left", "é".repeat(1000)), format!("{}right", "é".repeat(1000)));
        let (found, wanted) = difference(&found, &wanted, &Redactor::default()).unwrap();
        assert_eq!(found, format!("\"…{}left\" (1004 characters)", "é".repeat(CONTEXT_CHARS)));
        assert_eq!(wanted, format!("\"…{}right\" (1005 characters)", "é".repeat(CONTEXT_CHARS)));
    }

    #[test]
    fn control_characters_are_visible() {
        assert_eq!(quoted("a\n\u{1b}[0m\"b\"", &Redactor::default()), r#""a\n\u001b[0m\"b\"""#);
    }
}
