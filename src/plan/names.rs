//! What names in a plan look like, and what a template at some place of it can name.

use std::collections::{BTreeMap, BTreeSet};

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

/// What the plan and one case of it declare.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Parameters.
    pub params: BTreeSet<String>,
    /// Keys of the case's matrix.
    pub matrix: BTreeSet<String>,
    /// Environment variables and secrets.
    pub env: BTreeSet<String>,
    /// What earlier steps of the case capture.
    pub captures: BTreeSet<String>,
    /// What this step and later ones are the first to capture, with the id of the step.
    pub later: BTreeMap<String, String>,
}

/// What a template at some place of the plan can name.
#[derive(Clone, Copy, Debug)]
pub struct Known<'d> {
    declared: &'d Declared,
    /// The environment of a step or a service, on top of what is declared.
    own_env: &'d [(String, ScalarText)],
    /// Whether any environment variable may be named: in the values of `env` themselves.
    any_env: bool,
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

impl<'d> Known<'d> {
    /// What is declared, and nothing besides.
    #[must_use]
    pub fn of(declared: &'d Declared) -> Self {
        Self { declared, own_env: &[], any_env: false }
    }

    /// The same, with the environment of a step or a service.
    #[must_use]
    pub fn with_env(self, env: &'d Pairs<ScalarText>) -> Self {
        Self { own_env: &env.0, ..self }
    }

    /// The same, where any environment variable may be named.
    #[must_use]
    pub fn with_any_env(self) -> Self {
        Self { any_env: true, ..self }
    }

    /// Checks one dotted name of a template.
    ///
    /// # Errors
    /// [`UnknownName`] if it leads to nothing.
    pub fn check(&self, name: &str) -> Result<(), UnknownName> {
        let mut parts = name.split('.');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        let Declared { params, matrix, captures, .. } = self.declared;
        let below = |names: &BTreeSet<String>, second: &str| {
            if names.contains(second) { Ok(()) } else { Err(self.unknown(name, dotted(first, names))) }
        };
        match (first, second) {
            ("env" | "params" | "matrix" | "captures" | "case" | "suite", None) => Ok(()),
            ("params", Some(second)) => below(params, second),
            ("matrix", Some(second)) => below(matrix, second),
            ("captures", Some(second)) => below(captures, second),
            ("env", Some(second)) if self.has_env(second) => Ok(()),
            ("env", Some(_)) => Err(self.unknown(name, self.env_names())),
            ("execution", None | Some("id" | "attempt")) => Ok(()),
            ("execution", Some(_)) => Err(self.unknown(name, EXECUTION_FACTS.map(str::to_owned).to_vec())),
            (first, _) if captures.contains(first) => Ok(()),
            (first, _) => Err(self.unknown(first, self.all())),
        }
    }

    fn has_env(&self, name: &str) -> bool {
        self.any_env || self.declared.env.contains(name) || self.own_env.iter().any(|(own, _)| own == name)
    }

    fn env_names(&self) -> Vec<String> {
        let own = self.own_env.iter().map(|(name, _)| format!("env.{name}"));
        dotted("env", &self.declared.env).into_iter().chain(own).collect()
    }

    fn unknown(&self, name: &str, there: Vec<String>) -> UnknownName {
        let captured = name.strip_prefix("captures.").unwrap_or(name);
        let captured_by = self.declared.later.get(captured).cloned();
        UnknownName { is_env: name.starts_with("env."), captured_by, name: name.to_owned(), there }
    }

    /// Everything that can be named, for a suggestion.
    fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = self.declared.captures.iter().cloned().collect();
        all.extend(dotted("params", &self.declared.params));
        all.extend(dotted("matrix", &self.declared.matrix));
        all.extend(self.env_names());
        all.extend(["case", "suite"].into_iter().chain(EXECUTION_FACTS).map(str::to_owned));
        all
    }
}

fn dotted(first: &str, names: &BTreeSet<String>) -> Vec<String> {
    names.iter().map(|name| format!("{first}.{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_part_by_part() {
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let declared = Declared {
            params: set("region"),
            env: set("BASE"),
            captures: set("token"),
            later: [("late".to_owned(), "last".to_owned())].into(),
            ..Declared::default()
        };
        let known = Known::of(&declared);
        for name in ["token", "token.id", "captures.token", "params.region", "env.BASE", "execution.id", "suite"] {
            assert_eq!(known.check(name), Ok(()), "{name}");
        }
        for name in ["tokn", "captures.x", "params.x", "env.BAES", "matrix.x", "execution.x", "region"] {
            assert!(known.check(name).is_err(), "{name}");
        }
        assert_eq!(known.with_any_env().check("env.BAES"), Ok(()));
        let own = Pairs(vec![("OWN".to_owned(), ScalarText::default())]);
        assert_eq!(known.with_env(&own).check("env.OWN"), Ok(()));
        assert_eq!(known.check("late.x").unwrap_err().captured_by.as_deref(), Some("last"));
    }

    #[test]
    fn ids_and_names() {
        assert!(is_id("a.b-c_1") && !is_id("a b") && !is_id("") && !is_id("é") && !is_id(&"x".repeat(65)));
        assert!(is_name("_a1") && !is_name("1a") && !is_name("a-b") && !is_name(""));
    }
}
