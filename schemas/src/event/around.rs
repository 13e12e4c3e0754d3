//! What happens around the steps: services and hooks.

use super::constants::ServiceEnd;
use super::declare::vocabulary;
use super::step::{OutputFacts, StepOutputs};
use crate::erasable::Erasable;
use crate::outcome::StepOutcome;

vocabulary! {
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
}
