//! A plan as people write it: the shape of the YAML file. Its JSON Schema is published.
//!
//! Nothing here is validated beyond its shape; the room `plan/` of the main crate does that and writes every shorthand
//! out. The docstrings of these types are the descriptions in the published schema, so they speak to plan authors.

mod case;
mod expect;
mod http;
mod values;

use schemars::JsonSchema;
use serde::Deserialize;

pub use case::{CaptureDocument, CaseDocument, ReportDocument, RetriesDocument, StepDocument};
pub use expect::{
    ExpectDocument, StatusDocument, TextExpectDocument, TextOperators, ValueExpectDocument, ValueOperators,
};
pub use http::HttpDocument;
pub use values::{
    CommandDocument, Duration, InvalidDuration, JsonDocument, MAX_DURATION_MS, OneOrMany, Pairs, ParamDocument,
    ScalarText,
};

use super::OnInterrupt;

/// What to run: a suite of cases, each with ordered steps.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "testledger plan")]
pub struct PlanDocument {
    /// The id of the suite: letters, digits, `_`, `-` and `.`. Without it, the file's name without its ending.
    #[schemars(extend("format" = "testledger-id"))]
    pub suite: Option<String>,
    /// The name shown to people. Without it, the id of the suite.
    pub name: Option<String>,
    /// What holds for every case and step that does not say otherwise.
    pub defaults: Option<DefaultsDocument>,
    /// How many cases run side by side at the most. Without it, `--jobs` alone decides.
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// Whether the suite stops at the first case that fails. `false` by default.
    #[serde(default)]
    pub fail_fast: bool,
    /// The wall-clock time the whole suite may take, such as `1h`.
    pub deadline: Option<Duration>,
    /// Environment of every command, such as `{ NAME: value }`. A value may name earlier ones as `{{ env.NAME }}`, and
    /// variables from outside.
    #[serde(default)]
    pub env: Pairs<ScalarText>,
    /// The names of environment variables that hold secrets: taken from outside, redacted everywhere.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Parameters with their defaults, for `{{ params.NAME }}`; one with no value (`region:`) must be given with
    /// `--param`.
    #[serde(default)]
    pub params: Pairs<ParamDocument>,
    /// What must be up before any case starts, and is stopped after the last, in the order of starting.
    #[serde(default)]
    pub services: Vec<ServiceDocument>,
    /// The cases; at least one.
    #[schemars(length(min = 1))]
    pub cases: Vec<CaseDocument>,
}

/// What holds for every case and step that does not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultsDocument {
    /// The running time each step may take. 300 s without it.
    pub timeout: Option<Duration>,
    /// The running time an attempt of each case may take. 30 minutes without it.
    pub case_timeout: Option<Duration>,
    /// How often each case is tried. Once without it; `{}` means 3 attempts.
    pub retries: Option<RetriesDocument>,
    /// How often each step is tried within one attempt of its case. Once without it; `{}` means 3 attempts.
    pub step_retries: Option<RetriesDocument>,
    /// What becomes of a step that had begun when its worker was lost. `rerun` by default.
    pub on_interrupt: Option<OnInterrupt>,
    /// Where commands run, relative to the plan's file.
    pub directory: Option<String>,
}

/// A program that must be up while the cases run.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceDocument {
    /// Its id, unique in the plan.
    #[schemars(extend("format" = "testledger-id"))]
    pub id: String,
    /// What to run: a list is program and arguments, a text is a shell line.
    pub run: CommandDocument,
    /// Its environment on top of the plan's.
    #[serde(default)]
    pub env: Pairs<ScalarText>,
    /// Where to run it, relative to the plan's file.
    pub directory: Option<String>,
    /// When it is ready. Without it, as soon as it runs.
    pub ready: Option<ReadyDocument>,
}

/// When a service is ready: one of `http`, `tcp` and `log`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadyDocument {
    /// When a GET of this URL is answered with a status below 400.
    pub http: Option<String>,
    /// When this `host:port` accepts a connection.
    pub tcp: Option<String>,
    /// When this regular expression is found in its output.
    pub log: Option<String>,
    /// How long that may take. 30 s without it.
    pub timeout: Option<Duration>,
}
