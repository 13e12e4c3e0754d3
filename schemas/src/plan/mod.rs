//! A plan: what to run, after validation. Every default is filled in, every shorthand is written out.
//!
//! This is the shape that is kept as an artifact and hashed, and that the engine carries out. What people write is
//! [`document`]; the way from there to here is the room `plan/` of the main crate.

pub mod document;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{ActionKind, Limits};
use crate::hash::Hash;

/// How a case is carried out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaseType {
    /// Commands and HTTP requests.
    #[default]
    Generic,
    /// Gherkin.
    Bdd,
    /// A person gives the verdict.
    Manual,
}

/// How urgent an execution is. Sorts from low to critical.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// When nothing else waits.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before the normal ones.
    High,
    /// Before all others.
    Critical,
}

/// What becomes of a step that had begun when its worker was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnInterrupt {
    /// It runs again.
    #[default]
    Rerun,
    /// The attempt fails.
    Fail,
}

/// Where an interrupted case may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resume {
    /// On the same host and workspace; elsewhere a new attempt begins at step 1.
    #[default]
    SameHost,
    /// Anywhere.
    Anywhere,
}

/// How often something is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// How many attempts there are at the most; 1 is no retry.
    pub max_attempts: u32,
    /// The wait before the second attempt.
    pub backoff_ms: u64,
    /// How much longer each further wait is than the one before it.
    pub backoff_factor: u32,
}

/// The longest wait between two attempts: 5 minutes.
pub const MAX_BACKOFF_MS: u64 = 300_000;

impl Retries {
    /// One attempt and no more.
    pub const NONE: Self = Self { max_attempts: 1, backoff_ms: 0, backoff_factor: 2 };

    /// The wait before attempt `next` (2 or more): `backoff · factor^(next - 2)`, at most [`MAX_BACKOFF_MS`].
    #[must_use]
    pub fn wait_before_ms(&self, next: u32) -> u64 {
        let factor = u64::from(self.backoff_factor).saturating_pow(next.saturating_sub(2));
        self.backoff_ms.saturating_mul(factor).min(MAX_BACKOFF_MS)
    }
}

/// A validated plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The id of the suite.
    pub suite: String,
    /// The name shown to people.
    pub name: String,
    /// The file it came from, or the wrapped command; for people.
    pub source: String,
    /// Whether the cases are children of a suite execution; a wrapped command is one execution without a parent.
    pub is_suite: bool,
    /// The directory that relative paths start from, absolute.
    pub directory: String,
    /// Parameters with their values for this run.
    pub params: BTreeMap<String, String>,
    /// Parameters that must be given a value before the plan can run; empty in a plan that runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_params: Vec<String>,
    /// Environment of every command, templates unresolved, in order.
    pub env: Vec<(String, String)>,
    /// The names of the environment variables that hold secrets; never their values.
    pub secrets: Vec<String>,
    /// How many cases run side by side; none: the engine's setting alone bounds it.
    pub concurrency: Option<u32>,
    /// Stop at the first case that fails.
    pub fail_fast: bool,
    /// The wall-clock time the whole suite may take.
    pub deadline_ms: Option<u64>,
    /// What must be up before any case starts, in the order of starting.
    pub services: Vec<Service>,
    /// The cases, in the plan's order; at least one.
    pub cases: Vec<Case>,
}

impl Plan {
    /// The bytes that are kept as an artifact.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Text keys only: serde_json has no reason to refuse a plan.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The hash of the plan: the address of its artifact.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.to_bytes())
    }
}

/// One test with ordered steps. A case with a matrix stands here once for each cell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its id, unique in the plan together with the matrix cell.
    pub id: String,
    /// The cell of its matrix: `key=value` pairs in key order, joined by commas; empty where there is none.
    pub matrix: String,
    /// The values of the cell, for templates (`matrix.KEY`).
    pub matrix_values: BTreeMap<String, String>,
    /// The name shown to people.
    pub name: String,
    /// How it is carried out.
    #[serde(rename = "type")]
    pub case_type: CaseType,
    /// What it can be selected by.
    pub tags: Vec<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// The ids of the cases that must pass first (every cell of them).
    pub needs: Vec<String>,
    /// Environment of its commands, templates unresolved, in order.
    pub env: Vec<(String, String)>,
    /// The running time an attempt may take; none is no bound.
    pub timeout_ms: Option<u64>,
    /// How often the whole case is tried.
    pub retries: Retries,
    /// Where it may go on after its worker was lost.
    pub resume: Resume,
    /// Its steps; at least one.
    pub steps: Vec<Step>,
}

impl Case {
    /// Id and matrix cell as shown to people: `id` or `id[key=value]`.
    #[must_use]
    pub fn label(&self) -> String {
        if self.matrix.is_empty() { self.id.clone() } else { format!("{}[{}]", self.id, self.matrix) }
    }

    /// What bounds an execution of this case.
    #[must_use]
    pub fn limits(&self, max_interruptions: u32) -> Limits {
        Limits {
            max_attempts: self.retries.max_attempts,
            backoff_ms: self.retries.backoff_ms,
            backoff_factor: self.retries.backoff_factor,
            timeout_ms: self.timeout_ms,
            max_interruptions,
        }
    }
}

/// One step of a case.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its id, unique in its case.
    pub id: String,
    /// The name shown to people.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// The running time it may take; none is no bound.
    pub timeout_ms: Option<u64>,
    /// How often it is tried within one attempt of the case.
    pub retries: Retries,
    /// What becomes of it when its worker was lost in the middle.
    pub on_interrupt: OnInterrupt,
    /// What is kept of its result for later steps, by name.
    pub capture: BTreeMap<String, Capture>,
    /// A report its tool writes, each test case of which becomes a step result.
    pub report: Option<Report>,
}

