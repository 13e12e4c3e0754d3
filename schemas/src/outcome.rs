//! How a step ends.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The outcome of one run of a step, or of one test case that a tool reported.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepOutcome {
    /// It did what it should.
    Passed,
    /// It ran, and an expectation did not hold (a non-zero exit code, a failed assertion).
    Failed,
    /// It could not be carried out: no such program, no connection, an unreadable report.
    Error,
    /// It ran out of time and was stopped.
    Timeout,
    /// It was stopped on request.
    Cancelled,
    /// It was not run, on purpose.
    Skipped,
    /// Its worker was lost in the middle; nobody knows how far it came.
    Interrupted,
    /// A person could not do it (manual steps).
    Blocked,
}

impl StepOutcome {
    /// Every outcome, in the order in which they are listed to people.
    pub const ALL: [Self; 8] = [
        Self::Passed,
        Self::Failed,
        Self::Error,
        Self::Timeout,
        Self::Cancelled,
        Self::Skipped,
        Self::Interrupted,
        Self::Blocked,
    ];

    /// Whether the case goes on to its next step after this outcome.
    #[must_use]
    pub fn lets_the_case_go_on(self) -> bool {
        match self {
            Self::Passed | Self::Skipped => true,
            Self::Failed | Self::Error | Self::Timeout | Self::Cancelled | Self::Interrupted | Self::Blocked => false,
        }
    }

    /// The spelling in events and in `--json` output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "PASSED",
            Self::Failed => "FAILED",
            Self::Error => "ERROR",
            Self::Timeout => "TIMEOUT",
            Self::Cancelled => "CANCELLED",
            Self::Skipped => "SKIPPED",
            Self::Interrupted => "INTERRUPTED",
            Self::Blocked => "BLOCKED",
        }
    }
}

impl fmt::Display for StepOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
