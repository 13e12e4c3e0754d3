//! `executions show`: one execution with its attempts, their steps and results, and a suite's cases.

use schemars::JsonSchema;
use serde::Serialize;
use testledger_projections::executions::ExecutionView;
use testledger_schemas::commit::Commit;
use testledger_schemas::event::{
    ErrorKind, OutcomeTally, OutputExcerpt, ResourceUsage, ServiceEnd, ServiceStopped, StepFinished,
    StepResultsReported, StepStarted,
};
use testledger_schemas::ids::ExecutionId;
use testledger_schemas::{Erasable, Event, ExecutionStatus, Hash, StepOutcome, Timestamp};

use crate::views::{ViewError, Views};

/// How many commits are read at once.
const AT_ONCE: usize = 256;
/// How many of a suite's cases are shown.
pub const MAX_CHILDREN: usize = 10_000;
/// How many reported results that did not pass are shown of each step.
pub const MAX_REPORTED: usize = 100;

/// One execution in full: the output of `executions show --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ExecutionShow {
    /// What it looks like now.
    pub execution: ExecutionView,
    /// Its attempts, the first one first.
    pub attempts: Vec<AttemptShow>,
    /// The cases of a suite, in the order of their requests.
    pub children: Vec<ChildShow>,
}

/// One attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct AttemptShow {
    /// 1 for the first.
    pub attempt: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended; none while it runs.
    pub status: Option<ExecutionStatus>,
    /// Its running time.
    pub duration_ms: Option<u64>,
    /// Where it ran; none where that was erased.
    pub host: Option<String>,
    /// The runs of its steps, in order; a step that was tried again is there more than once.
    pub steps: Vec<StepShow>,
    /// Services that ended during it.
    pub services: Vec<ServiceShow>,
    /// How often its worker was lost.
    pub interruptions: u32,
}

/// One run of a step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct StepShow {
    /// The step's id.
    pub step: String,
    /// The attempt of the step, from 1.
    pub step_attempt: u32,
    /// The name shown to people; none where it was erased.
    pub name: Option<String>,
    /// Command arguments, or method and URL.
    pub inputs: Vec<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// How it ended; none while it runs.
    pub outcome: Option<StepOutcome>,
    /// Whether another attempt of the step followed.
    pub will_retry: bool,
    /// Its running time.
    pub duration_ms: Option<u64>,
    /// The command's exit code.
    pub exit_code: Option<i64>,
    /// The signal that ended the command.
    pub signal: Option<i64>,
    /// The status of the HTTP response.
    pub http_status: Option<u32>,
    /// What kind of thing went wrong.
    pub error: Option<ErrorKind>,
    /// What went wrong, in words; none where it was erased.
    pub message: Option<String>,
    /// What was checked and did not hold.
    pub expectations: Vec<String>,
    /// What was printed, as far as the event holds it.
    pub output: Vec<OutputExcerpt>,
    /// Artifacts with the rest.
    pub artifacts: Vec<Hash>,
    /// What it cost.
    pub usage: Option<ResourceUsage>,
    /// Whether a descendant outlived the command.
    pub leaked: bool,
    /// Results that a tool reported, by outcome.
    pub reported: OutcomeTally,
    /// Those of them that did not pass, at most [`MAX_REPORTED`].
    pub reported_failures: Vec<ReportedShow>,
}

/// A reported result that did not pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ReportedShow {
    /// Its name; none where it was erased.
    pub name: Option<String>,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What the tool says of it; none where it was erased.
    pub message: Option<String>,
}

/// A service that ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ServiceShow {
    /// Its id.
    pub service: String,
    /// Why.
    pub end: ServiceEnd,
    /// Its exit code, where it had one.
    pub exit_code: Option<i64>,
    /// Why it did not become ready; none where it was erased.
    pub message: Option<String>,
}

