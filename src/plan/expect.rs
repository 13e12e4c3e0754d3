//! Reads what a result must be.

use std::collections::BTreeMap;

use testledger_schemas::plan::document::{
    ExpectDocument, JsonDocument, OneOrMany, StatusDocument, TextExpectDocument, ValueExpectDocument, ValueOperators,
};
use testledger_schemas::plan::{HttpExpect, RunExpect, TextExpect, ValueExpect};

use super::names::Known;
use super::problem::shown;
use super::reader::Reader;
use super::request::is_header_name;
use super::tree::Path;

/// The status codes that pass where nothing is said.
const DEFAULT_STATUS: (u16, u16) = (200, 399);

/// What the result of a command must be.
pub fn of_run(reader: &mut Reader<'_>, path: &Path<'_>, expect: &ExpectDocument, known: Known<'_>) -> RunExpect {
    let strangers = [
        ("status", expect.status.is_some()),
        ("headers", !expect.headers.is_empty()),
        ("json", !expect.json.is_empty()),
        ("text", expect.text.is_some()),
    ];
    refuse(reader, path, &strangers, "a command", "`exit`, `stdout`, `stderr` and `within`");
    let exit_codes = expect.exit.as_ref().map_or_else(|| vec![0], |codes| codes.0.clone());
    if exit_codes.iter().any(|code| !(0..=255).contains(code)) {
        reader.wrong(&path.key("exit"), "an exit code is out of range", "use numbers from 0 to 255");
    }
    RunExpect {
        exit_codes,
        stdout: text(reader, &path.key("stdout"), expect.stdout.as_ref(), known),
        stderr: text(reader, &path.key("stderr"), expect.stderr.as_ref(), known),
        within_ms: reader.duration(&path.key("within"), expect.within),
    }
}

/// What a response must be.
pub fn of_http(reader: &mut Reader<'_>, path: &Path<'_>, expect: &ExpectDocument, known: Known<'_>) -> HttpExpect {
    let strangers =
        [("exit", expect.exit.is_some()), ("stdout", expect.stdout.is_some()), ("stderr", expect.stderr.is_some())];
    refuse(reader, path, &strangers, "a response", "`status`, `headers`, `json`, `text` and `within`");
    HttpExpect {
        status: expect.status.as_ref().map_or_else(|| vec![DEFAULT_STATUS], |status| ranges(reader, path, status)),
        headers: headers(reader, &path.key("headers"), &expect.headers, known),
        json: json(reader, &path.key("json"), &expect.json, known),
        text: text(reader, &path.key("text"), expect.text.as_ref(), known),
        within_ms: reader.duration(&path.key("within"), expect.within),
    }
}

fn refuse(reader: &mut Reader<'_>, path: &Path<'_>, strangers: &[(&str, bool)], kind: &str, has: &str) {
    for (key, _) in strangers.iter().filter(|(_, is_there)| *is_there) {
        reader.wrong_key(&path.key(key), format!("{kind} has no `{key}`"), format!("{kind} is held against {has}"));
    }
}

fn ranges(reader: &mut Reader<'_>, path: &Path<'_>, status: &OneOrMany<StatusDocument>) -> Vec<(u16, u16)> {
    let range = |status: &StatusDocument| match status {
        StatusDocument::Code(code) => {
            u16::try_from(*code).ok().filter(|code| (100..=599).contains(code)).map(|code| (code, code))
        }
        StatusDocument::Class(class) => match class.as_bytes() {
            [digit @ b'1'..=b'5', b'x', b'x'] => {
                let first = u16::from(digit - b'0') * 100;
                Some((first, first + 99))
            }
            _ => None,
        },
    };
    let ranges: Vec<_> = status.0.iter().filter_map(range).collect();
    if ranges.len() < status.0.len() {
        let mend = "write a code from 100 to 599, or a class such as `2xx`";
        reader.wrong(&path.key("status"), "this is not a status", mend);
    }
    ranges
}

