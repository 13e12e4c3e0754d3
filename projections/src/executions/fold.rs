//! How each event changes the view of its execution.

use testledger_schemas::event::{
    DataErased, ExecutionRequested, ExecutionStarted, OutcomeTally, ServiceEnd, ServiceStopped, StepFinished,
    StepResultsReported, StepRun,
};
use testledger_schemas::{Event, EventId, ExecutionStatus, StepOutcome, Timestamp};

use super::view::{ExecutionView, Failure, excerpt, label};
use crate::projection::Recorded;

/// Folds one event. No wildcard arm: a new event must say here what it means for the view.
pub(super) fn apply(view: &mut ExecutionView, recorded: &Recorded) {
    let (at, position) = (recorded.recorded_at, recorded.position);
    check_place(view, recorded);
    match &recorded.event {
        Event::ExecutionRequested(event) => request(view, event, recorded),
        Event::ExecutionReady(_) => view.ready_at = view.ready_at.or(Some(at)),
        Event::ExecutionClaimed(event) => {
            view.worker = Some(event.worker);
            view.epoch = event.epoch;
            view.is_claimed = true;
            view.released = None;
        }
        Event::ClaimReleased(event) => {
            view.is_claimed = false;
            view.released = Some(event.reason);
        }
        Event::ExecutionStarted(event) => start(view, event, recorded),
        Event::StepStarted(event) => step_started(view, &event.run),
        Event::StepFinished(event) => step_finished(view, event, recorded.event_id),
        Event::StepResultsReported(event) => results_reported(view, event, recorded.event_id),
        Event::ServiceStarted(_) | Event::HookFinished(_) => {}
        Event::ServiceStopped(event) => service_stopped(view, event, recorded.event_id),
        Event::VerdictRequested(_) => view.waits_for_verdict = true,
        Event::VerdictSubmitted(_) => view.waits_for_verdict = false,
        Event::ArtifactAttached(_) => view.artifacts += 1,
        Event::CancellationRequested(event) => {
            view.cancel_requested = view.cancel_requested.or(Some(event.reason));
        }
        Event::ExecutionPassed(event) => {
            view.turn(ExecutionStatus::Passed, false, position);
            conclude(view, Some(&event.steps), event.duration_ms, at);
        }
        Event::ExecutionFailed(event) => {
            view.turn(ExecutionStatus::Failed, event.will_retry, position);
            view.failure_reason = Some(event.reason);
            conclude(view, Some(&event.steps), event.duration_ms, at);
        }
        Event::ExecutionTimedOut(event) => {
            view.turn(ExecutionStatus::Timeout, event.will_retry, position);
            conclude(view, Some(&event.steps), event.duration_ms, at);
        }
        Event::ExecutionRetryScheduled(event) => {
            view.turn(ExecutionStatus::Retrying, false, position);
            view.not_before = Some(event.not_before);
        }
        Event::ExecutionCancelled(event) => {
            view.turn(ExecutionStatus::Cancelled, false, position);
            view.cancel_reason = Some(event.reason);
            conclude(view, Some(&event.steps), event.duration_ms, at);
        }
        Event::ExecutionAborted(event) => {
            view.turn(ExecutionStatus::Aborted, false, position);
            view.cancel_reason = Some(event.reason);
            conclude(view, None, 0, at);
        }
        Event::ExecutionInterrupted(event) => {
            view.interruptions = view.interruptions.max(event.interruption);
            view.is_interrupted = true;
            view.is_claimed = false;
            view.steps.current = None;
        }
        // Where another attempt follows it stays interrupted until that begins.
        Event::ExecutionRecovered(event) => view.is_interrupted = event.restarts,
        Event::DataErased(event) => erase(view, event),
        Event::WorkerStarted(_) | Event::WorkerStopped(_) => {
            view.flag(position, format!("{} in the stream of an execution", recorded.event.type_name()));
        }
    }
    if view.last_version == 0 {
        view.first_position = position;
    }
    view.last_version = recorded.version;
    view.last_position = position;
}

/// The first event is the request, and versions are dense.
fn check_place(view: &mut ExecutionView, recorded: &Recorded) {
    let (version, expected) = (recorded.version, view.last_version + 1);
    if version != expected {
        view.flag(recorded.position, format!("version {version} follows version {}", view.last_version));
    }
    let is_request = matches!(recorded.event, Event::ExecutionRequested(_));
    if is_request != (view.last_version == 0) {
        view.flag(recorded.position, format!("{} is event {version} of its stream", recorded.event.type_name()));
    }
}

fn request(view: &mut ExecutionView, event: &ExecutionRequested, recorded: &Recorded) {
    view.kind = event.kind;
    view.case_type = event.case_type;
    view.suite.clone_from(&event.suite);
    view.case.clone_from(&event.case);
    view.matrix.clone_from(&event.matrix);
    view.label = label(&event.suite, event.case.as_deref(), &event.matrix);
    view.name = event.content.kept().map(|content| content.name.clone());
    view.source = event.content.kept().map(|content| content.source.clone());
    view.parent_id = event.parent_id;
    view.retry_of = event.retry_of;
    view.plan = Some(event.plan);
    view.actor = recorded.actor.to_string();
    view.idempotency_key.clone_from(&event.idempotency_key);
    view.tags.clone_from(&event.tags);
    view.priority = event.priority;
    view.revision.clone_from(&event.revision);
    view.limits = Some(event.limits.clone());
    view.steps.total = event.steps;
    view.children.total = event.cases;
    view.requested_at = Some(recorded.recorded_at);
    view.text_of.request = Some(recorded.event_id);
}

