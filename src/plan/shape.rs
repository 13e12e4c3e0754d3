//! Holds the tree against the published JSON Schema, so that every problem of shape is found, not the first alone.
//!
//! This reads the part of JSON Schema that our own schema uses; a test keeps the two together.

use std::sync::LazyLock;

use serde_json::Value as Json;
use testledger_schemas::plan::document::Duration;

use super::problem::{MAX_PROBLEMS, Problem, shown, suggestion};
use super::tree::{Entry, Node, Path, Place, Value};

/// The schema, without the nulls that stand for optional fields.
static SCHEMA: LazyLock<Json> = LazyLock::new(testledger_schemas::published::plan_schema);

/// Every problem of shape. A case of a type that is not built yet is refused as a whole: it has fields of its own.
#[must_use]
pub fn check(root: &Node) -> Vec<Problem> {
    let mut walk = Walk { problems: vec![] };
    walk.node(root, &SCHEMA, &Path::Root);
    walk.problems
}

struct Walk {
    problems: Vec<Problem>,
}

impl Walk {
    fn node(&mut self, node: &Node, schema: &Json, path: &Path<'_>) {
        if self.problems.len() > MAX_PROBLEMS {
            return;
        }
        let schema = resolve(schema);
        if let Some(options) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
            return self.any_of(node, options, schema, path);
        }
        if let Some(constant) = schema["const"].as_str()
            && node.text() != Some(constant)
        {
            return self.wrong_type(node, schema, path);
        }
        if !fits_type(&node.value, schema) {
            return self.wrong_type(node, schema, path);
        }
        match &node.value {
            Value::Map(entries) => self.map(node, entries, schema, path),
            Value::List(items) => self.list(node, items, schema, path),
            Value::Text(text) => self.text(node.place, text, schema, path),
            Value::Integer(number) => self.number(node.place, *number, schema, path),
            Value::Null | Value::Bool | Value::Float => {}
        }
    }

    /// The alternative whose type fits speaks for the whole.
    fn any_of(&mut self, node: &Node, options: &[Json], schema: &Json, path: &Path<'_>) {
        if options.iter().all(|option| resolve(option)["const"].is_string()) {
            return self.word(node, options, path);
        }
        match options.iter().find(|option| fits_type(&node.value, resolve(option))) {
            Some(option) => self.node(node, option, path),
            None => self.wrong_type(node, schema, path),
        }
    }

    fn word(&mut self, node: &Node, options: &[Json], path: &Path<'_>) {
        let words: Vec<&str> = options.iter().filter_map(|option| resolve(option)["const"].as_str()).collect();
        match &node.value {
            Value::Text(text) if words.contains(&text.as_str()) => {}
            Value::Text(text) => {
                self.report(node.place, path, format!("`{}` is not known here", shown(text)), suggestion(text, &words));
            }
            other => self.report(node.place, path, format!("this is {}", other.kind()), suggestion("", &words)),
        }
    }

    fn map(&mut self, node: &Node, entries: &[Entry], schema: &Json, path: &Path<'_>) {
        let none = serde_json::Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        if let Some(case_type) = node.get("type").filter(|_| properties.contains_key("steps"))
            && let Some((message, mend)) = case_type.text().and_then(not_built)
        {
            return self.report(case_type.place, &path.key("type"), message, mend);
        }
        for entry in entries {
            if self.problems.len() > MAX_PROBLEMS {
                return;
            }
            let below = path.key(&entry.key);
            match (properties.get(&entry.key), &schema["additionalProperties"]) {
                (Some(property), _) => self.node(&entry.node, property, &below),
                (None, Json::Bool(false)) => self.unknown_key(entry, properties, &below),
                (None, Json::Object(_)) => self.node(&entry.node, &schema["additionalProperties"], &below),
                (None, _) => {}
            }
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !entries.iter().any(|entry| entry.key == key) {
                let mend = format!("add `{key}:`{}", about(&properties[key]));
                self.report(node.place, path, format!("`{key}` is missing"), mend);
            }
        }
    }

    fn unknown_key(&mut self, entry: &Entry, properties: &serde_json::Map<String, Json>, path: &Path<'_>) {
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let message = format!("the key `{}` is not known here", shown(&entry.key));
        self.report(entry.place, path, message, suggestion(&entry.key, &names));
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &Json, path: &Path<'_>) {
        if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
            let mend = format!("put at least one item in{}", about(schema));
            self.report(node.place, path, "this list is empty".to_owned(), mend);
        }
        for (index, item) in items.iter().enumerate() {
            self.node(item, &schema["items"], &path.index(index));
        }
    }

    fn text(&mut self, place: Place, text: &str, schema: &Json, path: &Path<'_>) {
        if schema["minLength"].as_u64().is_some_and(|least| least > 0 && text.is_empty()) {
            let mend = format!("write {} here", wanted(schema));
            self.report(place, path, "this text is empty".to_owned(), mend);
        }
        match schema["format"].as_str() {
            Some("testledger-duration") => {
                if text.parse::<Duration>().is_err() {
                    let message = format!("`{}` is not a duration", shown(text));
                    let mend = "write a number and a unit: `500ms`, `30s`, `5m`, `1h`, `1m30s` (at most 366 days)";
                    self.report(place, path, message, mend.to_owned());
                }
            }
            Some("testledger-id") => self.id(place, text, path),
            Some("testledger-status-class") => {
                if !matches!(text.as_bytes(), [b'1'..=b'5', b'x', b'x']) {
                    let message = format!("`{}` is not a status", shown(text));
                    self.report(
                        place,
                        path,
                        message,
                        "write a code such as `200`, or a class such as `2xx`".to_owned(),
                    );
                }
            }
            Some(_) | None => {}
        }
    }

    fn id(&mut self, place: Place, text: &str, path: &Path<'_>) {
        if !super::names::is_id(text) {
            let message = format!("`{}` is not an id", shown(text));
            let mend = format!("use 1 to {} letters, digits, `_`, `-` and `.`", super::limits::MAX_ID_LENGTH);
            self.report(place, path, message, mend);
        }
    }

    fn number(&mut self, place: Place, number: i128, schema: &Json, path: &Path<'_>) {
        let (least, most) = (bound(&schema["minimum"]), bound(&schema["maximum"]));
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let range = match (least, most) {
                (Some(least), Some(most)) => format!("from {least} to {most}"),
                (Some(least), None) => format!("of at least {least}"),
                (None, Some(most)) => format!("of at most {most}"),
                (None, None) => String::new(),
            };
            let mend = format!("use a whole number {range}");
            self.report(place, path, format!("{number} is out of range"), mend);
        }
    }

    fn wrong_type(&mut self, node: &Node, schema: &Json, path: &Path<'_>) {
        let message = match &node.value {
            Value::Null => "there is no value here".to_owned(),
            other => format!("this is {} and should be {}", other.kind(), wanted(schema)),
        };
        let mend = match (&node.value, wanted(schema).as_str()) {
            (Value::Null, wanted) => format!("write {wanted} here, or take the key away"),
            (Value::Integer(_) | Value::Float | Value::Bool, "a text" | "an id") => "put it in quotes".to_owned(),
            (_, wanted) => format!("write {wanted}{}", about(schema)),
        };
        self.report(node.place, path, message, mend);
    }

    fn report(&mut self, place: Place, path: &Path<'_>, message: String, mend: String) {
        self.problems.push(Problem { place, field: path.to_string(), message, mend });
    }
}

