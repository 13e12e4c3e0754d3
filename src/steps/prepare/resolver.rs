//! Resolves the texts of one step, and bounds what they become together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use testledger_schemas::Plan;
use testledger_schemas::plan::{CommandLine, HttpAction, HttpBody, HttpExpect, Step, TextExpect, ValueExpect};

use super::{MAX_PREPARED_BYTES, PrepareError, PreparedHttp, Scope};
use crate::plan::template::{self, Names};

/// A relative path starts from `base`; `.` and `..` are left to the system, which knows the links.
pub(super) fn absolute(base: &Path, path: &str) -> PathBuf {
    base.join(path)
}

pub(super) fn check_argument(field: &str, text: &str) -> Result<(), PrepareError> {
    if text.contains('\0') {
        let reason = "it has a zero character in it: no program can be given one".to_owned();
        return Err(PrepareError::Invalid { field: field.to_owned(), reason });
    }
    Ok(())
}

pub(super) fn check_size(field: &str, bytes: usize) -> Result<(), PrepareError> {
    if bytes > MAX_PREPARED_BYTES {
        let reason = format!("the texts of this step have more than {MAX_PREPARED_BYTES} bytes: put them into a file");
        return Err(PrepareError::Invalid { field: field.to_owned(), reason });
    }
    Ok(())
}

pub(super) fn checked_url(field: &str, url: String) -> Result<String, PrepareError> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return Ok(url);
    }
    let reason = format!("`{url}` is not a URL: it must begin with `http://` or `https://`");
    Err(PrepareError::Invalid { field: field.to_owned(), reason })
}

/// Resolves texts one after the other, and counts what they become.
pub(super) struct Resolver {
    names: Names,
    bytes: usize,
}

impl Resolver {
    pub(super) fn new(scope: &Scope) -> Self {
        Self { names: scope.names(), bytes: 0 }
    }

    pub(super) fn text(&mut self, field: &str, text: &str) -> Result<String, PrepareError> {
        let resolved = template::render(text, &self.names)
            .map_err(|reason| PrepareError::Template { field: field.to_owned(), reason })?;
        self.bytes += resolved.len();
        check_size(field, self.bytes)?;
        Ok(resolved)
    }

    fn texts(&mut self, field: &str, texts: &[String]) -> Result<Vec<String>, PrepareError> {
        texts.iter().map(|text| self.text(field, text)).collect()
    }

