//! What a running step is given besides its own definition.

use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::ExecutionId;
use testledger_schemas::event::OutputStream;
use tokio_util::sync::CancellationToken;

use crate::event_store::SharedLog;
use crate::steps::http::HttpClient;
use crate::steps::launcher::SharedLauncher;
use crate::steps::redact::Redactor;

/// Where live output goes: redacted, provisional, and not a fact.
pub type LiveSink = Arc<dyn Fn(LiveOutput) + Send + Sync>;

/// A piece of live output.
#[derive(Clone, Debug)]
pub struct LiveOutput {
    /// Whose.
    pub execution: ExecutionId,
    /// The step's id, or the service's.
    pub step: String,
    /// Which stream.
    pub stream: OutputStream,
    /// The redacted bytes.
    pub bytes: Vec<u8>,
}

/// How much of a step's output is kept.
#[derive(Clone, Copy, Debug)]
pub struct OutputLimits {
    /// Up to so many bytes the output stands in the event, with no artifact.
    pub excerpt_bytes: usize,
    /// So many bytes of one stream are kept as an artifact; the rest is counted and hashed only.
    pub kept_bytes: usize,
}

/// What a running step is given besides its own definition.
#[derive(Clone)]
pub struct StepContext {
    /// The execution it belongs to.
    pub execution: ExecutionId,
    /// The step's id, for live output.
    pub step: String,
    /// The suite, case and matrix that identities of reported results are derived from.
    pub identity: (String, String, String),
    /// Starts processes.
    pub launcher: SharedLauncher,
    /// Sends HTTP requests.
    pub http: HttpClient,
    /// Where artifacts go.
    pub log: SharedLog,
    /// What must not be seen.
    pub redactor: Redactor,
    /// Fires when the step is to be stopped.
    pub cancel: CancellationToken,
    /// The running time the step may take (the smaller of its own and what is left of the attempt's).
    pub timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// How long output may stay open after the command itself has ended.
    pub leak_timeout: Duration,
    /// How much output is kept.
    pub output: OutputLimits,
    /// Where live output goes, if anybody looks.
    pub live: Option<LiveSink>,
}