/// Follows a reference into the definitions.
fn resolve(schema: &Json) -> &Json {
    match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => SCHEMA.pointer(pointer).unwrap_or(schema),
        None => schema,
    }
}

/// What is said of a type of case that is not built yet.
fn not_built(case_type: &str) -> Option<(String, String)> {
    let instead = match case_type {
        "bdd" => {
            "use `type: generic` with a step that runs your BDD tool, such as `run: [cucumber-js]` with \
             `report: { junit: out.xml }`"
        }
        "manual" => "leave the case out until verdicts of people can be recorded, or make a `generic` one of it",
        _ => return None,
    };
    Some((format!("cases of type `{case_type}` are not built yet"), instead.to_owned()))
}

fn fits_type(value: &Value, schema: &Json) -> bool {
    let one = |name: &str| match value {
        Value::Null => name == "null",
        Value::Bool => name == "boolean",
        Value::Integer(_) => name == "integer" || name == "number",
        Value::Float => name == "number",
        Value::Text(_) => name == "string",
        Value::List(_) => name == "array",
        Value::Map(_) => name == "object",
    };
    match &schema["type"] {
        Json::String(name) => one(name),
        Json::Array(names) => names.iter().filter_map(Json::as_str).any(one),
        _ => match schema["anyOf"].as_array() {
            Some(options) => options.iter().any(|option| fits_type(value, resolve(option))),
            None => true,
        },
    }
}

