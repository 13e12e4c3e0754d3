//! Templates: `{{ name }}` in the texts of a plan. Strict (what is not there is an error), bounded, and without files.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::problem::suggestion;

/// The longest text that a template may become: 1 MiB.
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// How many instructions one template may take.
const FUEL: u64 = 100_000;
/// How deep templates may nest.
const MAX_RECURSION: usize = 50;
/// What templates can call besides naming values.
const FUNCTIONS: [&str; 4] = ["range", "dict", "namespace", "debug"];

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(engine);

/// What templates can name, in a form that is ready for use.
#[derive(Clone, Debug, Default)]
pub struct Names(Value);

/// Why a template has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("the template cannot be read: {0}")]
    Syntax(String),
    /// It names something that is not there.
    #[error("`{name}` names nothing: {mend}")]
    Unknown {
        /// What it names.
        name: String,
        /// What would be right.
        mend: String,
    },
    /// Its result would be too long.
    #[error("the template becomes longer than {MAX_OUTPUT_BYTES} bytes")]
    TooLong,
    /// It cannot be carried out.
    #[error("the template has no result: {0}")]
    Failed(String),
}

impl Names {
    /// Makes names of a mapping from name to value.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self(Value::from_pairs(names))
    }

    fn below(value: &Value) -> Vec<String> {
        let mut names: Vec<String> = value.try_iter().into_iter().flatten().map(|name| name.to_string()).collect();
        names.sort();
        names
    }

    /// Whether the parts of a dotted name lead to a value; if not, what was not found and what there is.
    fn missing(&self, name: &str) -> Option<(String, Vec<String>)> {
        let mut value = self.0.clone();
        let mut found = String::new();
        for part in name.split('.') {
            let next = value.get_attr(part).unwrap_or(Value::UNDEFINED);
            let separator = if found.is_empty() { "" } else { "." };
            let prefix = format!("{found}{separator}");
            found.push_str(separator);
            found.push_str(part);
            if next.is_undefined() {
                let siblings = Self::below(&value).into_iter().map(|sibling| format!("{prefix}{sibling}")).collect();
                return Some((found, siblings));
            }
            value = next;
        }
        None
    }
}

/// Whether a text is a template at all. `{#` alone is not: `${#x}` is everyday shell.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// What a template names, as dotted names, sorted.
///
/// # Errors
/// [`TemplateError::Syntax`].
pub fn names_in(text: &str) -> Result<BTreeSet<String>, TemplateError> {
    if !is_template(text) {
        return Ok(BTreeSet::new());
    }
    let template = ENGINE.template_from_str(text).map_err(|error| TemplateError::Syntax(in_words(&error)))?;
    let names = template.undeclared_variables(true);
    Ok(names.into_iter().filter(|name| !FUNCTIONS.contains(&name.as_str())).collect())
}

/// The text that a template becomes.
///
/// # Errors
/// [`TemplateError`].
pub fn render(text: &str, names: &Names) -> Result<String, TemplateError> {
    if !is_template(text) {
        return Ok(text.to_owned());
    }
    let template = ENGINE.template_from_str(text).map_err(|error| TemplateError::Syntax(in_words(&error)))?;
    let mut out = Bounded { bytes: vec![] };
    match template.render_captured_to(names.0.clone(), &mut out) {
        Ok(_) => Ok(String::from_utf8_lossy(&out.bytes).into_owned()),
        Err(_) if out.bytes.len() > MAX_OUTPUT_BYTES => Err(TemplateError::TooLong),
        Err(error) => Err(explain(text, names, &error)),
    }
}

/// The JSON value that a text within JSON becomes: one that is exactly one `{{ x }}` keeps the type of `x`.
///
/// # Errors
/// [`TemplateError`].
pub fn render_json(text: &str, names: &Names) -> Result<serde_json::Value, TemplateError> {
    let Some(expression) = sole_expression(text) else {
        return render(text, names).map(serde_json::Value::String);
    };
    let failed = |error: &Error| explain(text, names, error);
    let value = ENGINE
        .compile_expression(expression)
        .map_err(|error| TemplateError::Syntax(in_words(&error)))?
        .eval(names.0.clone())
        .map_err(|error| failed(&error))?;
    if value.is_undefined() {
        return Err(explain(text, names, &Error::from(ErrorKind::UndefinedError)));
    }
    serde_json::to_value(&value).map_err(|error| TemplateError::Failed(error.to_string()))
}

