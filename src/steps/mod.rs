//! How a step is carried out: prepared (templates resolved), then run as a command or sent as an HTTP request.
//!
//! Nothing here knows events or the log's streams: a [`StepEnd`] is what the engine turns into facts. Everything in it
//! is redacted already.

pub mod capture;
pub mod command;
pub mod context;
pub mod expect;
pub mod fingerprint;
pub mod http;
pub mod junit;
pub mod launcher;
pub mod output;
pub mod prepare;
pub mod redact;
pub mod service;
pub mod spawner;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;

use testledger_schemas::StepOutcome;
use testledger_schemas::event::{ErrorKind, OutputExcerpt, OutputFacts, ReportedCase, ReportedResult, ResourceUsage};

pub use context::StepContext;
pub use prepare::{Prepared, PreparedHttp, PreparedRun, Scope};

/// How a step's run ended, with secrets redacted.
#[derive(Clone, Debug)]
pub struct StepEnd {
    /// The outcome.
    pub outcome: StepOutcome,
    /// What went wrong, if something did.
    pub error: Option<StepError>,
    /// Everything that was expected and did not hold, one line each.
    pub expectations: Vec<String>,
    /// The running time, on the monotonic clock.
    pub duration_ms: u64,
    /// The command's exit code, where it had one.
    pub exit_code: Option<i32>,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// The status of the HTTP response.
    pub http_status: Option<u16>,
    /// What the command cost.
    pub usage: Option<ResourceUsage>,
    /// How much was printed; artifacts named here are durable.
    pub outputs: Vec<OutputFacts>,
    /// What was printed, as far as an event holds it.
    pub excerpts: Vec<OutputExcerpt>,
    /// Whether a descendant outlived the command or held its output open, and had to be ended.
    pub leaked: bool,
    /// The signals that were sent to its process tree, in order.
    pub signals_sent: Vec<String>,
    /// What was captured, by name. Secret values are in clear here, for later steps; they must not be recorded.
    pub captures: BTreeMap<String, Captured>,
    /// The results of the tool's own report, in its order.
    pub reported: Vec<Reported>,
}

/// A captured value.
#[derive(Clone, PartialEq, Debug)]
pub struct Captured {
    /// The value.
    pub value: serde_json::Value,
    /// Whether it must never be recorded.
    pub secret: bool,
}

/// One test case of a tool's report: facts, and the texts that go with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reported {
    /// The facts.
    pub result: ReportedResult,
    /// Name and message.
    pub case: ReportedCase,
}

/// What went wrong with a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepError {
    /// What kind of thing.
    pub kind: ErrorKind,
    /// In words, redacted.
    pub message: String,
}

impl StepEnd {
    /// The end of a step that did what it should.
    #[must_use]
    pub fn passed(duration_ms: u64) -> Self {
        Self {
            outcome: StepOutcome::Passed,
            error: None,
            expectations: vec![],
            duration_ms,
            exit_code: None,
            signal: None,
            http_status: None,
            usage: None,
            outputs: vec![],
            excerpts: vec![],
            leaked: false,
            signals_sent: vec![],
            captures: BTreeMap::new(),
            reported: vec![],
        }
    }

    /// The end of a step that could not be carried out.
    #[must_use]
    pub fn error(kind: ErrorKind, message: impl Into<String>, duration_ms: u64) -> Self {
        let error = Some(StepError { kind, message: message.into() });
        Self { outcome: StepOutcome::Error, error, ..Self::passed(duration_ms) }
    }
}

/// Carries out a prepared step, from its begin to its end. Never fails: whatever goes wrong is in the [`StepEnd`].
pub async fn carry_out(prepared: &Prepared, context: &StepContext) -> StepEnd {
    match prepared {
        Prepared::Run(run) => command::run(run, context).await,
        Prepared::Http(http) => http::send(http, context).await,
    }
}