/// What a schema asks for, in words.
fn wanted(schema: &Json) -> String {
    let word = |name: &str| match name {
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        "object" => "a mapping",
        _ => "nothing",
    };
    match schema["format"].as_str() {
        Some("testledger-duration") => return "a duration such as `30s`".to_owned(),
        Some("testledger-id") => return "an id".to_owned(),
        Some(_) | None => {}
    }
    if fits_type(&Value::Text(String::new()), schema) && fits_type(&Value::Float, schema) {
        return "a text or a number".to_owned();
    }
    let mut words: Vec<&str> = match (&schema["type"], schema["anyOf"].as_array()) {
        (Json::String(name), _) => vec![word(name)],
        (Json::Array(names), _) => names.iter().filter_map(Json::as_str).map(word).collect(),
        (_, Some(options)) => {
            let names = options.iter().filter_map(|option| resolve(option)["type"].as_str());
            names.map(word).collect()
        }
        _ => vec!["another value"],
    };
    words.dedup();
    words.join(" or ")
}

/// The first sentence of a schema's description, in parentheses, as the end of a mend.
fn about(schema: &Json) -> String {
    let text = schema["description"].as_str().or_else(|| resolve(schema)["description"].as_str()).unwrap_or_default();
    let sentence = text.split(". ").next().unwrap_or_default().replace('\n', " ");
    let mut letters = sentence.trim_end_matches('.').chars();
    match letters.next() {
        Some(first) => format!(" ({}{})", first.to_lowercase(), letters.as_str()),
        None => String::new(),
    }
}

fn bound(value: &Json) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| {
        // schemars writes the bounds of integer types as floats.
        #[expect(clippy::cast_possible_truncation, reason = "the bounds of our own schema are small whole numbers")]
        value.as_f64().map(|number| number as i128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this walk understands, and what says nothing about the shape.
    const KEYWORDS: [&str; 20] = [
        "$ref",
        "$defs",
        "$schema",
        "title",
        "description",
        "default",
        "type",
        "const",
        "anyOf",
        "oneOf",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "minItems",
        "minLength",
        "minimum",
        "maximum",
        "format",
        "pattern",
    ];

    fn check(schema: &Json) {
        let Some(fields) = schema.as_object() else { return };
        for (key, field) in fields {
            assert!(KEYWORDS.contains(&key.as_str()), "{key} in {schema}");
            match key.as_str() {
                "properties" | "$defs" => field.as_object().into_iter().flatten().for_each(|(_, below)| check(below)),
                "anyOf" | "oneOf" => field.as_array().into_iter().flatten().for_each(check),
                "items" | "additionalProperties" => check(field),
                // A pattern is in the schema for editors; the format beside it is what is held here.
                "pattern" => assert!(schema["format"].is_string(), "{schema}"),
                _ => {}
            }
        }
    }

    #[test]
    fn every_keyword_of_the_published_schema_is_understood() {
        check(&SCHEMA);
    }
}
