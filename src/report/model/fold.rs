//! The fold: one event after the other. What does not fit is passed over: the decider has judged it already.

use testledger_schemas::event::{
    ExecutionKind, ExecutionRequested, ReportedCase, StepFinished, StepResultsReported, StepRun, StepStarted,
};
use testledger_schemas::{Event, ExecutionId, ExecutionStatus, StepOutcome, Timestamp};

use super::{AttemptReport, EndReason, ExecutionReport, MAX_KEPT_EXCERPTS, ReportedEntry, RunReport, StepReport};

/// What stands for a text that was erased.
const ERASED: &str = "(erased)";

impl RunReport {
    /// Applies an event of this execution. The events of one execution must come in their order; those of different
    /// executions may come in any.
    pub fn apply(&mut self, execution: ExecutionId, recorded_at: Timestamp, event: &Event) {
        if let Event::ExecutionRequested(requested) = event {
            self.request(execution, recorded_at, requested);
            return;
        }
        let Some(place) = self.places.get(&execution) else { return };
        let Some(report) = self.executions.get_mut(*place) else { return };
        match event {
            Event::ExecutionStarted(started) => report.start(started.attempt),
            Event::StepStarted(started) => report.start_step(started),
            Event::StepFinished(finished) => {
                let keep = self.kept_excerpts < MAX_KEPT_EXCERPTS;
                self.kept_excerpts += usize::from(report.finish_step(finished, keep));
            }
            Event::StepResultsReported(reported) => report.add_reported(reported),
            Event::ExecutionPassed(end) => report.end(ExecutionStatus::Passed, end.duration_ms, false, None),
            Event::ExecutionFailed(end) => {
                let reason = EndReason::Failure(end.reason);
                report.end(ExecutionStatus::Failed, end.duration_ms, end.will_retry, Some(reason));
            }
            Event::ExecutionTimedOut(end) => {
                report.end(ExecutionStatus::Timeout, end.duration_ms, end.will_retry, None);
            }
            Event::ExecutionRetryScheduled(_) => report.status = ExecutionStatus::Retrying,
            Event::ExecutionCancelled(end) => {
                let reason = EndReason::Cancel(end.reason);
                report.end(ExecutionStatus::Cancelled, end.duration_ms, false, Some(reason));
            }
            Event::ExecutionAborted(end) => report.abort(EndReason::Cancel(end.reason)),
            Event::ExecutionInterrupted(interrupted) => report.interruptions = interrupted.interruption,
            Event::ExecutionRequested(_)
            | Event::ExecutionReady(_)
            | Event::ExecutionClaimed(_)
            | Event::ClaimReleased(_)
            | Event::ExecutionRecovered(_)
            | Event::ServiceStarted(_)
            | Event::ServiceStopped(_)
            | Event::HookFinished(_)
            | Event::VerdictRequested(_)
            | Event::VerdictSubmitted(_)
            | Event::ArtifactAttached(_)
            | Event::CancellationRequested(_)
            | Event::DataErased(_)
            | Event::WorkerStarted(_)
            | Event::WorkerStopped(_) => {}
        }
    }

    fn request(&mut self, id: ExecutionId, recorded_at: Timestamp, requested: &ExecutionRequested) {
        if self.places.contains_key(&id) {
            return;
        }
        self.places.insert(id, self.executions.len());
        self.executions.push(ExecutionReport {
            id,
            kind: requested.kind,
            parent: requested.parent_id,
            suite: requested.suite.clone(),
            label: label(requested),
            steps: requested.steps,
            cases: requested.cases,
            requested_at: recorded_at,
            status: ExecutionStatus::Pending,
            will_retry: false,
            reason: None,
            attempts: vec![],
            interruptions: 0,
        });
    }
}

/// A case within a suite by id and cell; anything else by its name.
fn label(requested: &ExecutionRequested) -> String {
    let name = requested.content.kept().map_or(ERASED, |content| content.name.as_str());
    match (requested.kind, &requested.case) {
        (ExecutionKind::Suite, _) | (ExecutionKind::Case, None) => name.to_owned(),
        (ExecutionKind::Case, Some(_)) if requested.parent_id.is_none() && !name.is_empty() => name.to_owned(),
        (ExecutionKind::Case, Some(case)) if requested.matrix.is_empty() => case.clone(),
        (ExecutionKind::Case, Some(case)) => format!("{case}[{}]", requested.matrix),
    }
}

impl ExecutionReport {
    fn start(&mut self, number: u32) {
        self.status = ExecutionStatus::Running;
        self.will_retry = false;
        self.reason = None;
        self.attempts.push(AttemptReport { number, status: ExecutionStatus::Running, duration_ms: 0, steps: vec![] });
    }

    fn end(&mut self, status: ExecutionStatus, duration_ms: u64, will_retry: bool, reason: Option<EndReason>) {
        self.status = status;
        self.will_retry = will_retry;
        self.reason = reason;
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.status = status;
            attempt.duration_ms = duration_ms;
        }
    }

    fn abort(&mut self, reason: EndReason) {
        self.status = ExecutionStatus::Aborted;
        self.will_retry = false;
        self.reason = Some(reason);
    }

    fn start_step(&mut self, started: &StepStarted) {
        let content = started.content.kept();
        let step = StepReport {
            run: started.run.clone(),
            name: content.map_or(ERASED, |content| content.name.as_str()).to_owned(),
            action: started.action,
            inputs: content.map_or(vec![], |content| content.inputs.clone()),
            outcome: None,
            will_retry: false,
            duration_ms: 0,
            exit_code: None,
            signal: None,
            error: None,
            message: String::new(),
            expectations: vec![],
            excerpts: vec![],
            reported: vec![],
        };
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.steps.push(step);
        }
    }

    /// The run of a step; looked for from the end, where it nearly always is.
    fn step(&mut self, run: &StepRun) -> Option<&mut StepReport> {
        let attempt = self.attempts.iter_mut().rev().find(|attempt| attempt.number == run.attempt)?;
        attempt.steps.iter_mut().rev().find(|step| step.run == *run)
    }

    /// Says whether output excerpts were kept.
    fn finish_step(&mut self, finished: &StepFinished, keep_excerpts: bool) -> bool {
        let Some(step) = self.step(&finished.run) else { return false };
        step.outcome = Some(finished.outcome);
        step.will_retry = finished.will_retry;
        step.duration_ms = finished.duration_ms;
        step.exit_code = finished.exit_code;
        step.signal = finished.signal;
        step.error.clone_from(&finished.error);
        let Some(content) = finished.content.kept() else {
            step.message = ERASED.to_owned();
            return false;
        };
        step.message.clone_from(&content.message);
        step.expectations.clone_from(&content.expectations);
        let is_kept = keep_excerpts && !matches!(finished.outcome, StepOutcome::Passed | StepOutcome::Skipped);
        if is_kept {
            step.excerpts.clone_from(&content.excerpts);
        }
        is_kept
    }

    fn add_reported(&mut self, reported: &StepResultsReported) {
        let Some(step) = self.step(&reported.run) else { return };
        let cases = reported.content.kept().map_or(&[][..], |content| &content.cases);
        for (at, result) in reported.results.iter().enumerate() {
            let erased = || ReportedCase { name: ERASED.to_owned(), message: String::new() };
            let case = cases.get(at).cloned().unwrap_or_else(erased);
            step.reported.push(ReportedEntry { result: result.clone(), case });
        }
    }
}
