//! From a step of the plan to something that can be carried out: templates resolved, paths made absolute.

mod resolver;

use std::collections::BTreeMap;
use std::path::PathBuf;

use minijinja::value::{Serde, Value};
use testledger_schemas::Plan;
use testledger_schemas::plan::{
    Action, Capture, HttpBody, HttpExpect, Ready, Report, RunAction, RunExpect, Service, Step,
};

pub use crate::plan::fits_a_command;
use crate::plan::template::{self, Names, TemplateError};
use resolver::{Resolver, absolute, check_argument, check_size, checked_url};

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

#[cfg(test)]
mod tests;
