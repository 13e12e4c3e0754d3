//! The law of statuses: one table of what may follow what, used by the decider and by the folds.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The status of an execution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionStatus {
    /// Requested, not begun.
    Pending,
    /// An attempt is under way (also while its worker is lost).
    Running,
    /// Every step did what it should. Final.
    Passed,
    /// An attempt failed. Final, unless it will be tried again.
    Failed,
    /// Stopped on request, or never started for a reason that is recorded. Final.
    Cancelled,
    /// An attempt ran out of time. Final, unless it will be tried again.
    Timeout,
    /// Waiting for its next attempt.
    Retrying,
    /// Cancelled while it waited for its next attempt. Final.
    Aborted,
}

use ExecutionStatus::{Aborted, Cancelled, Failed, Passed, Pending, Retrying, Running, Timeout};

impl ExecutionStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [Pending, Running, Passed, Failed, Cancelled, Timeout, Retrying, Aborted];

    /// The statuses that may follow this one: the whole law.
    #[must_use]
    pub fn next(self) -> &'static [Self] {
        match self {
            Pending => &[Running, Cancelled],
            Running => &[Passed, Failed, Cancelled, Timeout],
            Failed | Timeout => &[Retrying],
            Retrying => &[Running, Aborted],
            Passed | Cancelled | Aborted => &[],
        }
    }

    /// This status followed by `to`.
    ///
    /// # Errors
    /// [`StateTransitionError`] where the table does not allow it.
    pub fn transition(self, to: Self) -> Result<Self, StateTransitionError> {
        if self.next().contains(&to) { Ok(to) } else { Err(StateTransitionError { from: self, to }) }
    }

    /// Whether nothing can follow. FAILED and TIMEOUT are final unless another attempt was announced (`will_retry`).
    #[must_use]
    pub fn is_final(self, will_retry: bool) -> bool {
        match self {
            Passed | Cancelled | Aborted => true,
            Failed | Timeout => !will_retry,
            Pending | Running | Retrying => false,
        }
    }

    /// The spelling in events and in `--json` output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Pending => "PENDING",
            Running => "RUNNING",
            Passed => "PASSED",
            Failed => "FAILED",
            Cancelled => "CANCELLED",
            Timeout => "TIMEOUT",
            Retrying => "RETRYING",
            Aborted => "ABORTED",
        }
    }
}

impl fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A status that the table does not allow to follow another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an execution that is {from} cannot become {to}")]
pub struct StateTransitionError {
    /// The status it has.
    pub from: ExecutionStatus,
    /// The status that was asked for.
    pub to: ExecutionStatus,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The legal pairs, written out again on purpose: the table and this list must be changed together.
    const LEGAL: [(ExecutionStatus, ExecutionStatus); 10] = [
        (Pending, Running),
        (Pending, Cancelled),
        (Running, Passed),
        (Running, Failed),
        (Running, Cancelled),
        (Running, Timeout),
        (Failed, Retrying),
        (Timeout, Retrying),
        (Retrying, Running),
        (Retrying, Aborted),
    ];

    #[test]
    fn every_pair_is_legal_or_refused() {
        for from in ExecutionStatus::ALL {
            for to in ExecutionStatus::ALL {
                let expected =
                    if LEGAL.contains(&(from, to)) { Ok(to) } else { Err(StateTransitionError { from, to }) };
                assert_eq!(from.transition(to), expected, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn final_means_that_nothing_can_follow() {
        for status in ExecutionStatus::ALL {
            assert_eq!(status.is_final(true), status.next().is_empty(), "{status}");
        }
        assert!(Failed.is_final(false) && Timeout.is_final(false));
    }
}
