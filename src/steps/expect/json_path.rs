//! JSONPath (RFC 9535) on a JSON text.

use serde_json::Value;
use serde_json_path::JsonPath;

/// The longest path, in bytes: keeps the parser's recursion small.
pub const MAX_PATH_BYTES: usize = 1024;

/// The deepest nesting of brackets in a path: the parser calls itself for each.
const MAX_PATH_DEPTH: usize = 16;

/// A parsed path.
pub struct Path {
    path: JsonPath,
    singular: bool,
}

impl Path {
    /// Parses a path.
    ///
    /// # Errors
    /// A line that names the path and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PATH_BYTES || depth(text) > MAX_PATH_DEPTH {
            let limits = format!("at most {MAX_PATH_BYTES} bytes and {MAX_PATH_DEPTH} brackets deep");
            return Err(format!("a JSONPath of {} bytes is too large: {limits}", text.len()));
        }
        let path = JsonPath::parse(text).map_err(|error| format!("{text} is not a JSONPath (RFC 9535): {error}"))?;
        // RFC 9535 lets only a singular query stand in a comparison: the grammar itself tells.
        let singular = JsonPath::parse(&format!("$[?{text} == 0]")).is_ok();
        Ok(Self { path, singular })
    }

    /// Whether it can lead to one node at the most: names and indexes only.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        self.singular
    }

    /// The nodes it leads to, in document order.
    #[must_use]
    pub fn nodes<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        self.path.query(document).all()
    }
}

fn depth(text: &str) -> usize {
    let step = |(depth, deepest): (usize, usize), c| match c {
        '(' | '[' => (depth + 1, deepest.max(depth + 1)),
        ')' | ']' => (depth.saturating_sub(1), deepest),
        _ => (depth, deepest),
    };
    text.chars().fold((0, 0), step).1
}

/// Reads a JSON text.
///
/// # Errors
/// What is wrong with it, and where.
pub fn document(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_indexes_alone_are_singular() {
        for (path, singular) in [
            ("$", true),
            ("$.user.name", true),
            ("$['user'][0]", true),
            ("$.items[-1].id", true),
            ("$.items[*].id", false),
            ("$..id", false),
            ("$.items[0:2]", false),
            ("$.items[0, 1]", false),
            ("$.items[?@.id == 1]", false),
        ] {
            assert_eq!(Path::parse(path).unwrap().is_singular(), singular, "{path}");
        }
    }

    #[test]
    fn nodes_come_in_document_order() {
        let document = json!({ "items": [{ "id": 3 }, { "id": 1 }] });
        assert_eq!(Path::parse("$.items[*].id").unwrap().nodes(&document), [&json!(3), &json!(1)]);
        assert!(Path::parse("$.nothing").unwrap().nodes(&document).is_empty());
    }

    #[test]
    fn what_is_no_path_is_named() {
        let error = |path: &str| Path::parse(path).err().unwrap();
        assert!(error("user.name").starts_with("user.name is not a JSONPath (RFC 9535): "), "{}", error("user.name"));
        assert!(error("").starts_with(" is not a JSONPath"), "{}", error(""));
        assert!(error("$.a == 1 && $.b").contains("is not a JSONPath"));
    }

    #[test]
    fn paths_that_would_exhaust_the_parser_are_refused_at_once() {
        let deep = format!("$[?{}@.a == 1{}]", "(".repeat(400), ")".repeat(400));
        assert!(Path::parse(&deep).err().unwrap().contains("too large"));
        assert!(Path::parse(&format!("$.{}", "a".repeat(2000))).err().unwrap().contains("2002 bytes"));
        let allowed = format!("$[?{}@.a == 1{}]", "(".repeat(15), ")".repeat(15));
        assert!(Path::parse(&allowed).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_is_refused_without_a_panic(
            text in "\\PC{0,30}", like_a_path in "\\$[\\[\\]().?@*'\"a-c0-9:,=&|!<>é -]{0,40}",
        ) {
            let document = json!({ "a": [1, { "b": "c" }], "b": null });
            for text in [text, like_a_path] {
                if let Ok(path) = Path::parse(&text) {
                    prop_assert!(!path.is_singular() || path.nodes(&document).len() <= 1, "{}", text);
                }
            }
        }
    }
}