/// A new attempt begins with clean counts; what earlier attempts took stays in the total.
fn start(view: &mut ExecutionView, event: &ExecutionStarted, recorded: &Recorded) {
    if !view.is_interrupted {
        view.turn(ExecutionStatus::Running, false, recorded.position);
    }
    view.is_interrupted = false;
    view.attempt = event.attempt;
    view.started_at = view.started_at.or(Some(recorded.recorded_at));
    view.not_before = None;
    view.failure_reason = None;
    view.first_failure = None;
    view.duration_ms = None;
    view.finished_at = None;
    view.steps.outcomes.clear();
    view.steps.current = None;
    view.steps.last_report = None;
    view.reported.clear();
    view.host = event.content.kept().map(|content| content.host.clone());
    view.text_of.start = Some(recorded.event_id);
}

/// A step that is tried again takes back what the report of its run before said.
fn step_started(view: &mut ExecutionView, run: &StepRun) {
    view.steps.current = Some(run.step.clone());
    match view.steps.last_report.take() {
        Some((step, tally)) if step == run.step => take_back(&mut view.reported, &tally),
        Some(_) | None => {}
    }
}

fn step_finished(view: &mut ExecutionView, event: &StepFinished, event_id: EventId) {
    view.steps.current = None;
    if event.will_retry {
        view.steps.retried += 1;
        return;
    }
    *view.steps.outcomes.entry(event.outcome).or_default() += 1;
    if !event.outcome.lets_the_case_go_on() && view.first_failure.is_none() {
        view.first_failure = Some(Failure {
            event_id,
            step: event.run.step.clone(),
            is_reported: false,
            reported: None,
            outcome: event.outcome,
            kind: event.error.as_ref().map(|error| error.kind),
            fingerprint: event.error.as_ref().map(|error| error.fingerprint.clone()),
            message: event.content.kept().map(|content| excerpt(&content.message)),
        });
    }
}

/// A test case that failed says more than the exit code of the tool that ran it.
fn results_reported(view: &mut ExecutionView, event: &StepResultsReported, event_id: EventId) {
    let mut tally = match view.steps.last_report.take() {
        Some((step, tally)) if step == event.run.step => tally,
        Some(_) | None => OutcomeTally::new(),
    };
    for result in &event.results {
        *tally.entry(result.outcome).or_default() += 1;
        *view.reported.entry(result.outcome).or_default() += 1;
    }
    view.steps.last_report = Some((event.run.step.clone(), tally));
    let is_better = view.first_failure.as_ref().is_none_or(|it| it.step == event.run.step && !it.is_reported);
    let failed = event.results.iter().position(|result| !result.outcome.lets_the_case_go_on());
    if let (true, Some(index)) = (is_better, failed) {
        view.first_failure = Some(reported_failure(event, index, event_id));
    }
}

fn reported_failure(event: &StepResultsReported, index: usize, event_id: EventId) -> Failure {
    let result = event.results.get(index);
    let case = event.content.kept().and_then(|content| content.cases.get(index));
    let error = result.and_then(|result| result.error.as_ref());
    Failure {
        event_id,
        step: event.run.step.clone(),
        is_reported: true,
        reported: case.map(|case| case.name.clone()),
        outcome: result.map_or(StepOutcome::Failed, |result| result.outcome),
        kind: error.map(|error| error.kind),
        fingerprint: error.map(|error| error.fingerprint.clone()),
        message: case.map(|case| excerpt(&case.message)),
    }
}

fn service_stopped(view: &mut ExecutionView, event: &ServiceStopped, event_id: EventId) {
    let went_wrong = match event.end {
        ServiceEnd::NotReady | ServiceEnd::NotStarted => true,
        ServiceEnd::Stopped | ServiceEnd::Exited | ServiceEnd::WorkerLost => false,
    };
    if went_wrong && view.first_failure.is_none() {
        view.first_failure = Some(Failure {
            event_id,
            step: event.service.clone(),
            is_reported: false,
            reported: None,
            outcome: StepOutcome::Error,
            kind: None,
            fingerprint: None,
            message: event.content.kept().map(|content| excerpt(&content.message)),
        });
    }
}

/// An attempt is over. The tally of the verdict counts: it is what was decided on.
fn conclude(view: &mut ExecutionView, steps: Option<&OutcomeTally>, duration_ms: u64, at: Timestamp) {
    if let Some(steps) = steps {
        view.steps.outcomes.clone_from(steps);
        view.duration_ms = Some(duration_ms);
        view.total_duration_ms = view.total_duration_ms.saturating_add(duration_ms);
    }
    view.steps.current = None;
    view.waits_for_verdict = false;
    if view.is_final {
        view.finished_at = Some(at);
        view.not_before = None;
    }
}

/// Takes erased text from the view. Where the event was read after its erasure there was none to take, so that an
/// incremental fold and a replay give the same view.
fn erase(view: &mut ExecutionView, event: &DataErased) {
    view.erasures += 1;
    if view.text_of.request == Some(event.event_id) {
        view.name = None;
        view.source = None;
    }
    if view.text_of.start == Some(event.event_id) {
        view.host = None;
    }
    match &mut view.first_failure {
        Some(failure) if failure.event_id == event.event_id => {
            failure.message = None;
            failure.reported = None;
        }
        Some(_) | None => {}
    }
}

fn take_back(from: &mut OutcomeTally, tally: &OutcomeTally) {
    for (outcome, count) in tally {
        let left = from.get(outcome).copied().unwrap_or(0).saturating_sub(*count);
        if left == 0 {
            from.remove(outcome);
        } else {
            from.insert(*outcome, left);
        }
    }
}
