//! How each event changes the head of its trace, and what the partitions have to hear of it.

use testledger_schemas::event::{
    ArtifactAttached, DataErased, ExecutionRequested, ExecutionStarted, StepFinished, StepResultsReported, StepRun,
    StepStarted, VerdictSubmitted,
};
use testledger_schemas::{Event, ExecutionStatus, Timestamp};

use super::build::{self, NAME_BYTES, told};
use super::facts::FailedStep;
use super::head::{AttemptTrace, MAX_ATTEMPTS, MAX_OPEN_STEPS, OpenStep, RequestTexts, TraceHead};
use super::item::{CaseFacts, ItemChange, ItemKind, TraceItem};
use super::key::TraceKey;
use super::{Echoes, TraceEcho};
use crate::cut;
use crate::projection::Recorded;

/// Folds one event of the execution itself. No wildcard arm: a new event must say here what it means for the trace.
pub(super) fn apply(head: &mut TraceHead, recorded: &Recorded, threshold: u64) -> Echoes {
    let mut echoes = vec![];
    let at = recorded.recorded_at;
    let before = head.parent_id.map(|_| case_now(head));
    match &recorded.event {
        Event::ExecutionRequested(event) => request(head, event, recorded),
        Event::ExecutionStarted(event) => start(head, event, at),
        Event::StepStarted(event) => step_started(head, event, recorded, threshold, &mut echoes),
        Event::StepFinished(event) => step_finished(head, event, recorded, threshold, &mut echoes),
        Event::StepResultsReported(event) => results_reported(head, event, recorded, threshold, &mut echoes),
        Event::ServiceStarted(event) => head.service_started(event, recorded),
        Event::ServiceStopped(event) => head.service_stopped(event, recorded),
        Event::HookFinished(event) => head.hook_finished(event, recorded),
        Event::VerdictSubmitted(event) => verdict(head, event, recorded, &mut echoes),
        Event::ArtifactAttached(event) => artifact(head, event, &mut echoes),
        Event::ExecutionPassed(event) => conclude(head, ExecutionStatus::Passed, false, event.duration_ms, at),
        Event::ExecutionFailed(event) => {
            conclude(head, ExecutionStatus::Failed, event.will_retry, event.duration_ms, at);
        }
        Event::ExecutionTimedOut(event) => {
            conclude(head, ExecutionStatus::Timeout, event.will_retry, event.duration_ms, at);
        }
        Event::ExecutionRetryScheduled(_) => head.status = ExecutionStatus::Retrying,
        Event::ExecutionCancelled(event) => conclude(head, ExecutionStatus::Cancelled, false, event.duration_ms, at),
        Event::ExecutionAborted(_) => conclude(head, ExecutionStatus::Aborted, false, 0, at),
        Event::ExecutionInterrupted(event) => head.interruptions = head.interruptions.max(event.interruption),
        Event::DataErased(event) => erase(head, event, &mut echoes),
        Event::ExecutionReady(_)
        | Event::ExecutionClaimed(_)
        | Event::ClaimReleased(_)
        | Event::VerdictRequested(_)
        | Event::CancellationRequested(_)
        | Event::ExecutionRecovered(_)
        | Event::WorkerStarted(_)
        | Event::WorkerStopped(_) => {}
    }
    head.last_position = recorded.position;
    if let Some(before) = before {
        tell_suite(head, &before, &mut echoes);
    }
    echoes
}

/// A case was requested: the head of its suite gives it a place.
pub(super) fn case_requested(
    head: &mut TraceHead,
    event: &ExecutionRequested,
    recorded: &Recorded,
    threshold: u64,
) -> Echoes {
    let Some(execution_id) = recorded.stream.execution() else { return vec![] };
    let mut echoes = vec![];
    let index = head.append(vec![build::case(event, execution_id, recorded)], threshold, &mut echoes);
    head.last_position = recorded.position;
    echoes.push((TraceKey::Head(execution_id), TraceEcho::Placed(index)));
    echoes
}

fn request(head: &mut TraceHead, event: &ExecutionRequested, recorded: &Recorded) {
    head.kind = event.kind;
    head.case_type = event.case_type;
    head.suite = cut::id(&event.suite);
    head.case = event.case.as_ref().map(|case| cut::id(case));
    head.matrix = cut::id(&event.matrix);
    head.parent_id = event.parent_id;
    head.requested_at = Some(recorded.recorded_at);
    head.request = Some(told(recorded, &event.content, |content| RequestTexts {
        name: cut::head(&content.name, NAME_BYTES),
        source: cut::head(&content.source, NAME_BYTES),
    }));
}

fn start(head: &mut TraceHead, event: &ExecutionStarted, at: Timestamp) {
    head.status = ExecutionStatus::Running;
    head.is_final = false;
    head.attempt = event.attempt;
    head.started_at = head.started_at.or(Some(at));
    head.finished_at = None;
    head.failed_step = None;
    if head.attempts.len() == MAX_ATTEMPTS {
        head.attempts.remove(0);
    }
    head.attempts.push(AttemptTrace {
        attempt: event.attempt,
        first_item: head.step_count,
        started_at: at,
        status: None,
        finished_at: None,
        duration_ms: None,
    });
}

fn step_started(head: &mut TraceHead, event: &StepStarted, recorded: &Recorded, threshold: u64, echoes: &mut Echoes) {
    let index = head.append(vec![build::started(event, recorded)], threshold, echoes);
    if head.open_steps.len() == MAX_OPEN_STEPS {
        head.open_steps.remove(0);
    }
    let StepRun { attempt, step, step_attempt } = &event.run;
    head.open_steps.push(OpenStep { attempt: *attempt, step: cut::id(step), step_attempt: *step_attempt, index });
}