fn text(reader: &mut Reader<'_>, path: &Path<'_>, expect: Option<&TextExpectDocument>, known: Known<'_>) -> TextExpect {
    let Some(TextExpectDocument(expect)) = expect else { return TextExpect::default() };
    if let Some(equals) = &expect.equals {
        reader.template(&path.key("equals"), equals, known);
    }
    let mut texts = |key: &str, texts: Option<&OneOrMany<String>>| {
        let texts = texts.map(|texts| texts.0.clone()).unwrap_or_default();
        let below = path.key(key);
        for (index, text) in texts.iter().enumerate() {
            reader.template(&item(&below, index, texts.len()), text, known);
        }
        texts
    };
    let contains = texts("contains", expect.contains.as_ref());
    let not_contains = texts("not_contains", expect.not_contains.as_ref());
    let matches = texts("matches", expect.matches.as_ref());
    let below = path.key("matches");
    for (index, regex) in matches.iter().enumerate() {
        reader.regex(&item(&below, index, matches.len()), regex);
    }
    TextExpect { equals: expect.equals.clone(), contains, not_contains, matches }
}

/// The way to one of several; to the value itself, where there is only one and it may not be in a list.
fn item<'p>(path: &'p Path<'p>, index: usize, count: usize) -> Path<'p> {
    if count == 1 { *path } else { path.index(index) }
}

fn headers(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    expect: &BTreeMap<String, ValueExpectDocument>,
    known: Known<'_>,
) -> BTreeMap<String, ValueExpect> {
    let mut headers = BTreeMap::new();
    for (name, document) in expect {
        let below = path.key(name);
        if !is_header_name(name) {
            let message = format!("`{}` is not the name of a header field", shown(name));
            reader.wrong_key(&below, message, "write one such as `content-type`");
        }
        let value = value(reader, &below, &document.0, known);
        if headers.insert(name.to_lowercase(), value).is_some() {
            reader.wrong_key(&below, "this header field stands here twice", "keep one of them: case does not count");
        }
    }
    headers
}

fn json(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    expect: &BTreeMap<String, ValueExpectDocument>,
    known: Known<'_>,
) -> BTreeMap<String, ValueExpect> {
    let read = |(json_path, document): (&String, &ValueExpectDocument)| {
        let below = path.key(json_path);
        reader.json_path_key(&below, json_path);
        (json_path.clone(), value(reader, &below, &document.0, known))
    };
    expect.iter().map(read).collect()
}

fn value(reader: &mut Reader<'_>, path: &Path<'_>, expect: &ValueOperators, known: Known<'_>) -> ValueExpect {
    if *expect == ValueOperators::default() {
        let mend =
            "write a value, or operators such as `exists: true`, `equals:`, `contains:`, `matches:`, `at_least:`";
        reader.wrong(path, "nothing is expected here", mend);
    }
    if let Some(JsonDocument(value)) = &expect.equals {
        json_texts(reader, path, value, known);
    }
    if let Some(contains) = &expect.contains {
        reader.template(&path.key("contains"), contains, known);
    }
    if let Some(regex) = &expect.matches {
        reader.template(&path.key("matches"), regex, known);
        reader.regex(&path.key("matches"), regex);
    }
    ValueExpect {
        exists: expect.exists,
        equals: expect.equals.as_ref().map(|JsonDocument(value)| value.to_string()),
        contains: expect.contains.clone(),
        matches: expect.matches.clone(),
        length: expect.length,
        at_least: expect.at_least.as_ref().map(ToString::to_string),
        at_most: expect.at_most.as_ref().map(ToString::to_string),
    }
}

/// The texts within a JSON value are templates. Its depth is bounded by that of the file.
pub fn json_texts(reader: &mut Reader<'_>, path: &Path<'_>, value: &serde_json::Value, known: Known<'_>) {
    match value {
        serde_json::Value::String(text) => reader.template(path, text, known),
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| json_texts(reader, &path.index(index), item, known));
        }
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(key, field)| json_texts(reader, &path.key(key), field, known));
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}
