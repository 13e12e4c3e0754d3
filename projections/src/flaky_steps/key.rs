//! What names a document of the statistics of steps.

use std::fmt;
use std::str::FromStr;

use testledger_schemas::ids::InvalidId;
use testledger_schemas::{ExecutionId, StepKey};

use super::day::Day;

/// A document of the statistics. Written `days/2026-11-23/UUID`, `runs/UUID`, `mass-failures/2026-11-23`.
///
/// The day comes before the step: what is written at one time then stands close together wherever it is kept by key, and
/// a fold of many days does not touch a page of the store for each step. Windows go by an index of step and day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FlakyKey {
    /// What one day said of one step.
    Bucket(StepKey, Day),
    /// What the fold has to know of an execution while it runs.
    Run(ExecutionId),
    /// The runs that were over on this day and in which nearly everything had failed.
    MassFailures(Day),
}

impl fmt::Display for FlakyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(step, day) => write!(f, "days/{day}/{step}"),
            Self::Run(execution) => write!(f, "runs/{execution}"),
            Self::MassFailures(day) => write!(f, "mass-failures/{day}"),
        }
    }
}

impl FromStr for FlakyKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let expected = "a document of statistics (`days/DAY/UUID`, `runs/UUID` or `mass-failures/DAY`)";
        let invalid = || InvalidId { text: text.to_owned(), expected };
        let parts: Vec<&str> = text.split('/').collect();
        let key = match parts.as_slice() {
            ["days", day, step] => Self::Bucket(step.parse().map_err(|_| invalid())?, day.parse()?),
            ["runs", execution] => Self::Run(execution.parse().map_err(|_| invalid())?),
            ["mass-failures", day] => Self::MassFailures(day.parse()?),
            _ => return Err(invalid()),
        };
        if key.to_string() == text { Ok(key) } else { Err(invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        let day: Day = "2026-11-23".parse().unwrap();
        let step = StepKey::derive("a", "b", "", "c");
        for key in [FlakyKey::Bucket(step, day), FlakyKey::Run(ExecutionId(step.0)), FlakyKey::MassFailures(day)] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for text in [
            "",
            "runs",
            "runs/x",
            "days/2026-11-23/x",
            &format!("days/{day}"),
            &format!("days/x/{step}"),
            "mass-failures/x",
        ] {
            assert!(text.parse::<FlakyKey>().is_err(), "{text}");
        }
    }
}
