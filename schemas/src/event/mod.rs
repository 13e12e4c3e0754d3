//! The facts: what an execution or an engine can have gone through. Past tense; never changed once acknowledged.
//!
//! Every event is a struct of plain fields (its *data*: ids, enums, numbers; it decides and is never erased) and,
//! where there is text a person wrote or a test printed, a field `content` (it never decides and may be erased).
//! [`crate::upcast`] reads and writes the persisted shape.

mod around;
mod constants;
mod declare;
mod ending;
mod evidence;
mod manual;
mod reported;
mod request;
mod step;
mod worker;

use std::collections::BTreeMap;

pub use around::*;
pub use constants::*;
pub use ending::*;
pub use evidence::*;
pub use manual::*;
pub use reported::*;
pub use request::*;
pub use step::*;
pub use worker::*;

use crate::outcome::StepOutcome;
use crate::status::ExecutionStatus;

/// How many of something had each outcome.
pub type OutcomeTally = BTreeMap<StepOutcome, u64>;
/// How many executions had each status.
pub type StatusTally = BTreeMap<ExecutionStatus, u64>;

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
