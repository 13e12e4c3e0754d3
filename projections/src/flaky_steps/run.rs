//! What the fold has to know of an execution while it runs: which step is open, which revision is tested, how much failed.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::event::{
    ExecutionKind, ExecutionRequested, FailureReason, OutcomeTally, ReportedResult, StepFinished, StepResultsReported,
    StepRun, StepStarted,
};
use testledger_schemas::{ExecutionId, StepKey};

use super::guard::{Judged, RunTally};
use super::sample::{RowRef, Sample, SampleOrigin, StepLabel, judge};
use crate::cut;
use crate::projection::Recorded;

/// How many steps are remembered as begun and not ended. A lawful history has one at a time.
const MAX_OPEN_STEPS: usize = 16;
/// The word for a test that the tool itself tried again, with both results.
const FLAKY: &str = "flaky";

/// What the fold has to know of an execution.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunContext {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The suite execution this belongs to.
    pub parent_id: Option<ExecutionId>,
    /// What it is a run of.
    pub kind: ExecutionKind,
    /// The suite's id.
    pub suite: String,
    /// The case's id; empty for a suite.
    pub case: String,
    /// The cell of the case's matrix.
    pub matrix: String,
    /// The tested commit; none where it is not known, or the working tree had changes of its own.
    pub revision: Option<String>,
    /// The steps that have begun and not ended.
    pub open_steps: Vec<OpenStepKey>,
    /// Results that tools reported in the latest attempt, by outcome.
    pub reported: OutcomeTally,
    /// What the report of the latest step said, so that it is taken back when that step is tried again.
    pub last_report: Option<(String, OutcomeTally)>,
    /// What came of the cases that are over; of a case, of itself.
    pub tally: RunTally,
}

/// A step that has begun and not ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OpenStepKey {
    /// Which run.
    pub run: StepRun,
    /// The step's identity over all runs.
    pub step_key: StepKey,
}

impl RunContext {
    pub(super) fn initial(execution_id: ExecutionId) -> Self {
        Self {
            execution_id,
            parent_id: None,
            kind: ExecutionKind::Case,
            suite: String::new(),
            case: String::new(),
            matrix: String::new(),
            revision: None,
            open_steps: vec![],
            reported: OutcomeTally::new(),
            last_report: None,
            tally: RunTally::default(),
        }
    }

    pub(super) fn request(&mut self, event: &ExecutionRequested) {
        self.parent_id = event.parent_id;
        self.kind = event.kind;
        self.suite = cut::id(&event.suite);
        self.case = event.case.as_deref().map(cut::id).unwrap_or_default();
        self.matrix = cut::id(&event.matrix);
        self.revision = event.revision.as_ref().filter(|it| !it.dirty).map(|it| cut::word(&it.commit));
    }

    pub(super) fn begin_attempt(&mut self) {
        self.open_steps.clear();
        self.reported.clear();
        self.last_report = None;
    }

    /// A step that is tried again takes back what the report of its run before said.
    pub(super) fn step_started(&mut self, event: &StepStarted) {
        let run = bounded(&event.run);
        if let Some((_, tally)) = self.last_report.take().filter(|(step, _)| *step == run.step) {
            for (outcome, count) in tally {
                let left = self.reported.entry(outcome).or_default();
                *left = left.saturating_sub(count);
            }
        }
        if self.open_steps.len() == MAX_OPEN_STEPS {
            self.open_steps.remove(0);
        }
        self.open_steps.push(OpenStepKey { run, step_key: event.step_key });
    }

    /// The step that ended, and what its run says of it.
    pub(super) fn step_finished(&mut self, event: &StepFinished, recorded: &Recorded) -> (StepKey, Sample) {
        let run = bounded(&event.run);
        let open = self.open_steps.iter().rposition(|open| open.run == run);
        let step_key = match open {
            Some(at) => self.open_steps.remove(at).step_key,
            // No lawful history has an end without a begin; the identity follows from the names all the same.
            None => StepKey::derive(&self.suite, &self.case, &self.matrix, &event.run.step),
        };
        let sample = Sample {
            origin: Arc::new(self.origin(&event.run, recorded)),
            named_by: None,
            judgement: judge(event.outcome, event.error.as_ref()),
            is_flaky_by_tool: false,
            duration_ms: event.duration_ms,
            error: event.error.as_ref().map(cut::error),
        };
        (step_key, sample)
    }

    /// The tests whose results a tool reported, and what they say.
    pub(super) fn results_reported(
        &mut self,
        event: &StepResultsReported,
        recorded: &Recorded,
    ) -> Vec<(StepKey, Sample)> {
        let (step, known) = (cut::id(&event.run.step), self.last_report.take());
        let mut tally = known.filter(|(known, _)| *known == step).map(|(_, tally)| tally).unwrap_or_default();
        for result in &event.results {
            *tally.entry(result.outcome).or_default() += 1;
            *self.reported.entry(result.outcome).or_default() += 1;
        }
        self.last_report = Some((step, tally));
        let origin = Arc::new(self.origin(&event.run, recorded));
        let rows = (0..).zip(&event.results);
        rows.map(|(row, result)| (result.step_key, reported(row, result, &origin, recorded))).collect()
    }

    fn origin(&self, run: &StepRun, recorded: &Recorded) -> SampleOrigin {
        SampleOrigin {
            label: StepLabel {
                suite: self.suite.clone(),
                case: self.case.clone(),
                matrix: self.matrix.clone(),
                step: cut::id(&run.step),
                named_by: None,
            },
            execution_id: self.execution_id,
            root_id: self.parent_id.unwrap_or(self.execution_id),
            revision: self.revision.clone(),
            at: recorded.recorded_at,
        }
    }

    /// A case is over: what came of its last attempt.
    pub(super) fn conclude(&mut self, verdict: Verdict, steps: &OutcomeTally) -> RunTally {
        let mut judged = Judged::of(steps);
        judged.add(Judged::of(&self.reported));
        self.tally.steps = judged;
        self.tally.cases = match verdict {
            Verdict::Passed => Judged::one(false),
            Verdict::Failed => Judged::one(true),
            Verdict::None => Judged::default(),
        };
        self.tally
    }
}

/// What the end of a case says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It was stopped, or its workers were lost.
    None,
}

impl Verdict {
    /// What a failure for this reason says.
    pub(super) fn of(reason: FailureReason) -> Self {
        match reason {
            FailureReason::Step | FailureReason::Case | FailureReason::Setup => Self::Failed,
            FailureReason::Infrastructure => Self::None,
        }
    }
}

/// The run, with an id of its step that is cut if it is longer than any lawful one.
fn bounded(run: &StepRun) -> StepRun {
    StepRun { step: cut::id(&run.step), ..*run }
}

fn reported(row: u32, result: &ReportedResult, origin: &Arc<SampleOrigin>, recorded: &Recorded) -> Sample {
    Sample {
        origin: Arc::clone(origin),
        named_by: Some(RowRef { commit: recorded.commit, event_id: recorded.event_id, row }),
        judgement: judge(result.outcome, result.error.as_ref()),
        is_flaky_by_tool: result.detail.as_deref() == Some(FLAKY),
        duration_ms: result.duration_ms,
        error: result.error.as_ref().map(cut::error),
    }
}
