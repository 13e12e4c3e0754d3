//! The daily bucket: what one day said of one step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::event::StepErrorFacts;
use testledger_schemas::{ExecutionId, StepKey, Timestamp};

use super::day::Day;
use super::rules::Rule;
use super::sample::{Judgement, Sample, StepLabel};
use super::sketch::DurationSketch;

/// The rule that says what one run is: all samples of a step in one execution, attempts among them; its last sample
/// decides. PASSED is a pass; FAILED, ERROR and TIMEOUT are failures, unless the infrastructure was lost; all else says
/// nothing.
pub const RUNS: Rule = Rule { name: "runs", version: 1 };

/// How many runs a bucket lists; older ones are only counted.
pub const MAX_LISTED_RUNS: usize = 200;

/// How often what happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Runs that passed or failed.
    pub runs: u64,
    /// Those that failed in the end.
    pub failures: u64,
    /// Those that failed and then passed, at the same revision: an execution tests one.
    pub passed_on_retry: u64,
    /// Those that both passed and failed, in whatever order.
    pub mixed: u64,
    /// How often a run ended otherwise than the one before it.
    pub transitions: u64,
}

/// One run of a step: what one execution said of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StepRunRecord {
    /// The execution of the case.
    pub execution_id: ExecutionId,
    /// The suite execution, or the case's own where there is none.
    pub root_id: ExecutionId,
    /// The position of its first sample.
    pub position: u64,
    /// When that was recorded.
    pub at: Timestamp,
    /// The tested commit; none where it is not known, or the working tree had changes of its own.
    pub revision: Option<String>,
    /// How many samples passed.
    pub passes: u64,
    /// How many failed.
    pub failures: u64,
    /// How often a sample said otherwise than the one before it.
    pub flips: u64,
    /// Whether the first sample passed.
    pub began_passed: bool,
    /// Whether the last sample passed: how the run ended.
    pub passed: bool,
    /// What went wrong first.
    pub error: Option<StepErrorFacts>,
}

/// What one day said of one step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// The step.
    pub step_key: StepKey,
    /// The day.
    pub day: Day,
    /// Which step, for people.
    pub label: StepLabel,
    /// All runs of the day, also those in which nearly everything failed.
    pub counts: Counts,
    /// The runs, in order; the latest [`MAX_LISTED_RUNS`].
    pub runs: Vec<StepRunRecord>,
    /// Those that are not listed any more.
    pub older: Counts,
    /// Samples that were lost with the infrastructure.
    pub lost: u64,
    /// Samples that were cancelled, skipped or blocked.
    pub not_judged: u64,
    /// How long those that passed took: failures end early, or at a timeout.
    pub durations: DurationSketch,
    /// The position of the last sample.
    pub last_position: u64,
}

impl Counts {
    /// What these runs, in order, add up to.
    #[must_use]
    pub fn of(runs: &[StepRunRecord]) -> Self {
        let count = |is: &dyn Fn(&StepRunRecord) -> bool| runs.iter().filter(|run| is(run)).count() as u64;
        Self {
            runs: runs.len() as u64,
            failures: count(&|run| !run.passed),
            passed_on_retry: count(&|run| run.passed && run.failures > 0),
            mixed: count(&|run| run.is_mixed()),
            transitions: runs.windows(2).filter(|two| two[0].passed != two[1].passed).count() as u64,
        }
    }

    /// Both together; not the transition from the one to the other.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.failures += other.failures;
        self.passed_on_retry += other.passed_on_retry;
        self.mixed += other.mixed;
        self.transitions += other.transitions;
    }
}

impl StepRunRecord {
    /// Whether the step both passed and failed.
    #[must_use]
    pub fn is_mixed(&self) -> bool {
        self.passes > 0 && self.failures > 0
    }

    fn first(sample: &Sample, position: u64, passed: bool) -> Self {
        let origin = &sample.origin;
        Self {
            execution_id: origin.execution_id,
            root_id: origin.root_id,
            position,
            at: origin.at,
            revision: origin.revision.clone(),
            passes: u64::from(passed),
            failures: u64::from(!passed),
            flips: 0,
            began_passed: passed,
            passed,
            error: None,
        }
    }

    /// One more sample.
    fn sample(&mut self, passed: bool) {
        self.passes += u64::from(passed);
        self.failures += u64::from(!passed);
        self.flips += u64::from(passed != self.passed);
        self.passed = passed;
    }

    /// Goes on with what a later day says of the same run.
    pub(super) fn go_on(&mut self, later: &Self) {
        self.passes += later.passes;
        self.failures += later.failures;
        self.flips += later.flips + u64::from(self.passed != later.began_passed);
        self.passed = later.passed;
        self.error = self.error.take().or_else(|| later.error.clone());
    }
}

impl Bucket {
    pub(super) fn initial(step_key: StepKey, day: Day) -> Self {
        Self {
            step_key,
            day,
            label: StepLabel::default(),
            counts: Counts::default(),
            runs: vec![],
            older: Counts::default(),
            lost: 0,
            not_judged: 0,
            durations: DurationSketch::default(),
            last_position: 0,
        }
    }

    /// Takes in a sample.
    pub(super) fn take(&mut self, sample: &Sample, position: u64) {
        self.label.clone_from(&sample.origin.label);
        self.label.named_by = sample.named_by;
        self.last_position = position;
        match sample.judgement {
            Judgement::Passed => {
                self.durations.add(sample.duration_ms);
                self.judge(sample, position, true);
            }
            Judgement::Failed => self.judge(sample, position, false),
            Judgement::Lost => self.lost += 1,
            Judgement::NotJudged => self.not_judged += 1,
        }
    }

    fn judge(&mut self, sample: &Sample, position: u64, passed: bool) {
        // A tool that got both results before it settled has tried the other one first.
        if sample.is_flaky_by_tool {
            self.record(sample, position, !passed);
        }
        self.record(sample, position, passed);
        self.counts = Counts::of(&self.runs);
        self.counts.add(&self.older);
    }

    fn record(&mut self, sample: &Sample, position: u64, passed: bool) {
        let known = self.runs.iter().rposition(|run| run.execution_id == sample.origin.execution_id);
        let at = match known {
            Some(at) => {
                self.runs[at].sample(passed);
                at
            }
            None => {
                self.runs.push(StepRunRecord::first(sample, position, passed));
                self.make_room();
                self.runs.len() - 1
            }
        };
        let run = &mut self.runs[at];
        run.error = run.error.take().or_else(|| sample.error.clone());
    }

    /// The oldest run is only counted from now on, together with the transition to the one after it.
    fn make_room(&mut self) {
        if self.runs.len() > MAX_LISTED_RUNS {
            let listed = Counts::of(&self.runs);
            self.runs.remove(0);
            let left = Counts::of(&self.runs);
            self.older.add(&listed.without(&left));
        }
    }
}

impl Counts {
    fn without(&self, part: &Self) -> Self {
        Self {
            runs: self.runs.saturating_sub(part.runs),
            failures: self.failures.saturating_sub(part.failures),
            passed_on_retry: self.passed_on_retry.saturating_sub(part.passed_on_retry),
            mixed: self.mixed.saturating_sub(part.mixed),
            transitions: self.transitions.saturating_sub(part.transitions),
        }
    }
}
