//! Given-when-then for the decider: given these events, when this is asked, then these events (or this refusal) follow.

use testledger_schemas::command::{Authority, Command, Conclusion};
use testledger_schemas::event::{
    ActionKind, Event, ExecutionKind, ExecutionRequested, InterruptReason, Limits, RequestContent, StartContent,
    StepFinished, StepInputs, StepRun, StepStarted,
};
use testledger_schemas::plan::{CaseType, OnInterrupt, Priority};
use testledger_schemas::{Hash, StepKey, StepOutcome, Timestamp, WorkerId};
use uuid::Uuid;

use super::{Asked, Refusal, State, decide, evolve};

/// The worker of most tests, and another one.
pub const ADA: WorkerId = WorkerId(Uuid::from_u128(1));
pub const BOB: WorkerId = WorkerId(Uuid::from_u128(2));

/// The time at which everything is asked.
pub fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_000_000)
}

/// An execution with a history.
#[derive(Clone, Default)]
pub struct Given {
    pub state: State,
    pub events: Vec<Event>,
}

pub fn given() -> Given {
    Given::default()
}

impl Given {
    /// Asks, and folds what follows. The history must allow it.
    #[track_caller]
    pub fn and(mut self, command: Command) -> Self {
        let events = self.ask(command).unwrap_or_else(|refusal| panic!("refused: {refusal}"));
        events.iter().for_each(|event| evolve(&mut self.state, event));
        self.events.extend(events);
        self
    }

    /// Asks under the current claim where a claim is needed.
    pub fn ask(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let claim = self.state.claim.map(|claim| Authority { worker: claim.worker, epoch: claim.epoch });
        self.ask_as(command, claim)
    }

    pub fn ask_as(&self, command: Command, authority: Option<Authority>) -> Result<Vec<Event>, Refusal> {
        decide(&self.state, &Asked { command, authority, now: now() })
    }

    #[track_caller]
    pub fn when(&self, command: Command) -> Then {
        Then(self.ask(command))
    }

    /// A case that was requested and may be claimed.
    pub fn requested(self, request: ExecutionRequested) -> Self {
        self.and(Command::Request(Box::new(request))).and(Command::MakeReady(None))
    }

    /// Claimed by Ada, and started.
    pub fn running(self) -> Self {
        self.and(Command::Claim(ADA)).and(Command::Start(StartContent::default()))
    }

    /// The step that is due has begun.
    pub fn step(self) -> Self {
        let step = self.due_step();
        self.and(Command::StartStep(Box::new(step)))
    }

    /// The step that has begun ends.
    pub fn ends(self, outcome: StepOutcome) -> Self {
        let finish = self.finish(outcome);
        self.and(finish)
    }

    /// What says that the worker who has the claim is lost.
    pub fn interrupt(&self) -> Command {
        let epoch = self.state.claim.map_or(0, |claim| claim.epoch);
        Command::Interrupt { reason: InterruptReason::WorkerDied, epoch }
    }

    /// Its worker is lost.
    pub fn lost(self) -> Self {
        let interrupt = self.interrupt();
        self.and(interrupt)
    }

    pub fn due_step(&self) -> StepStarted {
        StepStarted {
            run: StepRun {
                attempt: self.state.attempt,
                step: format!("s{}", self.state.next_step),
                step_attempt: self.state.step_runs + 1,
            },
            index: self.state.next_step,
            step_key: StepKey(Uuid::nil()),
            action: ActionKind::Run,
            max_attempts: 1,
            timeout_ms: None,
            on_interrupt: OnInterrupt::Rerun,
            revision: None,
            content: StepInputs::default().into(),
        }
    }

    pub fn finish(&self, outcome: StepOutcome) -> Command {
        let run = self.state.open_step.as_ref().map_or_else(|| self.due_step().run, |open| open.run.clone());
        Command::FinishStep(Box::new(StepFinished { will_retry: true, ..StepFinished::bare(run, outcome) }))
    }
}

/// What followed.
pub struct Then(Result<Vec<Event>, Refusal>);

impl Then {
    #[track_caller]
    pub fn then(self, names: &[&str]) -> Vec<Event> {
        let events = self.0.unwrap_or_else(|refusal| panic!("refused: {refusal}"));
        assert_eq!(events.iter().map(Event::type_name).collect::<Vec<_>>(), names);
        events
    }

    #[track_caller]
    pub fn refused(self, refusal: &Refusal) {
        assert_eq!(self.0.as_ref(), Err(refusal));
    }

    #[track_caller]
    pub fn refused_somehow(self) {
        assert!(self.0.is_err(), "{:?}", self.0);
    }
}

/// A request for a case.
pub fn case(steps: u32, max_attempts: u32) -> ExecutionRequested {
    ExecutionRequested {
        kind: ExecutionKind::Case,
        plan: Hash::ZERO,
        suite: "suite".into(),
        case: Some("case".into()),
        matrix: String::new(),
        case_type: Some(CaseType::Generic),
        parent_id: None,
        tags: vec![],
        priority: Priority::Normal,
        steps,
        cases: 0,
        limits: Limits { max_attempts, backoff_ms: 1000, backoff_factor: 2, timeout_ms: None, max_interruptions: 3 },
        revision: None,
        idempotency_key: None,
        body: Hash::ZERO,
        retry_of: None,
        content: RequestContent::default().into(),
    }
}

/// A request for a suite.
pub fn suite(cases: u32) -> ExecutionRequested {
    ExecutionRequested { kind: ExecutionKind::Suite, case: None, case_type: None, steps: 0, cases, ..case(0, 1) }
}

/// The end of an attempt.
pub fn conclude(conclusion: Conclusion) -> Command {
    Command::Conclude { conclusion, duration_ms: 5, cases: Default::default() }
}

/// The one who has the claim goes on where the lost worker stopped.
pub fn recover() -> Command {
    Command::Recover { restart: false, spent_ms: 0 }
}