/// A case of a suite.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ChildShow {
    /// Its execution.
    pub id: ExecutionId,
    /// What it is called.
    pub label: String,
    /// Its status; ask `is_final`, never this alone.
    pub status: ExecutionStatus,
    /// Whether nothing can follow.
    pub is_final: bool,
    /// The attempt.
    pub attempt: u32,
    /// The running time of all its attempts.
    pub duration_ms: u64,
    /// The first thing that went wrong.
    pub message: Option<String>,
}

/// Collects all there is to show of an execution.
///
/// # Errors
/// [`ViewError`].
pub async fn show(views: &Views, execution: ExecutionView) -> Result<ExecutionShow, ViewError> {
    collect(views, execution, u64::MAX).await
}

/// Collects what there was to show of an execution when its view was as it is given: nothing later of its stream.
///
/// # Errors
/// [`ViewError`].
pub async fn show_as_of(views: &Views, execution: ExecutionView) -> Result<ExecutionShow, ViewError> {
    let last_version = execution.last_version;
    collect(views, execution, last_version).await
}

async fn collect(views: &Views, execution: ExecutionView, last_version: u64) -> Result<ExecutionShow, ViewError> {
    let (mut attempts, mut after) = (Attempts { last_version, done: vec![] }, 0);
    loop {
        let commits = views.log().read_stream(execution.id.into(), after, AT_ONCE).await?;
        let Some(last) = commits.last() else { break };
        after = last.id.number;
        commits.iter().for_each(|commit| attempts.fold(commit));
    }
    let children = views.children(execution.id, MAX_CHILDREN).await?;
    let children = children.into_iter().map(child).collect();
    Ok(ExecutionShow { execution, attempts: attempts.done, children })
}

fn child(view: ExecutionView) -> ChildShow {
    ChildShow {
        id: view.id,
        label: view.label,
        status: view.status,
        is_final: view.is_final,
        attempt: view.attempt,
        duration_ms: view.total_duration_ms,
        message: view.first_failure.and_then(|failure| failure.message),
    }
}

/// Folds a stream into its attempts.
struct Attempts {
    /// Later events do not count.
    last_version: u64,
    done: Vec<AttemptShow>,
}

impl Attempts {
    fn fold(&mut self, commit: &Commit) {
        // What cannot be read is not shown here; the view that leads here waits before it and says so.
        let versions = commit.first_version..=self.last_version;
        let events = versions.zip(&commit.events).map(|(_, event)| event);
        for event in events.filter_map(|event| event.read().ok()) {
            self.event(event, commit.recorded_at);
        }
    }

    fn event(&mut self, event: Event, at: Timestamp) {
        match event {
            Event::ExecutionStarted(it) => self.done.push(AttemptShow {
                attempt: it.attempt,
                started_at: at,
                status: None,
                duration_ms: None,
                host: it.content.kept().map(|content| content.host.clone()),
                steps: vec![],
                services: vec![],
                interruptions: 0,
            }),
            Event::StepStarted(it) => self.last(|attempt| attempt.steps.push(started(it, at))),
            Event::StepFinished(it) => self.step(&it.run.clone().into(), |step| finished(step, it)),
            Event::StepResultsReported(it) => self.step(&it.run.clone().into(), |step| reported(step, &it)),
            Event::ServiceStopped(it) => self.last(|attempt| attempt.services.push(service(it))),
            Event::ExecutionInterrupted(_) => self.last(|attempt| attempt.interruptions += 1),
            Event::ExecutionPassed(it) => self.end(ExecutionStatus::Passed, it.duration_ms),
            Event::ExecutionFailed(it) => self.end(ExecutionStatus::Failed, it.duration_ms),
            Event::ExecutionTimedOut(it) => self.end(ExecutionStatus::Timeout, it.duration_ms),
            Event::ExecutionCancelled(it) => self.end(ExecutionStatus::Cancelled, it.duration_ms),
            Event::ExecutionRequested(_)
            | Event::ExecutionReady(_)
            | Event::ExecutionClaimed(_)
            | Event::ClaimReleased(_)
            | Event::ServiceStarted(_)
            | Event::HookFinished(_)
            | Event::VerdictRequested(_)
            | Event::VerdictSubmitted(_)
            | Event::ArtifactAttached(_)
            | Event::CancellationRequested(_)
            | Event::ExecutionRetryScheduled(_)
            | Event::ExecutionAborted(_)
            | Event::ExecutionRecovered(_)
            | Event::DataErased(_)
            | Event::WorkerStarted(_)
            | Event::WorkerStopped(_) => {}
        }
    }

