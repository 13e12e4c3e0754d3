//! What names in a plan look like, and what a template at some place of it can name.

use std::collections::BTreeMap;

use testledger_schemas::plan::document::{Pairs, ScalarText};

use super::limits::MAX_ID_LENGTH;

/// Names that captures cannot have: templates know them already.
pub const RESERVED: [&str; 13] = [
    "env",
    "params",
    "matrix",
    "captures",
    "execution",
    "case",
    "suite",
    "range",
    "dict",
    "namespace",
    "debug",
    "true",
    "false",
];
/// What `execution.` has.
pub const EXECUTION_FACTS: [&str; 2] = ["execution.id", "execution.attempt"];

/// Whether a text is an id: letters, digits, `_`, `-` and `.`.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.len() <= MAX_ID_LENGTH && text.chars().all(known)
}

/// Whether a template can name it after a dot: letters, digits and `_`, not a digit first.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && text.len() <= MAX_ID_LENGTH && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What a template at some place of the plan can name.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Declared parameters.
    pub params: Vec<String>,
    /// Keys of the case's matrix.
    pub matrix: Vec<String>,
    /// Declared environment variables; none where any may be named.
    pub env: Option<Vec<String>>,
    /// What earlier steps of the case capture.
    pub captures: Vec<String>,
    /// What this step and later ones are the first to capture, with the id of the step.
    pub later: BTreeMap<String, String>,
}

/// A name that leads to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// As it is written.
    pub name: String,
    /// What there is instead, as it would be written.
    pub there: Vec<String>,
    /// Whether it is an environment variable: that could come from outside.
    pub is_env: bool,
    /// The step that captures it, too late.
    pub captured_by: Option<String>,
}

impl Known {
    /// The same, with more environment variables.
    #[must_use]
    pub fn with_env(mut self, env: &Pairs<ScalarText>) -> Self {
        if let Some(known) = &mut self.env {
            known.extend(env.0.iter().map(|(name, _)| name.clone()));
        }
        self
    }

    /// The same, where any environment variable may be named: in the values of `env` themselves.
    #[must_use]
    pub fn with_any_env(&self) -> Self {
        Self { env: None, ..self.clone() }
    }

    /// Checks one dotted name of a template.
    ///
    /// # Errors
    /// [`UnknownName`] if it leads to nothing.
    pub fn check(&self, name: &str) -> Result<(), UnknownName> {
        let mut parts = name.split('.');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        let below = |names: &[String], second: &str| {
            if names.iter().any(|known| known == second) { Ok(()) } else { Err(self.unknown(first, second, names)) }
        };
        match (first, second) {
            ("env" | "params" | "matrix" | "captures" | "case" | "suite", None) => Ok(()),
            ("params", Some(second)) => below(&self.params, second),
            ("matrix", Some(second)) => below(&self.matrix, second),
            ("captures", Some(second)) => below(&self.captures, second),
            ("env", Some(second)) => self.env.as_ref().map_or(Ok(()), |env| below(env, second)),
            ("execution", second) => match second {
                None | Some("id" | "attempt") => Ok(()),
                Some(_) => Err(self.unknown_among(name, EXECUTION_FACTS.map(str::to_owned).to_vec())),
            },
            (first, _) if self.captures.iter().any(|known| known == first) => Ok(()),
            (first, _) => Err(self.unknown_among(first, self.all())),
        }
    }

    fn unknown(&self, first: &str, second: &str, names: &[String]) -> UnknownName {
        let there = names.iter().map(|name| format!("{first}.{name}")).collect();
        self.unknown_among(&format!("{first}.{second}"), there)
    }

    fn unknown_among(&self, name: &str, there: Vec<String>) -> UnknownName {
        let captured = name.strip_prefix("captures.").unwrap_or(name);
        let captured_by = self.later.get(captured).cloned();
        UnknownName { is_env: name.starts_with("env."), captured_by, name: name.to_owned(), there }
    }

    /// Everything that can be named, for a suggestion.
    fn all(&self) -> Vec<String> {
        let dotted = |first: &'static str, names: &[String]| {
            names.iter().map(|name| format!("{first}.{name}")).collect::<Vec<_>>()
        };
        let mut all = self.captures.clone();
        all.extend(dotted("params", &self.params));
        all.extend(dotted("matrix", &self.matrix));
        all.extend(self.env.iter().flat_map(|env| dotted("env", env)));
        all.extend(["case", "suite"].into_iter().chain(EXECUTION_FACTS).map(str::to_owned));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_part_by_part() {
        let known = Known {
            params: vec!["region".into()],
            matrix: vec![],
            env: Some(vec!["BASE".into()]),
            captures: vec!["token".into()],
            later: BTreeMap::new(),
        };
        for name in ["token", "token.id", "captures.token", "params.region", "env.BASE", "execution.id", "suite"] {
            assert_eq!(known.check(name), Ok(()), "{name}");
        }
        for name in ["tokn", "captures.x", "params.x", "env.BAES", "matrix.x", "execution.x", "region"] {
            assert!(known.check(name).is_err(), "{name}");
        }
        assert_eq!(known.with_any_env().check("env.BAES"), Ok(()));
    }

    #[test]
    fn ids_and_names() {
        assert!(is_id("a.b-c_1") && !is_id("a b") && !is_id("") && !is_id("é") && !is_id(&"x".repeat(65)));
        assert!(is_name("_a1") && !is_name("1a") && !is_name("a-b") && !is_name(""));
    }
}
