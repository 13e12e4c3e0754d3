//! From a step of the plan to something that can be carried out: templates resolved, paths made absolute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::value::{Serde, Value};
use testledger_schemas::Plan;
use testledger_schemas::plan::{
    Action, Capture, CommandLine, HttpAction, HttpBody, HttpExpect, Ready, Report, RunAction, RunExpect, Service, Step,
    TextExpect, ValueExpect,
};

pub use crate::plan::fits_a_command;
use crate::plan::template::{self, Names, TemplateError};

/// What templates can name. Filled by the engine, step by step.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// `env.NAME`: the environment of the case, resolved.
    pub env: BTreeMap<String, String>,
    /// `params.NAME`.
    pub params: BTreeMap<String, String>,
    /// `matrix.NAME`.
    pub matrix: BTreeMap<String, String>,
    /// `NAME`, and `captures.NAME`: what earlier steps captured.
    pub captures: BTreeMap<String, serde_json::Value>,
    /// `execution.id`, `execution.attempt`, `case`, `suite`.
    pub facts: BTreeMap<String, String>,
}

/// A step that is ready to be carried out.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// A command.
    Run(PreparedRun),
    /// An HTTP request.
    Http(PreparedHttp),
}

/// A command that is ready to run.
#[derive(Clone, Debug)]
pub struct PreparedRun {
    /// Program and arguments (for a shell line: `sh`, `-c`, the line).
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory, absolute.
    pub directory: PathBuf,
    /// What the result must be.
    pub expect: RunExpect,
    /// What is kept of it.
    pub capture: BTreeMap<String, Capture>,
    /// The JUnit report to read afterwards, absolute.
    pub junit: Option<PathBuf>,
}

/// An HTTP request that is ready to be sent.
#[derive(Clone, Debug)]
pub struct PreparedHttp {
    /// The method.
    pub method: String,
    /// The URL, query included.
    pub url: String,
    /// Header fields, in order.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: HttpBody,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// What the response must be.
    pub expect: HttpExpect,
    /// What is kept of it.
    pub capture: BTreeMap<String, Capture>,
}

/// A service that is ready to be started.
#[derive(Clone, Debug)]
pub struct PreparedService {
    /// Program and arguments (for a shell line: `sh`, `-c`, the line).
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory, absolute.
    pub directory: PathBuf,
    /// When it is ready.
    pub ready: Ready,
}

/// Why a step cannot be prepared.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PrepareError {
    /// A template has no result.
    #[error("{field}: {reason}")]
    Template {
        /// The field of the step.
        field: String,
        /// Why.
        reason: TemplateError,
    },
    /// What a field became cannot be used.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field of the step.
        field: String,
        /// Why, with what would be right.
        reason: String,
    },
}

/// The most bytes that all texts of one prepared step have together: 4 MiB.
pub const MAX_PREPARED_BYTES: usize = 4 << 20;

impl Scope {
    /// Everything that templates can name.
    #[must_use]
    pub fn names(&self) -> Names {
        let texts = |map: &BTreeMap<String, String>| Value::from(Serde(map));
        let mut names: BTreeMap<String, Value> =
            self.captures.iter().map(|(name, value)| (name.clone(), Value::from(Serde(value)))).collect();
        let captures = Value::from_pairs(names.clone());
        names.insert("captures".to_owned(), captures);
        names.insert("env".to_owned(), texts(&self.env));
        names.insert("params".to_owned(), texts(&self.params));
        names.insert("matrix".to_owned(), texts(&self.matrix));
        let mut execution = BTreeMap::new();
        for (name, value) in &self.facts {
            match name.split_once('.') {
                Some((_, below)) => {
                    execution.insert(below.to_owned(), value.clone());
                }
                None => {
                    names.insert(name.clone(), Value::from(value.as_str()));
                }
            }
        }
        names.insert("execution".to_owned(), texts(&execution));
        Names::new(names)
    }
}

/// Resolves the templates of a step. `environment` is the whole process environment of the case, resolved and merged
/// (engine, plan, case); the step's own comes on top of it. `scope.env` is not read: `environment` is what
/// `env.NAME` means.
///
/// # Errors
/// [`PrepareError`] with the field of the step.
pub fn prepare(
    plan: &Plan,
    step: &Step,
    environment: &BTreeMap<String, String>,
    scope: &Scope,
) -> Result<Prepared, PrepareError> {
    match &step.action {
        Action::Run(run) => prepare_run(plan, step, run, environment, scope).map(Prepared::Run),
        Action::Http(http) => {
            let mut resolver = Resolver::new(&Scope { env: environment.clone(), ..scope.clone() });
            resolver.http(step, http).map(Prepared::Http)
        }
    }
}

