//! The facts: what an execution or an engine can have gone through. Past tense; never changed once acknowledged.
//!
//! Every event is a struct of plain fields (its *data*: ids, enums, numbers; it decides and is never erased) and,
//! where there is text a person wrote or a test printed, a field `content` (it never decides and may be erased).
//! [`crate::upcast`] reads and writes the persisted shape.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commit::CommitId;
use crate::erasable::Erasable;
use crate::hash::Hash;
use crate::ids::{EventId, ExecutionId, StepKey, WorkerId};
use crate::outcome::StepOutcome;
use crate::plan::{CaseType, OnInterrupt, Priority};
use crate::status::ExecutionStatus;
use crate::time::Timestamp;

/// How many of something had each outcome.
pub type OutcomeTally = BTreeMap<StepOutcome, u64>;
/// How many executions had each status.
pub type StatusTally = BTreeMap<ExecutionStatus, u64>;

/// Declares a struct or enum of the vocabulary with the derives they all share.
macro_rules! vocabulary {
    ($($(#[$meta:meta])* pub $kind:ident $name:ident { $($body:tt)* })*) => {
        $(
            #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            $(#[$meta])*
            pub $kind $name { $($body)* }
        )*
    };
}

/// Declares an enum of constants, written in SCREAMING_SNAKE_CASE.
macro_rules! constants {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident),* $(,)? })*) => {
        $(
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
            #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
            $(#[$meta])*
            pub enum $name { $($(#[$vmeta])* $variant),* }
        )*
    };
}

constants! {
    /// What an execution is a run of.
    pub enum ExecutionKind {
        /// One case with its steps.
        Case,
        /// A suite: the parent of its cases' executions.
        Suite,
    }

    /// Why an execution was cancelled, or is to be.
    pub enum CancelReason {
        /// A person or a program asked for it.
        User,
        /// The process that ran it got an interrupt or termination signal.
        Signal,
        /// Another case failed and the suite stops at the first failure.
        FailFast,
        /// A case it needs did not pass.
        DependencyFailed,
        /// A service it needs did not become ready.
        SetupFailed,
        /// The suite's wall-clock deadline passed.
        Deadline,
        /// The suite it belongs to was cancelled.
        ParentCancelled,
        /// The log could not be written for longer than the store's patience.
        StoreUnavailable,
    }

    /// Why an execution failed.
    pub enum FailureReason {
        /// One of its steps did not do what it should.
        Step,
        /// One of its cases did not pass.
        Case,
        /// A service did not become ready.
        Setup,
        /// Its workers were lost too often.
        Infrastructure,
    }

    /// Why a claim was given back.
    pub enum ReleaseReason {
        /// It waits for a person.
        Parked,
        /// It waits for its next attempt.
        Backoff,
        /// Its engine is shutting down.
        Drain,
        /// Its worker was lost before the attempt began.
        WorkerLost,
    }

    /// Why an execution was interrupted.
    pub enum InterruptReason {
        /// Its worker is proven dead.
        WorkerDied,
        /// Its worker's lease ran out.
        LeaseExpired,
    }

    /// What kind of thing went wrong with a step.
    pub enum ErrorKind {
        /// The command ended with an exit code that was not expected.
        ExitCode,
        /// The command was ended by a signal.
        Signal,
        /// The command could not be started.
        Spawn,
        /// An expectation on a response or an output did not hold.
        Expectation,
        /// A test case of a report failed.
        Assertion,
        /// No answer could be had over the network.
        Connection,
        /// Time ran out.
        Timeout,
        /// A template could not be resolved.
        Template,
        /// A value could not be captured.
        Capture,
        /// A report is missing or cannot be read.
        Report,
        /// A limit of this machine or of the settings was reached.
        ResourceAllocation,
        /// The worker was lost.
        Infrastructure,
    }

    /// Where output came from.
    pub enum OutputStream {
        /// The standard output of a command.
        Stdout,
        /// The standard error of a command.
        Stderr,
        /// The body of an HTTP response.
        Body,
    }

    /// Why a service is no longer there.
    pub enum ServiceEnd {
        /// It was stopped when its suite was done.
        Stopped,
        /// It ended by itself.
        Exited,
        /// It was stopped because it did not become ready in time.
        NotReady,
        /// It could not be started.
        NotStarted,
    }

    /// What a step does, for statistics.
    pub enum ActionKind {
        /// It runs a command.
        Run,
        /// It sends an HTTP request.
        Http,
        /// A person does it.
        Manual,
    }
}

vocabulary! {
    /// The version of the tested code.
    pub struct Revision {
        /// The commit of the tested working tree.
        pub commit: String,
        /// Whether the working tree had changes of its own.
        pub dirty: bool,
    }

    /// What bounds an execution.
    pub struct Limits {
        /// How many attempts there are at the most; 1 is no retry.
        pub max_attempts: u32,
        /// The wait before the second attempt.
        pub backoff_ms: u64,
        /// How much longer each further wait is than the one before it.
        pub backoff_factor: u32,
        /// The running time an attempt may take; none is no bound.
        pub timeout_ms: Option<u64>,
        /// After how many losses of its worker the execution fails.
        pub max_interruptions: u32,
    }

    /// Somebody asked for an execution. The first event of every execution.
    pub struct ExecutionRequested {
        /// What this is a run of.
        pub kind: ExecutionKind,
        /// The plan: an artifact, durable before this event.
        pub plan: Hash,
        /// The suite's id.
        pub suite: String,
        /// The case's id; none for a suite.
        pub case: Option<String>,
        /// The cell of the case's matrix, as `key=value` pairs joined by commas; empty where there is no matrix.
        pub matrix: String,
        /// How the case is carried out; none for a suite.
        pub case_type: Option<CaseType>,
        /// The suite execution this belongs to.
        pub parent_id: Option<ExecutionId>,
        /// The tags of the case.
        pub tags: Vec<String>,
        /// How urgent it is.
        pub priority: Priority,
        /// How many steps the case has; 0 for a suite.
        pub steps: u32,
        /// How many cases the suite has: the children's ids follow from the plan (UUIDv5 of this execution, case and matrix).
        pub cases: u32,
        /// What bounds it.
        pub limits: Limits,
        /// The tested revision, where it is known.
        pub revision: Option<Revision>,
        /// The caller's key: the same key means the same execution.
        pub idempotency_key: Option<String>,
        /// The hash of what was asked for: the same key with another body is a conflict.
        pub body: Hash,
        /// The execution that this one repeats by hand.
        pub retry_of: Option<ExecutionId>,
        /// Names and parameters.
        pub content: Erasable<RequestContent>,
    }

    /// Names and parameters of a request.
    #[derive(Default)]
    pub struct RequestContent {
        /// The name shown to people.
        pub name: String,
        /// The file the plan came from, or the wrapped command.
        pub source: String,
        /// The parameters of the run.
        pub params: BTreeMap<String, String>,
    }

    /// It may be claimed: what it needs is there.
    pub struct ExecutionReady {}

    /// A worker took it. Every later event of that worker carries this epoch.
    pub struct ExecutionClaimed {
        /// The worker.
        pub worker: WorkerId,
        /// 1 for the first claim of this execution, one more for each further one.
        pub epoch: u64,
    }

    /// Its worker gave it back.
    pub struct ClaimReleased {
        /// Why.
        pub reason: ReleaseReason,
    }

    /// An attempt began.
    pub struct ExecutionStarted {
        /// 1 for the first attempt.
        pub attempt: u32,
        /// What repeating the test needs to know.
        pub content: Erasable<StartContent>,
    }

    /// What repeating the test needs to know of the place where it ran.
    #[derive(Default)]
    pub struct StartContent {
        /// The host's name.
        pub host: String,
        /// Operating system and processor.
        pub platform: String,
        /// The version of this program.
        pub version: String,
        /// The working directory.
        pub directory: String,
        /// The allow-listed part of the environment.
        pub environment: BTreeMap<String, String>,
    }

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
    }

    /// One test case of a tool's report.
    pub struct ReportedResult {
        /// Its identity over all runs.
        pub step_key: StepKey,
        /// How it ended.
        pub outcome: StepOutcome,
        /// The time the tool reports.
        pub duration_ms: u64,
        /// The tool's own word, where it says more than the outcome (`xfail`, `flaky`, `teardown error`).
        pub detail: Option<String>,
        /// What went wrong.
        pub error: Option<StepErrorFacts>,
    }

    /// Results that a tool reported of its own test cases; no start of their own.
    pub struct StepResultsReported {
        /// The step whose report it is.
        pub run: StepRun,
        /// The number of this chunk, from 1.
        pub chunk: u32,
        /// How many chunks there are.
        pub chunks: u32,
        /// The results, in the report's order.
        pub results: Vec<ReportedResult>,
        /// Their names and messages, in the same order.
        pub content: Erasable<ReportContent>,
    }

    /// Names and messages of reported results, in their order.
    #[derive(Default)]
    pub struct ReportContent {
        /// One for each result.
        pub cases: Vec<ReportedCase>,
    }

    /// Name and message of one reported result.
    #[derive(Default)]
    pub struct ReportedCase {
        /// Its name, unique within the report.
        pub name: String,
        /// What the tool says of it (failure message, reason of a skip).
        pub message: String,
    }

    /// A service became ready.
    pub struct ServiceStarted {
        /// Its id in the plan.
        pub service: String,
        /// From its start until it was ready.
        pub ready_after_ms: u64,
        /// The process id.
        pub pid: u32,
    }

    /// A service ended.
    pub struct ServiceStopped {
        /// Its id in the plan.
        pub service: String,
        /// Why.
        pub end: ServiceEnd,
        /// Its exit code, where it had one.
        pub exit_code: Option<i64>,
        /// The signal that ended it.
        pub signal: Option<i64>,
        /// How much it printed.
        pub outputs: Vec<OutputFacts>,
        /// What it printed, and why it did not become ready.
        pub content: Erasable<StepOutputs>,
    }

    /// A hook (`before`, `after`) ran.
    pub struct HookFinished {
        /// Its id in the plan.
        pub hook: String,
        /// How it ended.
        pub outcome: StepOutcome,
        /// Its running time on the monotonic clock.
        pub duration_ms: u64,
    }

    /// A person was asked for a verdict.
    pub struct VerdictRequested {
        /// Which run of a step.
        pub run: StepRun,
    }

    /// A person gave a verdict.
    pub struct VerdictSubmitted {
        /// Which run of a step.
        pub run: StepRun,
        /// The verdict.
        pub outcome: StepOutcome,
        /// What the person wrote.
        pub content: Erasable<VerdictContent>,
    }

    /// What a person wrote with a verdict.
    #[derive(Default)]
    pub struct VerdictContent {
        /// The comment.
        pub comment: String,
    }

    /// A file was kept.
    pub struct ArtifactAttached {
        /// Which run of a step it belongs to.
        pub run: Option<StepRun>,
        /// The artifact; durable before this event.
        pub artifact: Hash,
        /// Its size.
        pub bytes: u64,
        /// Its media type (RFC 6838).
        pub media_type: String,
        /// Its name.
        pub content: Erasable<ArtifactContent>,
    }

    /// The name of an artifact.
    #[derive(Default)]
    pub struct ArtifactContent {
        /// The file's name.
        pub name: String,
    }

    /// Somebody wants it to stop.
    pub struct CancellationRequested {
        /// Why.
        pub reason: CancelReason,
    }

    /// Every step (every case) did what it should. Final.
    pub struct ExecutionPassed {
        /// Which attempt.
        pub attempt: u32,
        /// The running time of the attempt.
        pub duration_ms: u64,
        /// Outcomes of the case's steps in this attempt.
        pub steps: OutcomeTally,
        /// Statuses of the suite's cases.
        pub cases: StatusTally,
    }

    /// An attempt failed.
    pub struct ExecutionFailed {
        /// Which attempt.
        pub attempt: u32,
        /// Why.
        pub reason: FailureReason,
        /// Whether another attempt follows; if not, this is final.
        pub will_retry: bool,
        /// The running time of the attempt.
        pub duration_ms: u64,
        /// Outcomes of the case's steps in this attempt.
        pub steps: OutcomeTally,
        /// Statuses of the suite's cases.
        pub cases: StatusTally,
    }

    /// An attempt ran out of time.
    pub struct ExecutionTimedOut {
        /// Which attempt.
        pub attempt: u32,
        /// Whether another attempt follows; if not, this is final.
        pub will_retry: bool,
        /// The running time of the attempt.
        pub duration_ms: u64,
        /// Outcomes of the case's steps in this attempt.
        pub steps: OutcomeTally,
        /// Statuses of the suite's cases.
        pub cases: StatusTally,
    }

    /// Another attempt will follow.
    pub struct ExecutionRetryScheduled {
        /// The number of that attempt.
        pub attempt: u32,
        /// Not before this time.
        pub not_before: Timestamp,
    }

    /// Stopped on request, or never started. Final.
    pub struct ExecutionCancelled {
        /// Why.
        pub reason: CancelReason,
        /// The running time of the attempt; 0 if it never started.
        pub duration_ms: u64,
        /// Outcomes of the case's steps in this attempt.
        pub steps: OutcomeTally,
        /// Statuses of the suite's cases.
        pub cases: StatusTally,
    }

    /// Cancelled while it waited for its next attempt. Final.
    pub struct ExecutionAborted {
        /// Why.
        pub reason: CancelReason,
    }

    /// Its worker was lost in the middle of an attempt. Infrastructure: never a retry, never flaky.
    pub struct ExecutionInterrupted {
        /// Why.
        pub reason: InterruptReason,
        /// 1 for the first loss.
        pub interruption: u32,
        /// The claim that was lost.
        pub epoch: u64,
    }

    /// Another worker goes on with it.
    pub struct ExecutionRecovered {
        /// The place of the first step that is not finished, from 0.
        pub next_step: u32,
    }

    /// Content of an earlier event was lawfully erased; its hash stays.
    pub struct DataErased {
        /// The commit of that event.
        pub commit: CommitId,
        /// That event.
        pub event_id: EventId,
        /// Artifacts that were erased with it.
        pub artifacts: Vec<Hash>,
        /// Who asked for it, on what grounds.
        pub content: Erasable<ErasureContent>,
    }

    /// On what grounds content was erased.
    #[derive(Default)]
    pub struct ErasureContent {
        /// In words.
        pub grounds: String,
    }

    /// An engine began its work.
    pub struct WorkerStarted {
        /// Its process id.
        pub pid: u32,
        /// The boot of its host (`/proc/sys/kernel/random/boot_id`).
        pub boot_id: String,
        /// When its process started, in clock ticks since boot (`proc(5)`, `starttime`).
        pub started_ticks: u64,
        /// The version of this program.
        pub version: String,
        /// The host's name.
        pub content: Erasable<WorkerContent>,
    }

    /// Where an engine runs.
    #[derive(Default)]
    pub struct WorkerContent {
        /// The host's name.
        pub host: String,
    }

    /// An engine ended its work in good order.
    pub struct WorkerStopped {}
}

/// Declares the [`Event`] enum over the structs above, with the name and newest version of each persisted shape.
macro_rules! events {
    ($($name:ident $version:literal),* $(,)?) => {
        /// One fact.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[allow(missing_docs)] // Each variant is documented at the struct of the same name.
        pub enum Event {
            $($name($name)),*
        }

        impl Event {
            /// The names of all events.
            pub const TYPES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The name of this event.
            #[must_use]
            pub fn type_name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name)),* }
            }

            /// The newest version of the persisted shape of the event of this name; none if there is no such event.
            #[must_use]
            pub fn newest_version(type_name: &str) -> Option<u32> {
                match type_name { $(stringify!($name) => Some($version),)* _ => None }
            }

            /// All fields as one JSON value, `content` among them.
            pub(crate) fn to_value(&self) -> serde_json::Result<serde_json::Value> {
                match self { $(Self::$name(event) => serde_json::to_value(event)),* }
            }

            /// The event of this name with these fields, in the newest shape.
            pub(crate) fn from_value(type_name: &str, fields: serde_json::Value) -> serde_json::Result<Self> {
                match type_name {
                    $(stringify!($name) => serde_json::from_value(fields).map(Self::$name),)*
                    _ => Err(serde::de::Error::custom(format_args!("no event is called `{type_name}`"))),
                }
            }

            /// The JSON Schema of each event's fields, by name.
            #[must_use]
            pub fn field_schemas() -> Vec<(&'static str, u32, schemars::Schema)> {
                vec![$((stringify!($name), $version, schemars::schema_for!($name))),*]
            }
        }

        $(impl From<$name> for Event {
            fn from(event: $name) -> Self {
                Self::$name(event)
            }
        })*
    };
}

events! {
    ExecutionRequested 1, ExecutionReady 1, ExecutionClaimed 1, ClaimReleased 1, ExecutionStarted 1,
    StepStarted 1, StepFinished 1, StepResultsReported 1, ServiceStarted 1, ServiceStopped 1, HookFinished 1,
    VerdictRequested 1, VerdictSubmitted 1, ArtifactAttached 1, CancellationRequested 1,
    ExecutionPassed 1, ExecutionFailed 1, ExecutionTimedOut 1, ExecutionRetryScheduled 1, ExecutionCancelled 1,
    ExecutionAborted 1, ExecutionInterrupted 1, ExecutionRecovered 1, DataErased 1, WorkerStarted 1, WorkerStopped 1,
}