/// An end whose begin is not known (no lawful history has one) is an item of its own: nothing is lost.
fn step_finished(head: &mut TraceHead, event: &StepFinished, recorded: &Recorded, threshold: u64, echoes: &mut Echoes) {
    event.usage.iter().for_each(|usage| head.resource_usage.measure(usage));
    note_failure(head, event);
    let end = Box::new(build::ended(event, recorded));
    match open_at(head, &event.run) {
        Some(at) => {
            let open = head.open_steps.remove(at);
            head.change(open.index, ItemChange::Ended(end), echoes);
        }
        None => {
            let run = &event.run;
            let bare = TraceItem::bare(ItemKind::Step, cut::id(&run.step), run.attempt, run.step_attempt);
            head.append(vec![TraceItem { end: Some(*end), ..bare }], threshold, echoes);
        }
    }
}

fn note_failure(head: &mut TraceHead, event: &StepFinished) {
    if head.failed_step.is_none() && !event.will_retry && !event.outcome.lets_the_case_go_on() {
        let step = cut::id(&event.run.step);
        let error = event.error.as_ref().map(cut::error);
        head.failed_step = Some(FailedStep { step, outcome: event.outcome, error });
    }
}

/// Where the begin of this run is remembered.
fn open_at(head: &TraceHead, run: &StepRun) -> Option<usize> {
    let step = cut::id(&run.step);
    let is_it =
        |open: &OpenStep| (open.attempt, open.step_attempt) == (run.attempt, run.step_attempt) && open.step == step;
    head.open_steps.iter().rposition(is_it)
}

fn results_reported(
    head: &mut TraceHead,
    event: &StepResultsReported,
    recorded: &Recorded,
    threshold: u64,
    echoes: &mut Echoes,
) {
    head.append(build::reported(event, recorded), threshold, echoes);
}

/// A verdict comes while its step is open.
fn verdict(head: &mut TraceHead, event: &VerdictSubmitted, recorded: &Recorded, echoes: &mut Echoes) {
    if let Some(at) = open_at(head, &event.run) {
        let index = head.open_steps[at].index;
        head.change(index, ItemChange::Comment(build::comment(event, recorded)), echoes);
    }
}

fn artifact(head: &mut TraceHead, event: &ArtifactAttached, echoes: &mut Echoes) {
    match event.run.as_ref().and_then(|run| open_at(head, run)) {
        Some(at) => {
            let index = head.open_steps[at].index;
            head.change(index, ItemChange::Artifact(build::artifact(event)), echoes);
        }
        None => head.artifact_count += 1,
    }
}

/// An attempt, or the execution, is over.
fn conclude(head: &mut TraceHead, status: ExecutionStatus, will_retry: bool, duration_ms: u64, at: Timestamp) {
    head.status = status;
    head.is_final = status.is_final(will_retry);
    head.finished_at = head.is_final.then_some(at);
    head.total_duration_ms = head.total_duration_ms.saturating_add(duration_ms);
    head.usage_of_attempts = head.resource_usage;
    if let Some(attempt) = head.attempts.last_mut().filter(|attempt| attempt.status.is_none()) {
        attempt.status = Some(status);
        attempt.finished_at = Some(at);
        attempt.duration_ms = Some(duration_ms);
    }
}

/// Takes erased text away. Where the event was read after its erasure there was none to take, so that an incremental
/// fold and a replay give the same documents.
fn erase(head: &mut TraceHead, event: &DataErased, echoes: &mut Echoes) {
    head.erasures += 1;
    let erased = event.event_id;
    head.services().filter_map(|service| service.outputs.as_mut()).for_each(|told| told.erase(erased));
    head.erase_items(event.commit.number, erased, echoes);
    let Some(request) = head.request.as_mut().filter(|request| request.event_id == erased) else { return };
    request.erase(erased);
    if let (Some(parent), Some(index)) = (head.parent_id, head.place) {
        echoes.push((TraceKey::Head(parent), TraceEcho::Change { index, change: ItemChange::Erase(erased) }));
    }
}

/// What the suite's trace says of this case.
#[derive(PartialEq)]
struct CaseNow {
    started_at: Option<Timestamp>,
    attempt: u32,
    facts: CaseFacts,
}

fn case_now(head: &TraceHead) -> CaseNow {
    let facts = CaseFacts {
        execution_id: head.execution_id,
        status: head.status,
        is_final: head.is_final,
        finished_at: head.finished_at,
        duration_ms: head.total_duration_ms,
        usage: head.usage_of_attempts,
        failed_step: head.failed_step.clone(),
    };
    CaseNow { started_at: head.started_at, attempt: head.attempt, facts }
}

/// Tells the suite what changed of its case.
fn tell_suite(head: &TraceHead, before: &CaseNow, echoes: &mut Echoes) {
    let (Some(parent), Some(index)) = (head.parent_id, head.place) else { return };
    let now = case_now(head);
    if now == *before {
        return;
    }
    if now.facts.usage != before.facts.usage {
        let added = now.facts.usage.since(&before.facts.usage);
        echoes.push((TraceKey::Head(parent), TraceEcho::Usage(added)));
    }
    let change = ItemChange::Case(now.started_at, now.attempt, Box::new(now.facts));
    echoes.push((TraceKey::Head(parent), TraceEcho::Change { index, change }));
}