/// Resolves the templates of a service. `environment` is the resolved environment of the plan.
///
/// # Errors
/// [`PrepareError`] with the field of the service.
pub fn prepare_service(
    plan: &Plan,
    service: &Service,
    environment: &BTreeMap<String, String>,
    scope: &Scope,
) -> Result<PreparedService, PrepareError> {
    let env = resolve_env(&service.env, environment, scope)?;
    let mut resolver = Resolver::new(&Scope { env: env.clone(), ..scope.clone() });
    let ready = match &service.ready {
        Ready::Started => Ready::Started,
        Ready::Http(url) => Ready::Http(checked_url("ready.http", resolver.text("ready.http", url)?)?),
        Ready::Tcp(address) => Ready::Tcp(resolver.text("ready.tcp", address)?),
        Ready::Log(regex) => Ready::Log(regex.clone()),
    };
    Ok(PreparedService {
        argv: resolver.argv(&service.command)?,
        directory: resolver.directory(plan, service.directory.as_deref())?,
        env: env.into_iter().collect(),
        ready,
    })
}

/// Resolves environment variables on top of `base`, in order: a value may name what `base` has and what stands before
/// it, as `env.NAME`.
///
/// # Errors
/// [`PrepareError`] with the name of the variable.
pub fn resolve_env(
    pairs: &[(String, String)],
    base: &BTreeMap<String, String>,
    scope: &Scope,
) -> Result<BTreeMap<String, String>, PrepareError> {
    let mut env = base.clone();
    let mut bytes = 0;
    for (name, value) in pairs {
        let resolved = if template::is_template(value) {
            let scope = Scope { env: env.clone(), ..scope.clone() };
            template::render(value, &scope.names())
                .map_err(|reason| PrepareError::Template { field: format!("env.{name}"), reason })?
        } else {
            value.clone()
        };
        bytes += resolved.len();
        check_argument(&format!("env.{name}"), &resolved)?;
        check_size(&format!("env.{name}"), bytes)?;
        env.insert(name.clone(), resolved);
    }
    Ok(env)
}

fn prepare_run(
    plan: &Plan,
    step: &Step,
    run: &RunAction,
    environment: &BTreeMap<String, String>,
    scope: &Scope,
) -> Result<PreparedRun, PrepareError> {
    let env = resolve_env(&run.env, environment, scope)?;
    let mut resolver = Resolver::new(&Scope { env: env.clone(), ..scope.clone() });
    let directory = resolver.directory(plan, run.directory.as_deref())?;
    let junit = match &step.report {
        Some(Report::JUnit(path)) => Some(absolute(&directory, &resolver.text("report.junit", path)?)),
        None => None,
    };
    Ok(PreparedRun {
        argv: resolver.argv(&run.command)?,
        expect: RunExpect {
            exit_codes: run.expect.exit_codes.clone(),
            stdout: resolver.text_expect("expect.stdout", &run.expect.stdout)?,
            stderr: resolver.text_expect("expect.stderr", &run.expect.stderr)?,
            within_ms: run.expect.within_ms,
        },
        capture: step.capture.clone(),
        env: env.into_iter().collect(),
        directory,
        junit,
    })
}

/// A relative path starts from `base`; `.` and `..` are left to the system, which knows the links.
fn absolute(base: &Path, path: &str) -> PathBuf {
    base.join(path)
}

fn check_argument(field: &str, text: &str) -> Result<(), PrepareError> {
    if text.contains('\0') {
        let reason = "it has a zero character in it: no program can be given one".to_owned();
        return Err(PrepareError::Invalid { field: field.to_owned(), reason });
    }
    Ok(())
}

fn check_size(field: &str, bytes: usize) -> Result<(), PrepareError> {
    if bytes > MAX_PREPARED_BYTES {
        let reason = format!("the texts of this step have more than {MAX_PREPARED_BYTES} bytes: put them into a file");
        return Err(PrepareError::Invalid { field: field.to_owned(), reason });
    }
    Ok(())
}

fn checked_url(field: &str, url: String) -> Result<String, PrepareError> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return Ok(url);
    }
    let reason = format!("`{url}` is not a URL: it must begin with `http://` or `https://`");
    Err(PrepareError::Invalid { field: field.to_owned(), reason })
}

/// Resolves texts one after the other, and counts what they become.
struct Resolver {
    names: Names,
    bytes: usize,
}

impl Resolver {
    fn new(scope: &Scope) -> Self {
        Self { names: scope.names(), bytes: 0 }
    }