/// The expression of a text that is exactly one `{{ x }}`.
fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    // `{{-` trims the text around it; there is none here, and as an expression it would be a minus sign.
    let trims = inner.starts_with(['-', '+']) || inner.ends_with(['-', '+']);
    if trims || inner.contains("{{") || inner.contains("}}") || inner.trim().is_empty() { None } else { Some(inner) }
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    // With the delimiters it comes with, building the syntax cannot fail.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        engine.set_syntax(syntax);
    }
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(MAX_RECURSION);
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_formatter(|out, state, value| match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::None => {
            let json = serde_json::to_string(value)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
            out.write_str(&json).map_err(Error::from)
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    engine
}

/// Finds the name that is not there; the engine's own message does not say it.
fn explain(text: &str, names: &Names, error: &Error) -> TemplateError {
    match error.kind() {
        ErrorKind::UndefinedError => {}
        ErrorKind::OutOfFuel => return TemplateError::Failed("it takes too long".to_owned()),
        _ => return TemplateError::Failed(in_words(error)),
    }
    let missing = names_in(text).unwrap_or_default().into_iter().find_map(|name| names.missing(&name));
    match missing {
        Some((name, there)) => {
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            TemplateError::Unknown { mend: suggestion(&name, &there), name }
        }
        None => TemplateError::Failed(in_words(error)),
    }
}

/// The engine's message on one line, without its own name for the text.
fn in_words(error: &Error) -> String {
    let mut words = error.kind().to_string();
    if let Some(detail) = error.detail() {
        let _ = write!(words, ": {detail}");
    }
    words
}

/// Collects output up to the limit.
struct Bounded {
    bytes: Vec<u8>,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (MAX_OUTPUT_BYTES + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.bytes.len() > MAX_OUTPUT_BYTES { Err(io::Error::other("too long")) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::value::Serde;
    use serde_json::json;

    fn names() -> Names {
        let value = |json| Value::from(Serde(&json));
        Names::new([
            ("token".to_owned(), value(json!("s3"))),
            ("n".to_owned(), value(json!(7))),
            ("user".to_owned(), value(json!({ "id": 5, "tags": ["a", true, null] }))),
            ("env".to_owned(), value(json!({ "BASE": "http://x" }))),
        ])
    }

    #[test]
    fn texts_are_filled_in() {
        for (text, becomes) in [
            ("plain", "plain"),
            ("${#x}", "${#x}"),
            ("{{ token }}-{{ n }}\n", "s3-7\n"),
            ("{{ user }}", r#"{"id":5,"tags":["a",true,null]}"#),
            ("{{ user.tags }}", r#"["a",true,null]"#),
            ("{{ env.BASE | upper }}/", "HTTP://X/"),
            ("{{ nothing | default('d') }}", "d"),
            ("<{{ '<&>' }}>", "<<&>>"),
        ] {
            assert_eq!(render(text, &names()).as_deref(), Ok(becomes), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_one_template_keeps_its_json_type() {
        for (text, becomes) in [
            ("{{ n }}", json!(7)),
            (" {{ user.tags }} ", json!(["a", true, null])),
            ("{{ n }}!", json!("7!")),
            ("{{ n }}{{ n }}", json!("77")),
            ("{{- n -}}", json!("7")),
            ("7", json!("7")),
        ] {
            assert_eq!(render_json(text, &names()), Ok(becomes), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let error = |text| render(text, &names()).unwrap_err().to_string();
        assert_eq!(error("{{ tokn }}"), "`tokn` names nothing: did you mean `token`?");
        assert_eq!(error("{{ env.BAES }}"), "`env.BAES` names nothing: did you mean `env.BASE`?");
        assert_eq!(error("{{ user.zzz }}"), "`user.zzz` names nothing: use one of `user.id`, `user.tags`");
        assert!(error("{{ token").starts_with("the template cannot be read: syntax error: "), "{}", error("{{ token"));
        assert_eq!(render_json("{{ tokn }}", &names()).unwrap_err().to_string(), error("{{ tokn }}"));
    }

    #[test]
    fn templates_cannot_run_or_grow_for_ever() {
        let many = "{% for a in range(1000) %}{% for b in range(1000) %}x{% endfor %}{% endfor %}";
        assert_eq!(render(many, &names()), Err(TemplateError::Failed("it takes too long".to_owned())));
        assert!(render("{{ 'x' * 99999999 }}", &names()).is_err());
        assert!(render("{{ 'x' * 1048576 }}", &names()).is_ok_and(|text| text.len() == MAX_OUTPUT_BYTES));
        assert_eq!(render("{{ 'x' * 1048577 }}", &names()), Err(TemplateError::TooLong));
    }
}
