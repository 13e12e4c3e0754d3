//! What a person is asked, and answers.

use super::declare::vocabulary;
use super::step::StepRun;
use crate::erasable::Erasable;
use crate::outcome::StepOutcome;

vocabulary! {
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
}
