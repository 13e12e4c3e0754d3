//! Which artifacts an event names.

use testledger_schemas::event::Event;
use testledger_schemas::hash::Hash;

/// The artifacts that an event names as there. No wildcard arm: a new event must say what it names.
#[must_use]
pub fn artifacts_of(event: &Event) -> Vec<Hash> {
    match event {
        Event::ExecutionRequested(event) => vec![event.plan],
        Event::StepFinished(event) => event.outputs.iter().filter_map(|output| output.artifact).collect(),
        Event::ServiceStopped(event) => event.outputs.iter().filter_map(|output| output.artifact).collect(),
        Event::ArtifactAttached(event) => vec![event.artifact],
        Event::ExecutionReady(_)
        | Event::ExecutionClaimed(_)
        | Event::ClaimReleased(_)
        | Event::ExecutionStarted(_)
        | Event::StepStarted(_)
        | Event::StepResultsReported(_)
        | Event::ServiceStarted(_)
        | Event::HookFinished(_)
        | Event::VerdictRequested(_)
        | Event::VerdictSubmitted(_)
        | Event::CancellationRequested(_)
        | Event::ExecutionPassed(_)
        | Event::ExecutionFailed(_)
        | Event::ExecutionTimedOut(_)
        | Event::ExecutionRetryScheduled(_)
        | Event::ExecutionCancelled(_)
        | Event::ExecutionAborted(_)
        | Event::ExecutionInterrupted(_)
        | Event::ExecutionRecovered(_)
        | Event::DataErased(_)
        | Event::WorkerStarted(_)
        | Event::WorkerStopped(_) => vec![],
    }
}
