//! How an attempt, or an execution, ends; and how it goes on after its worker was lost.

use super::constants::{CancelReason, FailureReason, InterruptReason};
use super::declare::vocabulary;
use super::{OutcomeTally, StatusTally};
use crate::time::Timestamp;

vocabulary! {
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
        /// Whether the attempt cannot go on where it was: another one follows at its first step. It counts as no retry.
        #[serde(default, skip_serializing_if = "is_false")]
        pub restarts: bool,
        /// The running time of the attempt until it was interrupted, as the log tells it; down time is not in it.
        #[serde(default)]
        pub spent_ms: u64,
    }
}

/// What is the rule is not written out.
fn is_false(value: &bool) -> bool {
    !value
}