    fn pairs(&mut self, field: &str, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, PrepareError> {
        pairs.iter().map(|(name, text)| Ok((name.clone(), self.text(&format!("{field}.{name}"), text)?))).collect()
    }

    fn optional(&mut self, field: &str, text: Option<&String>) -> Result<Option<String>, PrepareError> {
        text.map(|text| self.text(field, text)).transpose()
    }

    pub(super) fn argv(&mut self, command: &CommandLine) -> Result<Vec<String>, PrepareError> {
        let argv = match command {
            CommandLine::Argv(argv) => self.texts("run", argv)?,
            CommandLine::Shell(line) => vec!["sh".to_owned(), "-c".to_owned(), line.clone()],
        };
        argv.iter().try_for_each(|argument| check_argument("run", argument))?;
        if argv.first().is_none_or(String::is_empty) {
            let reason = "the program has no name".to_owned();
            return Err(PrepareError::Invalid { field: "run".to_owned(), reason });
        }
        Ok(argv)
    }

    pub(super) fn directory(&mut self, plan: &Plan, directory: Option<&str>) -> Result<PathBuf, PrepareError> {
        let base = Path::new(&plan.directory);
        match directory {
            Some(directory) => Ok(absolute(base, &self.text("directory", directory)?)),
            None => Ok(base.to_owned()),
        }
    }

    /// JSON text, the texts within which are templates.
    fn json(&mut self, field: &str, text: &str) -> Result<String, PrepareError> {
        let invalid =
            |error: serde_json::Error| PrepareError::Invalid { field: field.to_owned(), reason: error.to_string() };
        let mut value: serde_json::Value = serde_json::from_str(text).map_err(invalid)?;
        self.json_texts(field, &mut value)?;
        Ok(value.to_string())
    }

    /// The depth is that of the plan's file, which is bounded.
    fn json_texts(&mut self, field: &str, value: &mut serde_json::Value) -> Result<(), PrepareError> {
        match value {
            serde_json::Value::String(text) => {
                let resolved = template::render_json(text, &self.names)
                    .map_err(|reason| PrepareError::Template { field: field.to_owned(), reason })?;
                self.bytes += resolved.as_str().map_or_else(|| resolved.to_string().len(), str::len);
                check_size(field, self.bytes)?;
                *value = resolved;
                Ok(())
            }
            serde_json::Value::Array(items) => items.iter_mut().try_for_each(|item| self.json_texts(field, item)),
            serde_json::Value::Object(fields) => fields.values_mut().try_for_each(|item| self.json_texts(field, item)),
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Ok(()),
        }
    }

    pub(super) fn text_expect(&mut self, field: &str, expect: &TextExpect) -> Result<TextExpect, PrepareError> {
        Ok(TextExpect {
            equals: self.optional(field, expect.equals.as_ref())?,
            contains: self.texts(field, &expect.contains)?,
            not_contains: self.texts(field, &expect.not_contains)?,
            matches: self.texts(field, &expect.matches)?,
        })
    }

    fn value_expects(
        &mut self,
        field: &str,
        expects: &BTreeMap<String, ValueExpect>,
    ) -> Result<BTreeMap<String, ValueExpect>, PrepareError> {
        let resolve = |(name, expect): (&String, &ValueExpect)| {
            let field = format!("{field}.{name}");
            let resolved = ValueExpect {
                equals: expect.equals.as_ref().map(|json| self.json(&field, json)).transpose()?,
                contains: self.optional(&field, expect.contains.as_ref())?,
                matches: self.optional(&field, expect.matches.as_ref())?,
                ..expect.clone()
            };
            Ok((name.clone(), resolved))
        };
        expects.iter().map(resolve).collect()
    }

    pub(super) fn http(&mut self, step: &Step, http: &HttpAction) -> Result<PreparedHttp, PrepareError> {
        let url = checked_url("http.url", self.text("http.url", &http.url)?)?;
        let query = self.pairs("http.query", &http.query)?;
        Ok(PreparedHttp {
            method: http.method.clone(),
            url: with_query("http.url", &url, &query)?,
            headers: self.pairs("http.headers", &http.headers)?,
            body: match &http.body {
                HttpBody::None => HttpBody::None,
                HttpBody::Json(json) => HttpBody::Json(self.json("http.json", json)?),
                HttpBody::Form(fields) => HttpBody::Form(self.pairs("http.form", fields)?),
                HttpBody::Text(text) => HttpBody::Text(self.text("http.text", text)?),
            },
            follow_redirects: http.follow_redirects,
            expect: HttpExpect {
                status: http.expect.status.clone(),
                headers: self.value_expects("expect.headers", &http.expect.headers)?,
                json: self.value_expects("expect.json", &http.expect.json)?,
                text: self.text_expect("expect.text", &http.expect.text)?,
                within_ms: http.expect.within_ms,
            },
            capture: step.capture.clone(),
        })
    }
}

/// The URL with query parameters added, each encoded.
fn with_query(field: &str, url: &str, query: &[(String, String)]) -> Result<String, PrepareError> {
    let mut parsed = reqwest::Url::parse(url).map_err(|error| PrepareError::Invalid {
        field: field.to_owned(),
        reason: format!("`{url}` is not a URL: {error}"),
    })?;
    if !query.is_empty() {
        parsed.query_pairs_mut().extend_pairs(query);
    }
    Ok(parsed.into())
}
