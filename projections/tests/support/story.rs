//! Stories of executions, told event by event: shorter to write than commits, and also unlawful where a test wants it.

use std::collections::BTreeMap;
use std::sync::Arc;

use testledger_projections::projection::Recorded;
use testledger_schemas::commit::CommitId;
use testledger_schemas::event::*;
use testledger_schemas::plan::{CaseType, OnInterrupt, Priority};
use testledger_schemas::{Erasable, Event, EventId, ExecutionId, Hash, StepKey, StepOutcome, StreamId, Timestamp};
use uuid::Uuid;

/// 2026-11-23T09:12:00Z.
pub const START_MS: i64 = 1_795_425_120_000;
pub const DAY_MS: i64 = 86_400_000;

/// Events in the order they are told.
#[derive(Default)]
pub struct Story {
    pub events: Vec<Recorded>,
    pub versions: BTreeMap<StreamId, u64>,
    /// Milliseconds after the start.
    pub now: i64,
    /// The revision of further requests.
    pub revision: Option<Revision>,
}

pub fn execution(number: u128) -> ExecutionId {
    ExecutionId(Uuid::from_u128(number))
}

pub fn step_run(attempt: u32, step: &str, step_attempt: u32) -> StepRun {
    StepRun { attempt, step: step.into(), step_attempt }
}

impl Story {
    /// A story that goes on after these events.
    pub fn after(events: Vec<Recorded>) -> Self {
        let mut story = Self::default();
        for recorded in &events {
            let version = story.versions.entry(recorded.stream).or_default();
            *version = recorded.version.max(*version);
            story.now = recorded.recorded_at.unix_ms() - START_MS;
        }
        Self { events, ..story }
    }

    /// One more event, a commit of its own.
    pub fn tell(&mut self, of: ExecutionId, event: impl Into<Event>) -> EventId {
        let stream = StreamId::from(of);
        let version = self.versions.entry(stream).or_default();
        *version += 1;
        self.now += 1;
        let position = self.events.len() as u64 + 1;
        let event_id = EventId(Uuid::from_u128(u128::from(position) << 32));
        self.events.push(Recorded {
            position,
            stream,
            version: *version,
            commit: CommitId { stream, number: *version },
            event_id,
            recorded_at: Timestamp::from_unix_ms(START_MS + self.now),
            actor: Arc::from("ada"),
            worker: None,
            claim_epoch: None,
            event: event.into(),
        });
        event_id
    }

    pub fn requested(&mut self, of: ExecutionId, case: Option<&str>, parent: Option<ExecutionId>) -> EventId {
        let revision = self.revision.clone();
        self.tell(of, requested(case, parent, revision))
    }

    pub fn started(&mut self, of: ExecutionId, attempt: u32) -> EventId {
        self.tell(of, ExecutionStarted { attempt, content: Default::default() })
    }

    pub fn step_started(&mut self, of: ExecutionId, run: &StepRun) -> EventId {
        self.tell(of, step_started(run))
    }

    pub fn step_finished(&mut self, of: ExecutionId, run: &StepRun, outcome: StepOutcome) -> EventId {
        self.tell(of, step_finished(run, outcome))
    }

    /// A step that begins and ends.
    pub fn step(&mut self, of: ExecutionId, run: &StepRun, outcome: StepOutcome) {
        self.step_started(of, run);
        self.step_finished(of, run, outcome);
    }

    pub fn reported(&mut self, of: ExecutionId, run: &StepRun, outcomes: &[StepOutcome]) -> EventId {
        self.tell(of, reported(run, outcomes))
    }

    pub fn passed(&mut self, of: ExecutionId, attempt: u32, steps: OutcomeTally) -> EventId {
        let (duration_ms, cases) = (100, Default::default());
        self.tell(of, ExecutionPassed { attempt, duration_ms, steps, cases })
    }

    pub fn failed(&mut self, of: ExecutionId, attempt: u32, will_retry: bool, steps: OutcomeTally) -> EventId {
        let (duration_ms, cases, reason) = (100, Default::default(), FailureReason::Step);
        self.tell(of, ExecutionFailed { attempt, reason, will_retry, duration_ms, steps, cases })
    }

    /// Erases the texts of an event of the same stream: the log says so.
    pub fn erase(&mut self, event: EventId) {
        let found = self.events.iter().find(|it| it.event_id == event).unwrap();
        let (commit, of) = (found.commit, found.stream.execution().unwrap());
        self.tell(of, DataErased { commit, event_id: event, artifacts: vec![], content: Default::default() });
    }
}

