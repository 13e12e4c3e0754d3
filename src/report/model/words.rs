//! Statuses and reasons in the words that people read.

use testledger_schemas::event::{CancelReason, FailureReason};

use super::{EndReason, ExecutionReport};

/// Why an execution was cancelled, in words.
#[must_use]
pub fn cancel_reason(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::User => "cancelled by the user",
        CancelReason::Signal => "stopped by a signal",
        CancelReason::FailFast => "another case failed and the suite stops at the first failure",
        CancelReason::DependencyFailed => "a case it needs did not pass",
        CancelReason::SetupFailed => "a service did not become ready",
        CancelReason::Deadline => "the suite's deadline passed",
        CancelReason::ParentCancelled => "the suite was cancelled",
        CancelReason::StoreUnavailable => "the log could not be written",
    }
}

/// Why an execution failed, in words.
#[must_use]
pub fn failure_reason(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Step => "a step failed",
        FailureReason::Case => "a case did not pass",
        FailureReason::Setup => "a service did not become ready",
        FailureReason::Infrastructure => "its worker was lost too often",
    }
}

impl EndReason {
    /// The reason in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Failure(reason) => failure_reason(reason),
            Self::Cancel(reason) => cancel_reason(reason),
        }
    }
}

impl ExecutionReport {
    /// Its status as people read it: `NOT RUN` where it was ended before it started.
    #[must_use]
    pub fn status_word(&self) -> &'static str {
        if self.is_not_run() { "NOT RUN" } else { self.status.as_str() }
    }
}

/// A duration as people read it: `7ms`, `1.24s`, `2m 05s`, `1h 01m 05s`.
#[must_use]
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{seconds}.{:02}s", ms % 1000 / 10),
        60_000..3_600_000 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m {:02}s", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}
