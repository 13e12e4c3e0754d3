//! What is kept of a step's result: captures, and the report of its tool.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
