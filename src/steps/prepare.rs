//! From a step of the plan to something that can be carried out: templates resolved, paths made absolute.

use std::collections::BTreeMap;
use std::path::PathBuf;

use testledger_schemas::plan::{Capture, CaptureSource, HttpBody, HttpExpect, RunExpect};

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

/// Whether a capture can be made of a command's result: header and status belong to responses.
#[must_use]
pub fn fits_a_command(source: &CaptureSource) -> bool {
    match source {
        CaptureSource::Json(_) | CaptureSource::Regex(_) | CaptureSource::Text => true,
        CaptureSource::Header(_) | CaptureSource::Status => false,
    }
}
