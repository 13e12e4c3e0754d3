//! What must be up before any case starts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::CommandLine;

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