/// What a step does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Runs a command.
    Run(RunAction),
    /// Sends an HTTP request.
    Http(HttpAction),
}

impl Action {
    /// Which kind of action this is.
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Run(_) => ActionKind::Run,
            Self::Http(_) => ActionKind::Http,
        }
    }
}

/// A command line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandLine {
    /// Program and arguments, each a template.
    Argv(Vec<String>),
    /// One line for `sh -c`; never a template.
    Shell(String),
}

/// Runs a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunAction {
    /// What to run.
    pub command: CommandLine,
    /// Where to run it, relative to the plan's directory; a template.
    pub directory: Option<String>,
    /// Its environment on top of the case's, templates unresolved, in order.
    pub env: Vec<(String, String)>,
    /// What its result must be.
    pub expect: RunExpect,
}

/// What the result of a command must be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunExpect {
    /// The exit codes that pass; `[0]` by default.
    pub exit_codes: Vec<i32>,
    /// What the standard output must be like; held against the kept part of it.
    pub stdout: TextExpect,
    /// What the standard error must be like.
    pub stderr: TextExpect,
    /// The longest it may take.
    pub within_ms: Option<u64>,
}

/// What a text must be like. Everything given must hold; templates.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextExpect {
    /// It is exactly this.
    pub equals: Option<String>,
    /// It has each of these in it.
    pub contains: Vec<String>,
    /// It has none of these in it.
    pub not_contains: Vec<String>,
    /// Each of these regular expressions is found in it.
    pub matches: Vec<String>,
}

/// Sends an HTTP request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpAction {
    /// The method, in capitals.
    pub method: String,
    /// The URL; a template.
    pub url: String,
    /// Query parameters added to the URL, in order; templates.
    pub query: Vec<(String, String)>,
    /// Header fields, in order; templates.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: HttpBody,
    /// Whether redirects are followed (at most 10).
    pub follow_redirects: bool,
    /// What the response must be.
    pub expect: HttpExpect,
}

/// What a request sends.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpBody {
    /// Nothing.
    #[default]
    None,
    /// JSON text (`application/json`); the texts within it are templates.
    Json(String),
    /// Fields (`application/x-www-form-urlencoded`), in order; templates.
    Form(Vec<(String, String)>),
    /// This text; a template.
    Text(String),
}

/// What a response must be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpExpect {
    /// The status codes that pass, as inclusive ranges; 200 to 399 by default.
    pub status: Vec<(u16, u16)>,
    /// What header fields must be like, by lower-case name.
    pub headers: BTreeMap<String, ValueExpect>,
    /// What the values at these JSONPaths (RFC 9535) must be like.
    pub json: BTreeMap<String, ValueExpect>,
    /// What the body as text must be like.
    pub text: TextExpect,
    /// The longest it may take from the request's begin until the whole body is there.
    pub within_ms: Option<u64>,
}

/// What one value must be like. Everything given must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueExpect {
    /// It is there (true), or is not there (false).
    pub exists: Option<bool>,
    /// It equals this JSON text; the texts within it are templates.
    pub equals: Option<String>,
    /// It is (as text) or holds (as a list) this; a template.
    pub contains: Option<String>,
    /// This regular expression is found in it as text.
    pub matches: Option<String>,
    /// So many characters, elements or fields.
    pub length: Option<u64>,
    /// It is at least this number, as JSON text.
    pub at_least: Option<String>,
    /// It is at most this number, as JSON text.
    pub at_most: Option<String>,
}

/// What is kept of a step's result for later steps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// Where the value comes from.
    pub from: CaptureSource,
    /// Whether it is redacted everywhere and never recorded.
    pub secret: bool,
}

/// Where a captured value comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaptureSource {
    /// The value at this JSONPath of the response's body, or of the command's standard output.
    Json(String),
    /// A header field of the response.
    Header(String),
    /// The first group of this regular expression (or all it matches) in the body, or in the standard output.
    Regex(String),
    /// The standard output without its final line break; the body.
    Text,
    /// The status of the response.
    Status,
}

/// A report that a step's tool writes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// JUnit XML in this file, relative to the command's directory; a template.
    JUnit(String),
}

/// Something that must be up before any case starts, and is stopped after the last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its id, unique in the plan.
    pub id: String,
    /// What to run.
    pub command: CommandLine,
    /// Where to run it, relative to the plan's directory.
    pub directory: Option<String>,
    /// Its environment on top of the plan's, in order.
    pub env: Vec<(String, String)>,
    /// When it is ready.
    pub ready: Ready,
    /// How long it may take to become ready.
    pub ready_timeout_ms: u64,
}

/// When a service is ready.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// As soon as it runs.
    Started,
    /// When a GET of this URL is answered with a status below 400; a template.
    Http(String),
    /// When this `host:port` accepts a connection; a template.
    Tcp(String),
    /// When this regular expression is found in its output.
    Log(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_the_factor_and_stop_growing() {
        let retries = Retries { max_attempts: 99, backoff_ms: 1000, backoff_factor: 2 };
        assert_eq!([2, 3, 4, 40].map(|next| retries.wait_before_ms(next)), [1000, 2000, 4000, MAX_BACKOFF_MS]);
        assert_eq!(Retries::NONE.wait_before_ms(2), 0);
    }
}
