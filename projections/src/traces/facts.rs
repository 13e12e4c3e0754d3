//! What items are made of: texts that may be erased, costs, failures, files.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::event::{OutputStream, ResourceUsage, StepErrorFacts};
use testledger_schemas::{EventId, Hash, StepOutcome};

/// Texts that came with one event: there, or lawfully erased.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Told<T> {
    /// The event.
    pub event_id: EventId,
    /// The number of its commit in its stream.
    pub commit: u64,
    /// The texts, cut to a bound (the event has all of them); none where they were erased.
    pub text: Option<T>,
}

impl<T> Told<T> {
    /// Takes the texts away if they came with this event.
    pub(super) fn erase(&mut self, event: EventId) {
        if self.event_id == event {
            self.text = None;
        }
    }
}

/// What a step was given; of a reported result and of a case, only the name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InputTexts {
    /// The name shown to people.
    pub name: String,
    /// The command's arguments, or method and URL.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// Where the command ran.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub directory: String,
    /// The body that was sent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// What the plan says of the step besides.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// What a step gave; of a reported result, only the message.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OutputTexts {
    /// What went wrong, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What was printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excerpts: Vec<Excerpt>,
    /// Captured values, as JSON text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub captures: BTreeMap<String, String>,
    /// What was checked and did not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<String>,
}

/// The beginning and the end of what was printed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Excerpt {
    /// Where it came from.
    pub stream: OutputStream,
    /// The beginning.
    pub head: String,
    /// The end; empty where the beginning is all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tail: String,
}

/// What processes cost together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct UsageTotals {
    /// How many runs of steps were measured.
    pub measured: u64,
    /// Processor time in user mode.
    pub user_ms: u64,
    /// Processor time in the kernel.
    pub system_ms: u64,
    /// The largest resident set of any one process.
    pub peak_memory_bytes: u64,
}

impl UsageTotals {
    /// Adds what one run of a step cost.
    pub(super) fn measure(&mut self, usage: &ResourceUsage) {
        self.add(&Self {
            measured: 1,
            user_ms: usage.user_ms,
            system_ms: usage.system_ms,
            peak_memory_bytes: usage.peak_memory_bytes,
        });
    }

    /// Adds what others cost.
    pub(super) fn add(&mut self, other: &Self) {
        self.measured = self.measured.saturating_add(other.measured);
        self.user_ms = self.user_ms.saturating_add(other.user_ms);
        self.system_ms = self.system_ms.saturating_add(other.system_ms);
        self.peak_memory_bytes = self.peak_memory_bytes.max(other.peak_memory_bytes);
    }

    /// What came on top of `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            measured: self.measured.saturating_sub(before.measured),
            user_ms: self.user_ms.saturating_sub(before.user_ms),
            system_ms: self.system_ms.saturating_sub(before.system_ms),
            peak_memory_bytes: self.peak_memory_bytes,
        }
    }
}

/// The step that ended an attempt early.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FailedStep {
    /// Its id.
    pub step: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What went wrong; the words are with the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepErrorFacts>,
}

/// A kept file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ItemArtifact {
    /// The artifact.
    pub artifact: Hash,
    /// Its size.
    pub bytes: u64,
    /// Its media type.
    pub media_type: String,
}
