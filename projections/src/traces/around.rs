//! What stands around the items of a trace: services and hooks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::event::{HookFinished, ServiceEnd, ServiceStarted, ServiceStopped, StepOutputs};
use testledger_schemas::{StepOutcome, Timestamp};

use super::build::{excerpts, told};
use super::facts::{OutputTexts, Told};
use super::head::TraceHead;
use crate::cut::{self, head};
use crate::projection::Recorded;

/// How many services and hooks a head lists; more are only counted.
pub const MAX_SURROUNDINGS: usize = 20;
/// The most of the message of a service, and of what it printed, in bytes each.
const TEXT_BYTES: usize = 768;

/// A service or a hook.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Surrounding {
    /// A service.
    Service(ServiceTrace),
    /// A hook.
    Hook(HookTrace),
}

/// A service, from its start to its end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceTrace {
    /// Its id in the plan.
    pub service: String,
    /// When it was recorded as ready; none if it never was.
    pub ready_at: Option<Timestamp>,
    /// From its start until it was ready.
    pub ready_after_ms: Option<u64>,
    /// When it was recorded as ended.
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    pub end: Option<ServiceEnd>,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// The signal that ended it.
    pub signal: Option<i64>,
    /// What it printed, and why it did not become ready.
    pub outputs: Option<Told<OutputTexts>>,
}

/// A hook that ran.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HookTrace {
    /// Its id in the plan.
    pub hook: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// When that was recorded.
    pub finished_at: Timestamp,
    /// Its running time.
    pub duration_ms: u64,
}

impl TraceHead {
    fn surround(&mut self, surrounding: Surrounding) {
        self.surrounding_count += 1;
        if self.surroundings.len() < MAX_SURROUNDINGS {
            self.surroundings.push(surrounding);
        }
    }

    pub(super) fn service_started(&mut self, event: &ServiceStarted, recorded: &Recorded) {
        self.surround(Surrounding::Service(ServiceTrace {
            ready_at: Some(recorded.recorded_at),
            ready_after_ms: Some(event.ready_after_ms),
            ..unknown(&event.service)
        }));
    }

    /// A service that never became ready has no start.
    pub(super) fn service_stopped(&mut self, event: &ServiceStopped, recorded: &Recorded) {
        if self.running(&event.service).is_none() {
            self.surround(Surrounding::Service(unknown(&event.service)));
        }
        if let Some(service) = self.running(&event.service) {
            service.ended_at = Some(recorded.recorded_at);
            service.end = Some(event.end);
            service.exit_code = event.exit_code;
            service.signal = event.signal;
            service.outputs = Some(told(recorded, &event.content, outputs));
        }
    }

    pub(super) fn hook_finished(&mut self, event: &HookFinished, recorded: &Recorded) {
        self.surround(Surrounding::Hook(HookTrace {
            hook: cut::id(&event.hook),
            outcome: event.outcome,
            finished_at: recorded.recorded_at,
            duration_ms: event.duration_ms,
        }));
    }

    /// The latest start of a service that has no end yet.
    fn running(&mut self, id: &str) -> Option<&mut ServiceTrace> {
        let id = cut::id(id);
        self.services().rev().find(|service| service.service == id && service.end.is_none())
    }

    pub(super) fn services(&mut self) -> impl DoubleEndedIterator<Item = &mut ServiceTrace> {
        self.surroundings.iter_mut().filter_map(|surrounding| match surrounding {
            Surrounding::Service(service) => Some(service),
            Surrounding::Hook(_) => None,
        })
    }
}

fn outputs(content: &StepOutputs) -> OutputTexts {
    OutputTexts {
        message: head(&content.message, TEXT_BYTES),
        excerpts: excerpts(&content.excerpts, TEXT_BYTES),
        ..OutputTexts::default()
    }
}

fn unknown(id: &str) -> ServiceTrace {
    ServiceTrace {
        service: cut::id(id),
        ready_at: None,
        ready_after_ms: None,
        ended_at: None,
        end: None,
        exit_code: None,
        signal: None,
        outputs: None,
    }
}
