//! What a step does: it runs a command or sends an HTTP request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expect::{HttpExpect, RunExpect};
use crate::event::ActionKind;

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
