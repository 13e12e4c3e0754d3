//! What a run came to: a pure fold over the events of a root execution and its children.

mod fold;
mod tally;
#[cfg(test)]
mod tests;
pub mod words;

use std::collections::HashMap;

use testledger_schemas::event::{
    ActionKind, CancelReason, ExecutionKind, FailureReason, OutputExcerpt, ReportedCase, ReportedResult,
    StepErrorFacts, StepRun,
};
use testledger_schemas::{ExecutionId, ExecutionStatus, StepOutcome, Timestamp};

/// How many steps that did not pass keep their output excerpts (some 32 KiB each); later ones keep their message only.
pub const MAX_KEPT_EXCERPTS: usize = 1_000;

/// A root execution and its children, as far as their events have been applied.
#[derive(Clone, Debug, Default)]
pub struct RunReport {
    executions: Vec<ExecutionReport>,
    places: HashMap<ExecutionId, usize>,
    kept_excerpts: usize,
}

/// One execution of the run.
#[derive(Clone, Debug)]
pub struct ExecutionReport {
    /// Its id.
    pub id: ExecutionId,
    /// What it is a run of.
    pub kind: ExecutionKind,
    /// The suite execution it belongs to.
    pub parent: Option<ExecutionId>,
    /// The suite's id.
    pub suite: String,
    /// What people call it: the case's id with its matrix cell; of a suite, or a wrapped command, its name.
    pub label: String,
    /// How many steps its case has.
    pub steps: u32,
    /// How many cases its suite has.
    pub cases: u32,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// Its status now.
    pub status: ExecutionStatus,
    /// Whether an attempt that failed or ran out of time is to be followed by another.
    pub will_retry: bool,
    /// Why it ended as it did, where there is a reason to give.
    pub reason: Option<EndReason>,
    /// Its attempts so far. None at its end: it was not run.
    pub attempts: Vec<AttemptReport>,
    /// How often its worker was lost.
    pub interruptions: u32,
}

/// Why an execution did not pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// It failed.
    Failure(FailureReason),
    /// It was cancelled, or never started.
    Cancel(CancelReason),
}

/// One attempt of an execution.
#[derive(Clone, Debug)]
pub struct AttemptReport {
    /// 1 for the first.
    pub number: u32,
    /// How it ended; `RUNNING` until then.
    pub status: ExecutionStatus,
    /// Its running time; 0 until it has ended.
    pub duration_ms: u64,
    /// The runs of its steps, in the order in which they began.
    pub steps: Vec<StepReport>,
}

/// One run of a step.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Which run.
    pub run: StepRun,
    /// The name shown to people.
    pub name: String,
    /// What it does.
    pub action: ActionKind,
    /// The command's arguments, or method and URL.
    pub inputs: Vec<String>,
    /// How it ended; none while it runs.
    pub outcome: Option<StepOutcome>,
    /// Whether another attempt of it follows.
    pub will_retry: bool,
    /// Its running time.
    pub duration_ms: u64,
    /// The command's exit code.
    pub exit_code: Option<i64>,
    /// The signal that ended the command.
    pub signal: Option<i64>,
    /// What kind of thing went wrong.
    pub error: Option<StepErrorFacts>,
    /// What went wrong, in words.
    pub message: String,
    /// What was checked and did not hold, one line each.
    pub expectations: Vec<String>,
    /// What it printed; kept only where it did not pass.
    pub excerpts: Vec<OutputExcerpt>,
    /// The results of its tool's report.
    pub reported: Vec<ReportedEntry>,
}

/// One test case of a tool's report.
#[derive(Clone, Debug)]
pub struct ReportedEntry {
    /// The facts.
    pub result: ReportedResult,
    /// Name and message; empty where they were erased.
    pub case: ReportedCase,
}

impl RunReport {
    /// The execution that everything here belongs to: the first that has no parent.
    #[must_use]
    pub fn root(&self) -> Option<&ExecutionReport> {
        self.executions.iter().find(|execution| execution.parent.is_none())
    }

    /// The executions of cases, in the order in which they were requested.
    pub fn cases(&self) -> impl Iterator<Item = &ExecutionReport> {
        self.executions.iter().filter(|execution| execution.kind == ExecutionKind::Case)
    }

    /// This execution.
    #[must_use]
    pub fn execution(&self, id: ExecutionId) -> Option<&ExecutionReport> {
        self.executions.get(*self.places.get(&id)?)
    }
}

impl ExecutionReport {
    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.status.is_final(self.will_retry)
    }

    /// Whether it was ended before it ever started.
    #[must_use]
    pub fn is_not_run(&self) -> bool {
        self.is_final() && self.attempts.is_empty()
    }

    /// Whether it passed, but not at the first attempt.
    #[must_use]
    pub fn is_passed_on_retry(&self) -> bool {
        self.status == ExecutionStatus::Passed && self.retries().next().is_some()
    }

    /// The last attempt.
    #[must_use]
    pub fn last_attempt(&self) -> Option<&AttemptReport> {
        self.attempts.last()
    }

    /// The running time of all attempts together.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.attempts.iter().map(|attempt| attempt.duration_ms).fold(0, u64::saturating_add)
    }

    /// The last run of each step in the last attempt, in order.
    pub fn final_steps(&self) -> impl Iterator<Item = &StepReport> {
        let steps = self.last_attempt().map_or(&[][..], |attempt| &attempt.steps);
        steps.iter().enumerate().filter(|(at, _)| !is_superseded(steps, *at)).map(|(_, step)| step)
    }

    /// The step that decided that it did not pass: the first of the last attempt that did not do what it should.
    #[must_use]
    pub fn failing_step(&self) -> Option<&StepReport> {
        self.final_steps().find(|step| step.outcome.is_some_and(|outcome| !outcome.lets_the_case_go_on()))
    }

    /// The bad step runs that were not the last word: those of earlier attempts, and those that were tried again within
    /// the last.
    pub fn retries(&self) -> impl Iterator<Item = &StepReport> {
        let last = self.attempts.len();
        self.attempts.iter().enumerate().flat_map(move |(attempt_at, attempt)| {
            let steps = &attempt.steps;
            let is_earlier = attempt_at + 1 < last;
            let is_retried = move |at: usize| is_earlier || is_superseded(steps, at);
            steps.iter().enumerate().filter(move |(at, step)| step.is_bad() && is_retried(*at)).map(|(_, step)| step)
        })
    }
}

/// Whether the same step was run again right after this run: steps run one after the other.
fn is_superseded(steps: &[StepReport], at: usize) -> bool {
    steps.get(at + 1).is_some_and(|next| next.run.step == steps[at].run.step)
}

impl StepReport {
    /// Everything that was kept of its output, stream after stream.
    #[must_use]
    pub fn output(&self) -> String {
        self.excerpts.iter().map(excerpt_text).collect::<Vec<_>>().join("\n")
    }

    /// Whether it ended and did not do what it should. An interrupted run is the machine's fault, not the test's.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.outcome.is_some_and(|outcome| match outcome {
            StepOutcome::Failed | StepOutcome::Error | StepOutcome::Timeout | StepOutcome::Blocked => true,
            StepOutcome::Passed | StepOutcome::Skipped | StepOutcome::Cancelled | StepOutcome::Interrupted => false,
        })
    }
}

/// What an excerpt holds; a line of its own stands for what is left out between beginning and end.
#[must_use]
pub fn excerpt_text(excerpt: &OutputExcerpt) -> String {
    if excerpt.tail.is_empty() { excerpt.head.clone() } else { format!("{}\n[...]\n{}", excerpt.head, excerpt.tail) }
}
