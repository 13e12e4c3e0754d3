//! The begin and the end of a step's run.

use std::collections::BTreeMap;

use super::constants::{ActionKind, ErrorKind, OutputStream};
use super::declare::vocabulary;
use crate::erasable::Erasable;
use crate::hash::Hash;
use crate::ids::StepKey;
use crate::outcome::StepOutcome;
use crate::plan::OnInterrupt;

vocabulary! {
    /// One run of a step: which attempt of the execution, which step, which attempt of the step.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct StepRun {
        /// The attempt of the execution, from 1.
        pub attempt: u32,
        /// The step's id in its case.
        pub step: String,
        /// The attempt of the step within that attempt of the execution, from 1.
        pub step_attempt: u32,
    }

    /// A step is about to begin; durable before it does.
    pub struct StepStarted {
        /// Which run.
        pub run: StepRun,
        /// The step's place in its case, from 0.
        pub index: u32,
        /// The step's identity over all runs.
        pub step_key: StepKey,
        /// What it does.
        pub action: ActionKind,
        /// How many attempts it has at the most within one attempt of the execution.
        pub max_attempts: u32,
        /// The running time it may take; none is no bound.
        pub timeout_ms: Option<u64>,
        /// What becomes of it when its worker is lost in the middle.
        pub on_interrupt: OnInterrupt,
        /// The tested revision's commit, where it is known.
        pub revision: Option<String>,
        /// Name and resolved inputs.
        pub content: Erasable<StepInputs>,
    }

    /// What a step was given, with secrets redacted.
    #[derive(Default)]
    pub struct StepInputs {
        /// The name shown to people.
        pub name: String,
        /// The command's arguments, or method and URL.
        pub inputs: Vec<String>,
        /// Where the command ran.
        pub directory: String,
        /// The body that was sent.
        pub body: String,
        /// What the plan says of this step besides.
        pub metadata: BTreeMap<String, String>,
    }

    /// What a process cost, with all its waited-for descendants (`getrusage(2)`, `RUSAGE_CHILDREN`).
    pub struct ResourceUsage {
        /// Processor time in user mode.
        pub user_ms: u64,
        /// Processor time in the kernel.
        pub system_ms: u64,
        /// The largest resident set of any one process.
        pub peak_memory_bytes: u64,
    }

    /// How much a step printed, and where all of it is.
    pub struct OutputFacts {
        /// Where it came from.
        pub stream: OutputStream,
        /// The bytes after redaction, those beyond the cap included.
        pub bytes: u64,
        /// The bytes beyond the cap: counted and hashed, not kept.
        pub dropped_bytes: u64,
        /// The artifact with the kept bytes, where the excerpt is not all.
        pub artifact: Option<Hash>,
    }

    /// What a step printed, as far as an event holds it.
    pub struct OutputExcerpt {
        /// Where it came from.
        pub stream: OutputStream,
        /// The beginning; all of it, where it is short.
        pub head: String,
        /// The end, where it is long.
        pub tail: String,
        /// SHA-256 of all the redacted bytes.
        pub sha256: Hash,
    }

    /// What went wrong with a step.
    pub struct StepErrorFacts {
        /// What kind of thing.
        pub kind: ErrorKind,
        /// The same for messages that differ in numbers, addresses and times only.
        pub fingerprint: String,
    }

    /// A step's run is over.
    pub struct StepFinished {
        /// Which run.
        pub run: StepRun,
        /// How it ended.
        pub outcome: StepOutcome,
        /// Whether another attempt of the step follows.
        pub will_retry: bool,
        /// Its running time on the monotonic clock.
        pub duration_ms: u64,
        /// The command's exit code, where it had one.
        pub exit_code: Option<i64>,
        /// The signal that ended the command.
        pub signal: Option<i64>,
        /// The status of the HTTP response.
        pub http_status: Option<u32>,
        /// What went wrong.
        pub error: Option<StepErrorFacts>,
        /// What it cost.
        pub usage: Option<ResourceUsage>,
        /// How much it printed.
        pub outputs: Vec<OutputFacts>,
        /// Whether a descendant outlived the command, or held its output open, and had to be ended.
        pub leaked: bool,
        /// The signals that were sent to its process tree, in order (`TERM`, `KILL`).
        pub signals_sent: Vec<String>,
        /// Messages, excerpts, captured values.
        pub content: Erasable<StepOutputs>,
    }

    /// What a step gave, with secrets redacted.
    #[derive(Default)]
    pub struct StepOutputs {
        /// What went wrong, in words.
        pub message: String,
        /// What was printed.
        pub excerpts: Vec<OutputExcerpt>,
        /// Captured values, as JSON text. Secret ones are not here.
        pub captures: BTreeMap<String, String>,
        /// What was checked and did not hold, one line each.
        pub expectations: Vec<String>,
        /// Secret captures, encrypted under a key that is kept outside the log.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub sealed_captures: BTreeMap<String, String>,
    }
}

impl StepFinished {
    /// The end of a run of which nothing else is known: no attempt follows, it took no time and left nothing.
    #[must_use]
    pub fn bare(run: StepRun, outcome: StepOutcome) -> Self {
        Self {
            run,
            outcome,
            will_retry: false,
            duration_ms: 0,
            exit_code: None,
            signal: None,
            http_status: None,
            error: None,
            usage: None,
            outputs: vec![],
            leaked: false,
            signals_sent: vec![],
            content: StepOutputs::default().into(),
        }
    }
}
