//! Sample runs, as events, for the tests of this room.

use testledger_schemas::event::{
    ActionKind, CancelReason, ErrorKind, ExecutionAborted, ExecutionCancelled, ExecutionFailed, ExecutionKind,
    ExecutionPassed, ExecutionRequested, ExecutionRetryScheduled, ExecutionStarted, ExecutionTimedOut, FailureReason,
    Limits, OutcomeTally, OutputExcerpt, OutputStream, ReportContent, ReportedCase, ReportedResult, RequestContent,
    StatusTally, StepErrorFacts, StepFinished, StepInputs, StepOutputs, StepResultsReported, StepRun, StepStarted,
};
use testledger_schemas::plan::{CaseType, Priority};
use testledger_schemas::{Erasable, Event, ExecutionId, Hash, StepKey, StepOutcome, Timestamp};

use crate::report::model::RunReport;
use crate::steps::Reported;

/// The root of every sample.
pub(crate) const ROOT: ExecutionId = ExecutionId(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));

/// A run under construction: events in the order in which they would be recorded.
#[derive(Default)]
pub(crate) struct Sample {
    pub(crate) events: Vec<(ExecutionId, Event)>,
}

impl Sample {
    /// A suite execution of this name, requested and started.
    pub(crate) fn suite(name: &str, cases: u32) -> Self {
        let mut sample = Self::default();
        sample.request(ROOT, name, None, cases);
        sample.push(ROOT, ExecutionStarted { attempt: 1, content: Erasable::default() });
        sample
    }

    /// A wrapped command: one execution without a parent.
    pub(crate) fn command(line: &str) -> Self {
        let mut sample = Self::default();
        sample.request(ROOT, line, Some("command"), 0);
        sample
    }

    pub(crate) fn report(&self) -> RunReport {
        let mut report = RunReport::default();
        for (at, (execution, event)) in self.events.iter().enumerate() {
            let at = Timestamp::from_unix_ms(1_795_425_120_000 + i64::try_from(at).unwrap());
            report.apply(*execution, at, event);
        }
        report
    }

    pub(crate) fn push(&mut self, execution: ExecutionId, event: impl Into<Event>) {
        self.events.push((execution, event.into()));
    }

    /// A case of the suite, requested.
    pub(crate) fn case(&mut self, case: &str) -> ExecutionId {
        let id = ExecutionId::child_of(ROOT, case, "");
        self.request(id, case, Some(case), 0);
        id
    }

    fn request(&mut self, id: ExecutionId, name: &str, case: Option<&str>, cases: u32) {
        let kind = if case.is_some() { ExecutionKind::Case } else { ExecutionKind::Suite };
        self.push(
            id,
            ExecutionRequested {
                kind,
                plan: Hash::of(b"plan"),
                suite: "checkout".into(),
                case: case.map(str::to_owned),
                matrix: String::new(),
                case_type: case.map(|_| CaseType::Generic),
                parent_id: (id != ROOT).then_some(ROOT),
                tags: vec![],
                priority: Priority::Normal,
                steps: u32::from(case.is_some()),
                cases,
                limits: Limits {
                    max_attempts: 3,
                    backoff_ms: 0,
                    backoff_factor: 2,
                    timeout_ms: None,
                    max_interruptions: 5,
                },
                revision: None,
                idempotency_key: None,
                body: Hash::of(b"body"),
                retry_of: None,
                content: RequestContent { name: name.into(), ..RequestContent::default() }.into(),
            },
        );
    }

    pub(crate) fn start(&mut self, id: ExecutionId, attempt: u32) {
        self.push(id, ExecutionStarted { attempt, content: Erasable::default() });
    }

    /// A run of a step from its begin to its end.
    pub(crate) fn step(&mut self, id: ExecutionId, run: (u32, &str, u32), outcome: StepOutcome) {
        self.start_step(id, run);
        self.finish_step(id, run, outcome, |_, _| {});
    }

    pub(crate) fn start_step(&mut self, id: ExecutionId, (attempt, step, step_attempt): (u32, &str, u32)) {
        let run = StepRun { attempt, step: step.into(), step_attempt };
        let inputs = vec!["./check.sh".to_owned(), step.to_owned()];
        self.push(
            id,
            StepStarted {
                run,
                index: 0,
                step_key: StepKey::derive("checkout", "case", "", step),
                action: ActionKind::Run,
                max_attempts: 1,
                timeout_ms: None,
                on_interrupt: testledger_schemas::plan::OnInterrupt::Rerun,
                revision: None,
                content: StepInputs { name: step.into(), inputs, ..StepInputs::default() }.into(),
            },
        );
    }

    /// The end of a run of a step, with its facts and texts changed by `change`.
    pub(crate) fn finish_step(
        &mut self,
        id: ExecutionId,
        (attempt, step, step_attempt): (u32, &str, u32),
        outcome: StepOutcome,
        change: impl FnOnce(&mut StepFinished, &mut StepOutputs),
    ) {
        let run = StepRun { attempt, step: step.into(), step_attempt };
        let is_bad = !outcome.lets_the_case_go_on();
        let mut finished = StepFinished {
            run,
            outcome,
            will_retry: false,
            duration_ms: 1_240,
            exit_code: Some(i64::from(is_bad)),
            signal: None,
            http_status: None,
            error: is_bad.then(|| StepErrorFacts { kind: ErrorKind::ExitCode, fingerprint: "0".repeat(16) }),
            usage: None,
            outputs: vec![],
            leaked: false,
            signals_sent: vec![],
            content: Erasable::Erased,
        };
        let mut outputs = StepOutputs::default();
        if is_bad {
            outputs.message = "exit code 1, expected 0".into();
            outputs.excerpts =
                vec![excerpt(OutputStream::Stderr, "line 1\nline 2\n\u{1b}[31mError: no\u{1b}[0m database\n")];
        }
        change(&mut finished, &mut outputs);
        finished.content = outputs.into();
        self.push(id, finished);
    }