/// The events as they are read after every erasure they name: without the erased texts.
pub fn after_erasures(events: &[Recorded]) -> Vec<Recorded> {
    let erased: Vec<EventId> = events.iter().filter_map(|it| erased_by(&it.event)).collect();
    let read = |it: &Recorded| {
        let event = if erased.contains(&it.event_id) { without_text(&it.event) } else { it.event.clone() };
        Recorded { event, ..it.clone() }
    };
    events.iter().map(read).collect()
}

fn erased_by(event: &Event) -> Option<EventId> {
    if let Event::DataErased(event) = event { Some(event.event_id) } else { None }
}

/// The event without its texts; none if it has none.
pub fn without_text(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event {
        Event::ExecutionRequested(it) => it.content = Erasable::Erased,
        Event::ExecutionStarted(it) => it.content = Erasable::Erased,
        Event::StepStarted(it) => it.content = Erasable::Erased,
        Event::StepFinished(it) => it.content = Erasable::Erased,
        Event::StepResultsReported(it) => it.content = Erasable::Erased,
        Event::ServiceStopped(it) => it.content = Erasable::Erased,
        Event::VerdictSubmitted(it) => it.content = Erasable::Erased,
        Event::ArtifactAttached(it) => it.content = Erasable::Erased,
        Event::DataErased(it) => it.content = Erasable::Erased,
        _ => {}
    }
    event
}

pub fn requested(case: Option<&str>, parent_id: Option<ExecutionId>, revision: Option<Revision>) -> ExecutionRequested {
    let kind = if case.is_some() { ExecutionKind::Case } else { ExecutionKind::Suite };
    ExecutionRequested {
        kind,
        plan: Hash::of(b"plan"),
        suite: "shop".into(),
        case: case.map(Into::into),
        matrix: String::new(),
        case_type: case.map(|_| CaseType::Generic),
        parent_id,
        tags: vec![],
        priority: Priority::Normal,
        steps: 1,
        cases: 0,
        limits: Limits { max_attempts: 3, backoff_ms: 0, backoff_factor: 1, timeout_ms: None, max_interruptions: 5 },
        revision,
        idempotency_key: None,
        body: Hash::of(b"body"),
        retry_of: None,
        content: Erasable::Kept(RequestContent {
            name: format!("the name of {}", case.unwrap_or("the suite")),
            source: "plan.yaml".into(),
            ..Default::default()
        }),
    }
}

pub fn step_started(run: &StepRun) -> StepStarted {
    StepStarted {
        run: run.clone(),
        index: 0,
        step_key: StepKey::derive("shop", "case", "", &run.step),
        action: ActionKind::Run,
        max_attempts: 3,
        timeout_ms: None,
        on_interrupt: OnInterrupt::Rerun,
        revision: None,
        content: Erasable::Kept(StepInputs {
            name: format!("the name of {}", run.step),
            inputs: vec!["make".into(), format!("the input of {}", run.step)],
            ..Default::default()
        }),
    }
}

pub fn step_finished(run: &StepRun, outcome: StepOutcome) -> StepFinished {
    let failed = !outcome.lets_the_case_go_on();
    StepFinished {
        duration_ms: 10,
        error: failed.then(|| StepErrorFacts { kind: ErrorKind::ExitCode, fingerprint: "f00d".into() }),
        usage: Some(ResourceUsage { user_ms: 2, system_ms: 1, peak_memory_bytes: 1 << 20 }),
        content: Erasable::Kept(StepOutputs { message: format!("the message of {}", run.step), ..Default::default() }),
        ..StepFinished::bare(run.clone(), outcome)
    }
}

pub fn reported(run: &StepRun, outcomes: &[StepOutcome]) -> StepResultsReported {
    let result = |(row, outcome): (usize, &StepOutcome)| ReportedResult {
        step_key: StepKey::derive("shop", "case", "", &format!("test_{row}")),
        outcome: *outcome,
        duration_ms: 7,
        detail: None,
        error: (!outcome.lets_the_case_go_on())
            .then(|| StepErrorFacts { kind: ErrorKind::Assertion, fingerprint: "beef".into() }),
    };
    let case = |(row, _)| ReportedCase { name: format!("test_{row}"), message: format!("the word of test_{row}") };
    StepResultsReported {
        run: run.clone(),
        chunk: 1,
        chunks: 1,
        results: outcomes.iter().enumerate().map(result).collect(),
        content: Erasable::Kept(ReportContent { cases: outcomes.iter().enumerate().map(case).collect() }),
    }
}