    fn text(&mut self, field: &str, text: &str) -> Result<String, PrepareError> {
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

    fn argv(&mut self, command: &CommandLine) -> Result<Vec<String>, PrepareError> {
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

    fn directory(&mut self, plan: &Plan, directory: Option<&str>) -> Result<PathBuf, PrepareError> {
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

    fn text_expect(&mut self, field: &str, expect: &TextExpect) -> Result<TextExpect, PrepareError> {
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

    fn http(&mut self, step: &Step, http: &HttpAction) -> Result<PreparedHttp, PrepareError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Origin, parse};
    use serde_json::json;

    fn plan(step: &str) -> Plan {
        let text = format!(
            "params: {{ region: eu }}\nenv: {{ BASE: b, SUB: s }}\ncases:\n  - id: one\n    steps:\n      \
             - {{ id: make, run: [make], capture: {{ token: {{ text: true }}, user: {{ json: $ }} }} }}\n      - {step}\n"
        );
        let origin = Origin::of_file(Path::new("p.yaml"), "/plans".into());
        parse(&text, &origin).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn scope() -> Scope {
        Scope {
            params: pairs(&[("region", "eu")]),
            facts: pairs(&[("execution.id", "e-1"), ("case", "one")]),
            captures: [("token".to_owned(), json!("s3")), ("user".to_owned(), json!({ "id": 7 }))].into(),
            ..Scope::default()
        }
    }

    fn prepared(step: &str) -> Result<Prepared, PrepareError> {
        let plan = plan(step);
        prepare(&plan, &plan.cases[0].steps[1], &pairs(&[("BASE", "http://x"), ("SUB", "sub")]), &scope())
    }

    fn run(step: &str) -> PreparedRun {
        match prepared(step) {
            Ok(Prepared::Run(run)) => run,
            other => panic!("{other:?}"),
        }
    }

    fn http(step: &str) -> PreparedHttp {
        match prepared(step) {
            Ok(Prepared::Http(http)) => http,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_gets_its_arguments_environment_and_paths() {
        let run = run(
            "{ id: a, run: [./a, '{{ token }}', '{{ env.B }}', '{{ execution.id }}'], directory: '{{ env.SUB }}', \
             env: { A: '{{ env.BASE }}/1', B: '{{ env.A }}{{ user.id }}' }, report: { junit: 'o-{{ case }}.xml' }, \
             expect: { stdout: '{{ params.region }}' } }",
        );
        assert_eq!(run.argv, ["./a", "s3", "http://x/17", "e-1"]);
        assert_eq!(run.directory, Path::new("/plans/sub"));
        assert_eq!(run.junit.as_deref(), Some(Path::new("/plans/sub/o-one.xml")));
        assert_eq!(run.expect.stdout.contains, ["eu"]);
        let env: BTreeMap<_, _> = run.env.into_iter().collect();
        assert_eq!(env, pairs(&[("A", "http://x/1"), ("B", "http://x/17"), ("BASE", "http://x"), ("SUB", "sub")]));
    }

    #[test]
    fn a_shell_line_is_left_alone() {
        let run = run("{ id: a, run: 'echo \"${#HOME}\" | cat', directory: /abs }");
        assert_eq!(run.argv, ["sh", "-c", "echo \"${#HOME}\" | cat"]);
        assert_eq!(run.directory, Path::new("/abs"));
    }

    #[test]
    fn a_request_gets_its_url_and_a_typed_body() {
        let http = http(
            "{ id: a, http: { url: '{{ env.BASE }}/u?a=1', query: { q: 'x&y {{ user.id }}' }, headers: { T: '{{ token }}' }, \
             json: { id: '{{ user.id }}', name: 'n{{ user.id }}', all: ['{{ user }}', 1.5, null] } }, \
             expect: { json: { $.id: '{{ user.id }}' }, headers: { X: '{{ token }}' } } }",
        );
        assert_eq!((http.method.as_str(), http.url.as_str()), ("POST", "http://x/u?a=1&q=x%26y+7"));
        assert_eq!(http.headers, [("T".to_owned(), "s3".to_owned())]);
        let HttpBody::Json(body) = http.body else { panic!("{:?}", http.body) };
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, json!({ "id": 7, "name": "n7", "all": [{ "id": 7 }, 1.5, null] }));
        assert_eq!(http.expect.json["$.id"].equals.as_deref(), Some("7"));
        assert_eq!(http.expect.headers["x"].equals.as_deref(), Some("\"s3\""));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_field() {
        let error = |step: &str| prepared(step).unwrap_err().to_string();
        assert_eq!(
            error("{ id: a, run: [a, '{{ user.nme }}'] }"),
            "run: `user.nme` names nothing: use one of `user.id`"
        );
        assert_eq!(
            error("{ id: a, http: { url: '{{ token }}' } }"),
            "http.url: `s3` is not a URL: it must begin with `http://` or `https://`"
        );
        assert_eq!(error("{ id: a, run: ['{{ \"\" }}'] }"), "run: the program has no name");
        let env = error("{ id: a, run: [a], env: { A: '{{ env.NOT_THERE }}' } }");
        assert!(env.starts_with("env.A: `env.NOT_THERE` names nothing: "), "{env}");
        assert!(
            error(
                "{ id: a, run: [a, '{{ \"x\" * 1000000 }}', '{{ \"x\" * 1000000 }}', '{{ \"x\" * 1000000 }}', \
             '{{ \"x\" * 1000000 }}', '{{ \"x\" * 1000000 }}'] }"
            )
            .contains("more than 4194304 bytes")
        );
    }

    #[test]
    fn a_captured_value_is_never_a_template_itself() {
        let plan = plan("{ id: a, run: [echo, '{{ token }}'], env: { T: '{{ token }}' } }");
        let mut scope = scope();
        scope.captures.insert("token".to_owned(), json!("{{ env.BASE }}"));
        let Ok(Prepared::Run(run)) = prepare(&plan, &plan.cases[0].steps[1], &BTreeMap::new(), &scope) else {
            panic!("not a command");
        };
        assert_eq!((run.argv[1].as_str(), run.env[0].1.as_str()), ("{{ env.BASE }}", "{{ env.BASE }}"));
    }
}