    pub(crate) fn report_results(
        &mut self,
        id: ExecutionId,
        (attempt, step, step_attempt): (u32, &str, u32),
        reported: Vec<Reported>,
    ) {
        let run = StepRun { attempt, step: step.into(), step_attempt };
        let (results, cases): (Vec<ReportedResult>, Vec<ReportedCase>) =
            reported.into_iter().map(|reported| (reported.result, reported.case)).unzip();
        self.push(
            id,
            StepResultsReported { run, chunk: 1, chunks: 1, results, content: ReportContent { cases }.into() },
        );
    }

    pub(crate) fn pass(&mut self, id: ExecutionId, attempt: u32) {
        let (steps, cases) = (OutcomeTally::new(), StatusTally::new());
        self.push(id, ExecutionPassed { attempt, duration_ms: 1_300, steps, cases });
    }

    pub(crate) fn fail(&mut self, id: ExecutionId, attempt: u32, reason: FailureReason, will_retry: bool) {
        let (steps, cases) = (OutcomeTally::new(), StatusTally::new());
        self.push(id, ExecutionFailed { attempt, reason, will_retry, duration_ms: 1_300, steps, cases });
        if will_retry {
            self.push(id, ExecutionRetryScheduled { attempt: attempt + 1, not_before: Timestamp::default() });
        }
    }

    pub(crate) fn time_out(&mut self, id: ExecutionId, attempt: u32) {
        let (steps, cases) = (OutcomeTally::new(), StatusTally::new());
        self.push(id, ExecutionTimedOut { attempt, will_retry: false, duration_ms: 30_000, steps, cases });
    }

    pub(crate) fn cancel(&mut self, id: ExecutionId, reason: CancelReason, duration_ms: u64) {
        let (steps, cases) = (OutcomeTally::new(), StatusTally::new());
        self.push(id, ExecutionCancelled { reason, duration_ms, steps, cases });
    }

    pub(crate) fn abort(&mut self, id: ExecutionId) {
        self.push(id, ExecutionAborted { reason: CancelReason::User });
    }
}

/// A whole, short output.
pub(crate) fn excerpt(stream: OutputStream, text: &str) -> OutputExcerpt {
    OutputExcerpt { stream, head: text.into(), tail: String::new(), sha256: Hash::of(text.as_bytes()) }
}

/// A suite with a case for each way in which one can end.
pub(crate) fn every_ending() -> Sample {
    let mut sample = Sample::suite("checkout", 9);
    let passes = sample.case("passes");
    sample.start(passes, 1);
    sample.step(passes, (1, "one", 1), StepOutcome::Passed);
    sample.pass(passes, 1);

    let second_try = sample.case("passes-on-second-try");
    sample.start(second_try, 1);
    sample.step(second_try, (1, "one", 1), StepOutcome::Failed);
    sample.fail(second_try, 1, FailureReason::Step, true);
    sample.start(second_try, 2);
    sample.step(second_try, (2, "one", 1), StepOutcome::Interrupted);
    sample.step(second_try, (2, "one", 2), StepOutcome::Passed);
    sample.pass(second_try, 2);

    let fails = sample.case("fails");
    sample.start(fails, 1);
    sample.step(fails, (1, "one", 1), StepOutcome::Passed);
    sample.start_step(fails, (1, "two", 1));
    sample.finish_step(fails, (1, "two", 1), StepOutcome::Failed, |_, outputs| {
        outputs.expectations = vec!["stdout: contains `ready`: it does not".into(), "exit code: 1, expected 0".into()];
    });
    sample.fail(fails, 1, FailureReason::Step, false);

    let errs = sample.case("errs");
    sample.start(errs, 1);
    sample.start_step(errs, (1, "one", 1));
    sample.finish_step(errs, (1, "one", 1), StepOutcome::Error, |finished, outputs| {
        (finished.exit_code, outputs.message) = (None, "no such program: `chekc.sh`".into());
        outputs.excerpts.clear();
    });
    sample.fail(errs, 1, FailureReason::Step, false);

    let slow = sample.case("slow");
    sample.start(slow, 1);
    sample.step(slow, (1, "one", 1), StepOutcome::Timeout);
    sample.time_out(slow, 1);

    let unmet = sample.case("unmet");
    sample.cancel(unmet, CancelReason::DependencyFailed, 0);
    let stopped = sample.case("stopped");
    sample.start(stopped, 1);
    sample.step(stopped, (1, "one", 1), StepOutcome::Cancelled);
    sample.cancel(stopped, CancelReason::User, 700);
    let aborted = sample.case("aborted");
    sample.start(aborted, 1);
    sample.step(aborted, (1, "one", 1), StepOutcome::Failed);
    sample.fail(aborted, 1, FailureReason::Step, true);
    sample.abort(aborted);

    let unit = sample.case("unit");
    sample.start(unit, 1);
    sample.start_step(unit, (1, "pytest", 1));
    let xml = include_bytes!("../steps/junit/fixtures/pytest-xunit2.xml");
    let reported = crate::steps::junit::read(xml, ("checkout", "unit", "")).unwrap();
    sample.report_results(unit, (1, "pytest", 1), reported);
    sample.finish_step(unit, (1, "pytest", 1), StepOutcome::Failed, |_, _| {});
    sample.fail(unit, 1, FailureReason::Step, false);
    sample.fail(ROOT, 1, FailureReason::Case, false);
    sample
}