    fn last(&mut self, change: impl FnOnce(&mut AttemptShow)) {
        if let Some(attempt) = self.done.last_mut() {
            change(attempt);
        }
    }

    fn end(&mut self, status: ExecutionStatus, duration_ms: u64) {
        self.last(|attempt| {
            attempt.status = Some(status);
            attempt.duration_ms = Some(duration_ms);
        });
    }

    /// Changes the latest run of a step that fits; one that never began (skipped, interrupted before) is added.
    fn step(&mut self, run: &RunKey, change: impl FnOnce(&mut StepShow)) {
        self.last(|attempt| {
            let found = attempt.steps.iter().rposition(|it| it.step == run.step && it.step_attempt == run.step_attempt);
            let index = found.unwrap_or_else(|| {
                attempt.steps.push(StepShow::empty(run.step.clone(), run.step_attempt));
                attempt.steps.len() - 1
            });
            attempt.steps.get_mut(index).map(change).unwrap_or_default();
        });
    }
}

/// Which run of a step within the latest attempt.
struct RunKey {
    step: String,
    step_attempt: u32,
}

impl From<testledger_schemas::event::StepRun> for RunKey {
    fn from(run: testledger_schemas::event::StepRun) -> Self {
        Self { step: run.step, step_attempt: run.step_attempt }
    }
}

impl StepShow {
    fn empty(step: String, step_attempt: u32) -> Self {
        Self {
            step,
            step_attempt,
            name: None,
            inputs: vec![],
            started_at: None,
            outcome: None,
            will_retry: false,
            duration_ms: None,
            exit_code: None,
            signal: None,
            http_status: None,
            error: None,
            message: None,
            expectations: vec![],
            output: vec![],
            artifacts: vec![],
            usage: None,
            leaked: false,
            reported: OutcomeTally::new(),
            reported_failures: vec![],
        }
    }
}

fn started(it: StepStarted, at: Timestamp) -> StepShow {
    let mut step = StepShow::empty(it.run.step, it.run.step_attempt);
    step.started_at = Some(at);
    if let Erasable::Kept(content) = it.content {
        step.name = Some(content.name);
        step.inputs = content.inputs;
    }
    step
}

fn finished(step: &mut StepShow, it: StepFinished) {
    step.outcome = Some(it.outcome);
    step.will_retry = it.will_retry;
    step.duration_ms = Some(it.duration_ms);
    step.exit_code = it.exit_code;
    step.signal = it.signal;
    step.http_status = it.http_status;
    step.error = it.error.map(|error| error.kind);
    step.usage = it.usage;
    step.leaked = it.leaked;
    step.artifacts.extend(it.outputs.iter().filter_map(|output| output.artifact));
    if let Erasable::Kept(content) = it.content {
        step.message = Some(content.message);
        step.expectations = content.expectations;
        step.output = content.excerpts;
    }
}

fn reported(step: &mut StepShow, it: &StepResultsReported) {
    for (index, result) in it.results.iter().enumerate() {
        *step.reported.entry(result.outcome).or_default() += 1;
        if result.outcome.lets_the_case_go_on() || step.reported_failures.len() >= MAX_REPORTED {
            continue;
        }
        let case = it.content.kept().and_then(|content| content.cases.get(index));
        step.reported_failures.push(ReportedShow {
            name: case.map(|case| case.name.clone()),
            outcome: result.outcome,
            message: case.map(|case| case.message.clone()),
        });
    }
}

fn service(it: ServiceStopped) -> ServiceShow {
    let message = it.content.kept().map(|content| content.message.clone());
    ServiceShow { service: it.service, end: it.end, exit_code: it.exit_code, message }
}
