//! What every part of the reading shares: the tree for places, the problems found, and the checks of single values.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json_path::JsonPath;
use testledger_schemas::plan::Retries;
use testledger_schemas::plan::document::{Duration, Pairs, RetriesDocument, ScalarText};

use super::limits::{MAX_FIELD_BYTES, MAX_NAME_LENGTH};
use super::names::{Known, is_name};
use super::problem::{MAX_PROBLEMS, Problem, shown, suggestion};
use super::template::{self, TemplateError};
use super::tree::{Node, Path};

/// Attempts, where retries are asked for without a number.
const DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// The wait before the second attempt, where none is given.
const DEFAULT_BACKOFF_MS: u64 = 1000;
/// How much longer each further wait is, where it is not given.
const DEFAULT_BACKOFF_FACTOR: u32 = 2;

/// Collects problems while a document becomes a plan.
pub struct Reader<'t> {
    tree: &'t Node,
    /// What was found so far.
    pub problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    /// A reader over the tree of the same text.
    #[must_use]
    pub fn new(tree: &'t Node) -> Self {
        Self { tree, problems: vec![] }
    }

    /// Whether so much is wrong already that the rest need not be looked for with care.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.problems.len() > MAX_PROBLEMS
    }

    /// Something is wrong with the value at a path.
    pub fn wrong(&mut self, path: &Path<'_>, message: impl Into<String>, mend: impl Into<String>) {
        let place = self.tree.place_at(path);
        self.problems.push(Problem { place, field: path.to_string(), message: message.into(), mend: mend.into() });
    }

    /// Something is wrong with the key at a path.
    pub fn wrong_key(&mut self, path: &Path<'_>, message: impl Into<String>, mend: impl Into<String>) {
        let place = self.tree.key_place_at(path);
        self.problems.push(Problem { place, field: path.to_string(), message: message.into(), mend: mend.into() });
    }

    /// A duration that must be more than nothing, in milliseconds.
    pub fn duration(&mut self, path: &Path<'_>, duration: Option<Duration>) -> Option<u64> {
        let duration = duration?;
        if duration.ms == 0 {
            self.wrong(path, "this duration is zero", "write one above zero, or take the key away");
        }
        Some(duration.ms)
    }

    /// Retries with every default filled in.
    #[must_use]
    pub fn retries(&self, document: Option<&RetriesDocument>) -> Retries {
        document.map_or(Retries::NONE, |retries| Retries {
            max_attempts: retries.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS),
            backoff_ms: retries.backoff.map_or(DEFAULT_BACKOFF_MS, |backoff| backoff.ms),
            backoff_factor: retries.factor.unwrap_or(DEFAULT_BACKOFF_FACTOR),
        })
    }

    /// Items of a list that must differ: each that stands there for the second time is a problem.
    pub fn distinct<'i>(&mut self, path: &Path<'_>, items: impl IntoIterator<Item = &'i str>) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.into_iter().enumerate() {
            if !seen.insert(item) {
                let message = format!("`{}` stands here twice", shown(item));
                self.wrong(&path.index(index), message, "take one of them away");
            }
        }
    }

    /// A name for people, or the id in its place.
    pub fn display_name(&mut self, path: &Path<'_>, name: Option<&String>, id: &str) -> String {
        let Some(name) = name else { return id.to_owned() };
        if name.trim().is_empty() || name.chars().count() > MAX_NAME_LENGTH || name.chars().any(char::is_control) {
            let mend = format!("write 1 to {MAX_NAME_LENGTH} characters on one line");
            self.wrong(&path.key("name"), format!("`{}` cannot be shown as a name", shown(name)), mend);
        }
        name.clone()
    }

    /// A text that is a template: its size, its syntax, and every name in it.
    pub fn template(&mut self, path: &Path<'_>, text: &str, known: Known<'_>) {
        self.plain(path, text);
        match template::names_in(text) {
            Ok(names) => names.iter().for_each(|name| self.known_name(path, name, known)),
            Err(TemplateError::Syntax(reason)) => {
                let mend = "write `{{ name }}`; for two braces as such write `{{ '{{' }}`";
                self.wrong(path, format!("this template cannot be read: {reason}"), mend);
            }
            Err(other @ (TemplateError::Unknown { .. } | TemplateError::TooLong | TemplateError::Failed(_))) => {
                self.wrong(path, other.to_string(), "write `{{ name }}`");
            }
        }
    }

    fn known_name(&mut self, path: &Path<'_>, name: &str, known: Known<'_>) {
        // What could be named instead is costly to find.
        if self.is_full() {
            return;
        }
        let Err(unknown) = known.check(name) else { return };
        let message = format!("`{}` names nothing that is known here", unknown.name);
        if let Some(step) = &unknown.captured_by {
            let mend = format!("the step `{step}` captures it: name it in steps after that one");
            return self.wrong(path, message, mend);
        }
        let there: Vec<&str> = unknown.there.iter().map(String::as_str).collect();
        let mut mend = suggestion(&unknown.name, &there);
        if let (true, Some(variable)) = (unknown.is_env, unknown.name.strip_prefix("env.")) {
            mend = format!(
                "{mend} - or, to take it from outside, add `{variable}: \"{{{{ env.{variable} }}}}\"` to `env`"
            );
        }
        self.wrong(path, message, mend);
    }

    /// A text of any kind: its size, and that no program can misread its end.
    pub fn plain(&mut self, path: &Path<'_>, text: &str) {
        if text.len() > MAX_FIELD_BYTES {
            let message = format!("this text has {} bytes", text.len());
            self.wrong(path, message, format!("keep it under {MAX_FIELD_BYTES} bytes, or put it into a file"));
        }
        if text.contains('\0') {
            self.wrong(path, "this text has a zero character in it", "take it out: no program can be given one");
        }
    }

    /// Environment variables: their names, and the templates in their values.
    pub fn env(&mut self, path: &Path<'_>, env: &Pairs<ScalarText>, known: Known<'_>) -> Vec<(String, String)> {
        let known = known.with_any_env();
        for (name, value) in &env.0 {
            let below = path.key(name);
            self.variable_name(&below, name);
            self.template(&below, &value.0, known);
        }
        texts(env)
    }

    /// The name of an environment variable.
    pub fn variable_name(&mut self, path: &Path<'_>, name: &str) {
        let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("`{}` is not a name of an environment variable", shown(name));
            self.wrong_key(path, message, "use letters, digits and `_`, not a digit first");
        }
    }

    /// A name that templates can use after a dot.
    pub fn template_name(&mut self, path: &Path<'_>, name: &str) {
        if !is_name(name) {
            let message = format!("`{}` cannot be named in a template", shown(name));
            self.wrong_key(path, message, "use letters, digits and `_`, not a digit first");
        }
    }

    /// A regular expression; where it is a template, its result is checked when it is there.
    pub fn regex(&mut self, path: &Path<'_>, text: &str) {
        if template::is_template(text) {
            return;
        }
        if let Err(error) = Regex::new(text) {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let mend = "use the syntax of Rust's `regex` crate; escape special characters with `\\`, \
                        and put the text in single quotes";
            self.wrong(path, format!("`{}` is not a regular expression: {reason}", shown(text)), mend);
        }
    }

    /// A JSONPath that is written as a key.
    pub fn json_path_key(&mut self, path: &Path<'_>, text: &str) {
        if let Some((message, mend)) = json_path_fault(text) {
            self.wrong_key(path, message, mend);
        }
    }

    /// A JSONPath that is written as a value.
    pub fn json_path(&mut self, path: &Path<'_>, text: &str) {
        if let Some((message, mend)) = json_path_fault(text) {
            self.wrong(path, message, mend);
        }
    }
}

/// What is wrong with a JSONPath, and the mend.
fn json_path_fault(text: &str) -> Option<(String, String)> {
    let error = JsonPath::parse(text).err()?;
    let message = format!("`{}` is not a JSONPath (from character {} on)", shown(text), error.position() + 1);
    Some((message, "write one of RFC 9535, such as `$.user.id` or `$.items[0]`".to_owned()))
}

/// The pairs as plain texts.
#[must_use]
pub fn texts(pairs: &Pairs<ScalarText>) -> Vec<(String, String)> {
    pairs.0.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
}
