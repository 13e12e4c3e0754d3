//! How each event changes what is known of its execution, and what the buckets have to hear of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::Event;
use testledger_schemas::event::{ExecutionKind, OutcomeTally};

use super::bucket::Bucket;
use super::day::Day;
use super::guard::{MassFailure, MassFailures, RunTally};
use super::key::FlakyKey;
use super::run::{RunContext, Verdict};
use super::sample::Sample;
use crate::projection::Recorded;

/// About the most that a document has beside its list.
const DOCUMENT_BYTES: usize = 2 << 10;
/// About the most that an entry of its list has.
const RUN_BYTES: usize = 512;

/// One document of the statistics.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlakyView {
    /// What one day said of one step.
    Bucket(Box<Bucket>),
    /// What the fold has to know of an execution while it runs.
    Run(Box<RunContext>),
    /// Runs in which nearly everything failed.
    MassFailures(MassFailures),
}

/// What the documents tell each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FlakyEcho {
    /// To a bucket: one more sample.
    Sample(Box<Sample>),
    /// To a suite's run: what came of a case.
    CaseOver(RunTally),
    /// To a register: a run in which nearly everything failed.
    MassFailure(MassFailure),
}

/// What a document has to tell others.
pub(super) type Echoes = Vec<(FlakyKey, FlakyEcho)>;

impl FlakyView {
    pub(super) fn initial(key: &FlakyKey) -> Self {
        match *key {
            FlakyKey::Bucket(step_key, day) => Self::Bucket(Box::new(Bucket::initial(step_key, day))),
            FlakyKey::Run(execution_id) => Self::Run(Box::new(RunContext::initial(execution_id))),
            FlakyKey::MassFailures(day) => Self::MassFailures(MassFailures { day, runs: vec![], count: 0 }),
        }
    }

    /// About how many bytes it has at the most.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Bucket(bucket) => DOCUMENT_BYTES + bucket.runs.len() * RUN_BYTES,
            Self::Run(run) => DOCUMENT_BYTES + run.open_steps.len() * RUN_BYTES,
            Self::MassFailures(register) => DOCUMENT_BYTES + register.runs.len() * RUN_BYTES,
        }
    }

    /// The bucket, if this is one.
    #[must_use]
    pub fn bucket(&self) -> Option<&Bucket> {
        match self {
            Self::Bucket(bucket) => Some(bucket),
            Self::Run(_) | Self::MassFailures(_) => None,
        }
    }

    /// The register, if this is one.
    #[must_use]
    pub fn mass_failures(&self) -> Option<&MassFailures> {
        match self {
            Self::MassFailures(register) => Some(register),
            Self::Bucket(_) | Self::Run(_) => None,
        }
    }

    /// Folds what another document told.
    pub(super) fn hear(&mut self, echo: &FlakyEcho, position: u64) {
        match (self, echo) {
            (Self::Bucket(bucket), FlakyEcho::Sample(sample)) => bucket.take(sample, position),
            (Self::Run(run), FlakyEcho::CaseOver(tally)) => run.tally.add(tally),
            (Self::MassFailures(register), FlakyEcho::MassFailure(failure)) => register.take(failure),
            (Self::Bucket(_) | Self::Run(_) | Self::MassFailures(_), _) => {}
        }
    }
}

/// Folds one event of the execution. No wildcard arm: a new event must say here what it means for statistics.
pub(super) fn apply(run: &mut RunContext, recorded: &Recorded) -> Echoes {
    match &recorded.event {
        Event::ExecutionRequested(event) => run.request(event),
        Event::ExecutionStarted(_) => run.begin_attempt(),
        Event::StepStarted(event) => run.step_started(event),
        Event::StepFinished(event) => return to_buckets([run.step_finished(event, recorded)], recorded),
        Event::StepResultsReported(event) => return to_buckets(run.results_reported(event, recorded), recorded),
        Event::ExecutionPassed(event) => return over(run, Verdict::Passed, &event.steps, recorded),
        Event::ExecutionFailed(event) if !event.will_retry => {
            return over(run, Verdict::of(event.reason), &event.steps, recorded);
        }
        Event::ExecutionTimedOut(event) if !event.will_retry => {
            return over(run, Verdict::Failed, &event.steps, recorded);
        }
        Event::ExecutionCancelled(event) => return over(run, Verdict::None, &event.steps, recorded),
        Event::ExecutionAborted(_) => return over(run, Verdict::None, &OutcomeTally::new(), recorded),
        Event::ExecutionReady(_)
        | Event::ExecutionClaimed(_)
        | Event::ClaimReleased(_)
        | Event::ServiceStarted(_)
        | Event::ServiceStopped(_)
        | Event::HookFinished(_)
        | Event::VerdictRequested(_)
        | Event::VerdictSubmitted(_)
        | Event::ArtifactAttached(_)
        | Event::CancellationRequested(_)
        | Event::ExecutionFailed(_)
        | Event::ExecutionTimedOut(_)
        | Event::ExecutionRetryScheduled(_)
        | Event::ExecutionInterrupted(_)
        | Event::ExecutionRecovered(_)
        | Event::DataErased(_)
        | Event::WorkerStarted(_)
        | Event::WorkerStopped(_) => {}
    }
    vec![]
}

fn to_buckets(samples: impl IntoIterator<Item = (testledger_schemas::StepKey, Sample)>, recorded: &Recorded) -> Echoes {
    let day = Day::of(recorded.recorded_at);
    let echo = |(step_key, sample)| (FlakyKey::Bucket(step_key, day), FlakyEcho::Sample(Box::new(sample)));
    samples.into_iter().map(echo).collect()
}

/// An execution is over: a case tells its suite what came of it; a run of its own is looked at by the guard.
fn over(run: &mut RunContext, verdict: Verdict, steps: &OutcomeTally, recorded: &Recorded) -> Echoes {
    let is_suite = run.kind == ExecutionKind::Suite;
    let tally = if is_suite { run.tally } else { run.conclude(verdict, steps) };
    if let Some(parent) = run.parent_id {
        return vec![(FlakyKey::Run(parent), FlakyEcho::CaseOver(tally))];
    }
    if !tally.is_mass_failure() {
        return vec![];
    }
    let (root_id, suite, at) = (run.execution_id, run.suite.clone(), recorded.recorded_at);
    let failure = MassFailure { root_id, suite, at, tally };
    vec![(FlakyKey::MassFailures(Day::of(at)), FlakyEcho::MassFailure(failure))]
}
