//! The view of one execution: its fields, and the small rules that keep them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::event::{
    CancelReason, ErrorKind, ExecutionKind, FailureReason, Limits, OutcomeTally, ReleaseReason, Revision, StatusTally,
};
use testledger_schemas::plan::{CaseType, Priority};
use testledger_schemas::{EventId, ExecutionId, ExecutionStatus, Hash, StepOutcome, Timestamp, WorkerId};

/// How many anomalies a view lists; more are only counted.
pub const MAX_ANOMALIES: usize = 20;
/// How much of a failure's message a view keeps; the event has all of it.
pub const MAX_MESSAGE_CHARS: usize = 500;

/// What one execution looks like after the events up to `last_position`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionView {
    /// The execution.
    pub id: ExecutionId,
    /// What it is a run of.
    pub kind: ExecutionKind,
    /// How the case is carried out; none for a suite.
    pub case_type: Option<CaseType>,
    /// The suite's id.
    pub suite: String,
    /// The case's id; none for a suite.
    pub case: Option<String>,
    /// The cell of the case's matrix; empty where there is none.
    pub matrix: String,
    /// What it is called in lists: `suite`, `suite/case`, `suite/case[matrix]`.
    pub label: String,
    /// The name shown to people; none where it was erased.
    pub name: Option<String>,
    /// The file the plan came from, or the wrapped command; none where it was erased.
    pub source: Option<String>,
    /// The suite execution this belongs to.
    pub parent_id: Option<ExecutionId>,
    /// The execution that this one repeats by hand.
    pub retry_of: Option<ExecutionId>,
    /// The plan: an artifact.
    pub plan: Option<Hash>,
    /// Who asked for it.
    pub actor: String,
    /// The caller's key.
    pub idempotency_key: Option<String>,
    /// The tags of the case.
    pub tags: Vec<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// The tested revision, where it is known.
    pub revision: Option<Revision>,
    /// What bounds it.
    pub limits: Option<Limits>,

    /// The status. Ask `is_final`, never this alone, whether it is over.
    pub status: ExecutionStatus,
    /// Whether another attempt follows a failure.
    pub will_retry: bool,
    /// Whether nothing can follow.
    pub is_final: bool,
    /// The attempt; 0 before the first.
    pub attempt: u32,
    /// When the next attempt may begin, while one is scheduled.
    pub not_before: Option<Timestamp>,
    /// Why it failed, in its latest attempt.
    pub failure_reason: Option<FailureReason>,
    /// Why it was cancelled.
    pub cancel_reason: Option<CancelReason>,
    /// Why it is to be cancelled.
    pub cancel_requested: Option<CancelReason>,
    /// The first thing that went wrong in the latest attempt.
    pub first_failure: Option<Failure>,

    /// How far the steps of the latest attempt have come.
    pub steps: StepProgress,
    /// Results that tools reported in the latest attempt, by outcome.
    pub reported: OutcomeTally,
    /// The cases of a suite.
    pub children: Children,
    /// How many files were kept.
    pub artifacts: u64,
    /// Whether a person is asked for a verdict.
    pub waits_for_verdict: bool,

    /// When it was asked for; none only while the first event is missing.
    pub requested_at: Option<Timestamp>,
    /// When it could first be claimed.
    pub ready_at: Option<Timestamp>,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
    /// The running time of the latest attempt, on the monotonic clock; none while it runs.
    pub duration_ms: Option<u64>,
    /// The running time of all attempts that are over.
    pub total_duration_ms: u64,

    /// The worker that holds the claim, or held the last one.
    pub worker: Option<WorkerId>,
    /// Where the latest attempt ran; none where that was erased.
    pub host: Option<String>,
    /// The epoch of the last claim; 0 before the first.
    pub epoch: u64,
    /// Whether the last claim is still held.
    pub is_claimed: bool,
    /// Why the last claim was given back.
    pub released: Option<ReleaseReason>,
    /// How often its worker was lost.
    pub interruptions: u32,
    /// Whether it waits for another worker to go on.
    pub is_interrupted: bool,

    /// How many anomalies there are.
    pub anomaly_count: u64,
    /// The first of them.
    pub anomalies: Vec<Anomaly>,
    /// How many erasures its stream records.
    pub erasures: u64,
    /// The version of its last event.
    pub last_version: u64,
    /// The position of its first event; 0 before it.
    pub first_position: u64,
    /// The position of the last event that changed this view (a suite's changes with its cases).
    pub last_position: u64,
    /// The events whose erasable text this view holds: of the request, and of the latest start.
    pub text_of: TextOrigins,
}

