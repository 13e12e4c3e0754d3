//! Cases and steps as people write them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{CommandDocument, Duration, Pairs, ScalarText};
use super::{ExpectDocument, HttpDocument};
use crate::plan::{CaseType, OnInterrupt, Priority, Resume};

/// One test with ordered steps.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseDocument {
    /// Its id, unique in the plan: letters, digits, `_`, `-` and `.`.
    #[schemars(extend("format" = "testledger-id"))]
    pub id: String,
    /// The name shown to people. Without it, the id.
    pub name: Option<String>,
    /// How it is carried out. `generic` by default; `bdd` and `manual` are not built yet.
    #[serde(default, rename = "type")]
    pub case_type: CaseType,
    /// What it can be selected by (`--tag`), such as `[smoke]`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How urgent it is. `normal` by default.
    #[serde(default)]
    pub priority: Priority,
    /// The ids of the cases that must pass first, such as `[login]`.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Environment of its commands on top of the plan's, such as `{ NAME: value }`.
    #[serde(default)]
    pub env: Pairs<ScalarText>,
    /// The running time an attempt may take. 30 minutes without it and without `defaults.case_timeout`.
    pub timeout: Option<Duration>,
    /// How often the whole case is tried; captures are cleared each time. Once without it; `{}` means 3 attempts.
    pub retries: Option<RetriesDocument>,
    /// Where it may go on after its worker was lost. `same-host` by default.
    #[serde(default)]
    pub resume: Resume,
    /// Values for `{{ matrix.NAME }}`: the case runs once for each combination.
    #[serde(default)]
    pub matrix: BTreeMap<String, Vec<ScalarText>>,
    /// Where its commands run, relative to the plan's file.
    pub directory: Option<String>,
    /// Its steps, in order; at least one.
    #[schemars(length(min = 1))]
    pub steps: Vec<StepDocument>,
}

/// One step of a case: either `run` or `http`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepDocument {
    /// Its id, unique in its case: letters, digits, `_`, `-` and `.`.
    #[schemars(extend("format" = "testledger-id"))]
    pub id: String,
    /// The name shown to people. Without it, the id.
    pub name: Option<String>,
    /// Runs a command: a list is program and arguments (templates), a text is a shell line (no templates).
    pub run: Option<CommandDocument>,
    /// Sends an HTTP request, such as `{ method: GET, url: "http://127.0.0.1:8080/" }`.
    pub http: Option<HttpDocument>,
    /// What the result must be. Without it: exit code 0; a status from 200 to 399.
    pub expect: Option<ExpectDocument>,
    /// What is kept of the result for later steps of this case, by name.
    #[serde(default)]
    pub capture: BTreeMap<String, CaptureDocument>,
    /// A report its tool writes: each test case in it becomes a step result.
    pub report: Option<ReportDocument>,
    /// The running time it may take. 300 s without it and without `defaults.timeout`.
    pub timeout: Option<Duration>,
    /// How often it is tried within one attempt of its case. Once without it; `{}` means 3 attempts.
    pub retries: Option<RetriesDocument>,
    /// What becomes of it when its worker was lost in the middle: `rerun` (default) or `fail`.
    pub on_interrupt: Option<OnInterrupt>,
    /// Environment of its command on top of the case's.
    #[serde(default)]
    pub env: Pairs<ScalarText>,
    /// Where its command runs, relative to the plan's file.
    pub directory: Option<String>,
}

/// How often something is tried, such as `{ max_attempts: 3, backoff: 1s }`. `{}` means 3 attempts, 1 s before the second, 2 s before the third.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetriesDocument {
    /// How many attempts there are at the most, the first one included. 3 without it.
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: Option<u32>,
    /// The wait before the second attempt. 1 s without it.
    pub backoff: Option<Duration>,
    /// How much longer each further wait is than the one before it (at most 5 minutes). 2 without it.
    #[schemars(range(min = 1, max = 10))]
    pub factor: Option<u32>,
}

/// What is kept of a result: one of `json`, `header`, `regex`, `text` and `status`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureDocument {
    /// The value at this JSONPath (RFC 9535) of the response's body, or of the command's standard output.
    pub json: Option<String>,
    /// This header field of the response.
    pub header: Option<String>,
    /// The first group of this regular expression (or all it matches) in the body, or in the standard output.
    pub regex: Option<String>,
    /// `true`: the body, or the standard output without its final line break.
    pub text: Option<bool>,
    /// `true`: the status of the response.
    pub status: Option<bool>,
    /// Whether the value is redacted everywhere and never recorded. `false` by default.
    #[serde(default)]
    pub secret: bool,
}

/// A report that a step's tool writes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportDocument {
    /// JUnit XML in this file, relative to the directory the command runs in; a template.
    pub junit: String,
}