/// The events whose text a view holds, so that an erasure takes it from the view as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TextOrigins {
    /// Of `name` and `source`.
    pub request: Option<EventId>,
    /// Of `host`.
    pub start: Option<EventId>,
}

/// How far the steps of an attempt have come.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StepProgress {
    /// How many the case has.
    pub total: u32,
    /// Those that are over for good in this attempt, by outcome.
    pub outcomes: OutcomeTally,
    /// Runs of steps that were tried again.
    pub retried: u64,
    /// The step that runs now.
    pub current: Option<String>,
    /// What the report of the latest step said, so that it is taken back when that step is tried again.
    pub last_report: Option<(String, OutcomeTally)>,
}

/// The cases of a suite, as far as they have been requested.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Children {
    /// How many the suite has.
    pub total: u32,
    /// How many are over.
    pub finished: u64,
    /// Those that exist, by status.
    pub statuses: StatusTally,
}

impl Children {
    pub(super) fn change(&mut self, from: Option<(ExecutionStatus, bool)>, to: (ExecutionStatus, bool)) {
        if let Some((status, was_final)) = from {
            self.finished = self.finished.saturating_sub(u64::from(was_final));
            let left = self.statuses.get(&status).copied().unwrap_or(0).saturating_sub(1);
            if left == 0 {
                self.statuses.remove(&status);
            } else {
                self.statuses.insert(status, left);
            }
        }
        self.finished += u64::from(to.1);
        *self.statuses.entry(to.0).or_default() += 1;
    }
}

/// The first thing that went wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The event that says so.
    pub event_id: EventId,
    /// The step or service.
    pub step: String,
    /// Whether a tool's report says so.
    pub is_reported: bool,
    /// The test case, where a tool's report says so; none where it was erased.
    pub reported: Option<String>,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What kind of thing went wrong.
    pub kind: Option<ErrorKind>,
    /// The same for equal failures.
    pub fingerprint: Option<String>,
    /// In words, at most [`MAX_MESSAGE_CHARS`]; none where it was erased.
    pub message: Option<String>,
}

/// Something the log says that should not be possible. It is flagged, and the fold goes on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Anomaly {
    /// The position of the event.
    pub position: u64,
    /// What is wrong.
    pub reason: String,
}

impl ExecutionView {
    pub(super) fn initial(id: ExecutionId) -> Self {
        Self {
            id,
            kind: ExecutionKind::Case,
            case_type: None,
            suite: String::new(),
            case: None,
            matrix: String::new(),
            label: String::new(),
            name: None,
            source: None,
            parent_id: None,
            retry_of: None,
            plan: None,
            actor: String::new(),
            idempotency_key: None,
            tags: vec![],
            priority: Priority::default(),
            revision: None,
            limits: None,
            status: ExecutionStatus::Pending,
            will_retry: false,
            is_final: false,
            attempt: 0,
            not_before: None,
            failure_reason: None,
            cancel_reason: None,
            cancel_requested: None,
            first_failure: None,
            steps: StepProgress::default(),
            reported: OutcomeTally::new(),
            children: Children::default(),
            artifacts: 0,
            waits_for_verdict: false,
            requested_at: None,
            ready_at: None,
            started_at: None,
            finished_at: None,
            duration_ms: None,
            total_duration_ms: 0,
            worker: None,
            host: None,
            epoch: 0,
            is_claimed: false,
            released: None,
            interruptions: 0,
            is_interrupted: false,
            anomaly_count: 0,
            anomalies: vec![],
            erasures: 0,
            last_version: 0,
            first_position: 0,
            last_position: 0,
            text_of: TextOrigins::default(),
        }
    }

    /// Flags something that should not be possible.
    pub(super) fn flag(&mut self, position: u64, reason: String) {
        self.anomaly_count += 1;
        if self.anomalies.len() < MAX_ANOMALIES {
            self.anomalies.push(Anomaly { position, reason });
        }
    }

    /// Follows the log to a status, also where the table does not allow it; that is flagged.
    pub(super) fn turn(&mut self, to: ExecutionStatus, will_retry: bool, position: u64) {
        if let Err(refused) = self.status.transition(to) {
            self.flag(position, refused.to_string());
        }
        self.status = to;
        self.will_retry = will_retry;
        self.is_final = to.is_final(will_retry);
    }
}

/// The beginning of a text, at most [`MAX_MESSAGE_CHARS`].
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(MAX_MESSAGE_CHARS).collect()
}

/// What an execution is called in lists.
pub(super) fn label(suite: &str, case: Option<&str>, matrix: &str) -> String {
    match case {
        None => suite.to_owned(),
        Some(case) if matrix.is_empty() => format!("{suite}/{case}"),
        Some(case) => format!("{suite}/{case}[{matrix}]"),
    }
}
