//! Seeded histories of executions, as the engine would write them: legal commits in a legal order, for tests.
#![allow(dead_code, reason = "each test and bench uses its part of it")]

use testledger_schemas::commit::{Commit, Envelope, RecordedEvent, StreamHead};
use testledger_schemas::event::*;
use testledger_schemas::plan::{CaseType, OnInterrupt, Priority};
use testledger_schemas::{
    Erasable, Event, EventId, ExecutionId, ExecutionStatus, Hash, StepKey, StepOutcome, StreamId, Timestamp, WorkerId,
};

/// Draws histories from a seed.
pub struct Histories {
    state: u64,
    drawn: u128,
    now: i64,
    plan: Hash,
}

/// One stream that is being written.
struct Writer {
    stream: StreamId,
    head: StreamHead,
    commits: Vec<Commit>,
}

impl Histories {
    /// Histories of this seed, whose plan is the artifact `plan`.
    pub fn new(seed: u64, plan: Hash) -> Self {
        Self { state: seed, drawn: u128::from(seed) << 64, now: 1_795_425_120_000, plan }
    }

    /// A number below `below` (SplitMix64).
    pub fn below(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn id(&mut self) -> uuid::Uuid {
        self.drawn += 1;
        uuid::Uuid::from_u128(self.drawn)
    }

    fn commit(&mut self, to: &mut Writer, events: Vec<Event>) {
        self.now += 1 + self.below(500) as i64;
        let envelope = Envelope {
            recorded_at: Timestamp::from_unix_ms(self.now),
            actor: "unverified:ada@lovelace".into(),
            worker: None,
            claim_epoch: None,
            correlation_id: None,
            causation_id: None,
        };
        let events = events
            .iter()
            .map(|event| {
                let nonce = format!("{:032x}", self.below(u64::MAX));
                RecordedEvent::write(EventId(self.id()), nonce, event).unwrap()
            })
            .collect();
        let commit = Commit::seal(to.stream, to.head, envelope, events).unwrap();
        to.head = commit.head();
        to.commits.push(commit);
    }

    fn requested(
        &mut self,
        kind: ExecutionKind,
        suite: &str,
        case: Option<&str>,
        parent: Option<ExecutionId>,
    ) -> ExecutionRequested {
        ExecutionRequested {
            kind,
            plan: self.plan,
            suite: suite.into(),
            case: case.map(Into::into),
            matrix: if case.is_some() && self.below(8) == 0 { "os=linux".into() } else { String::new() },
            case_type: case.map(|_| CaseType::Generic),
            parent_id: parent,
            tags: if self.below(2) == 0 { vec!["smoke".into()] } else { vec![] },
            priority: if self.below(4) == 0 { Priority::High } else { Priority::Normal },
            steps: 3,
            cases: 0,
            limits: Limits {
                max_attempts: 3,
                backoff_ms: 1000,
                backoff_factor: 2,
                timeout_ms: None,
                max_interruptions: 5,
            },
            revision: Some(Revision { commit: "c0ffee".into(), dirty: false }),
            idempotency_key: None,
            body: Hash::of(b"body"),
            retry_of: None,
            content: Erasable::Kept(RequestContent {
                name: format!("{suite} by name"),
                source: "plan.yaml".into(),
                ..Default::default()
            }),
        }
    }

    /// The commits of one case's execution, from its request to its end.
    pub fn case(&mut self, suite: &str, case: &str, parent: Option<ExecutionId>) -> Vec<Commit> {
        let execution = ExecutionId(self.id());
        let mut to = Writer { stream: execution.into(), head: StreamHead::EMPTY, commits: vec![] };
        let request = self.requested(ExecutionKind::Case, suite, Some(case), parent);
        self.commit(&mut to, vec![request.into()]);
        if self.below(12) == 0 {
            let cancelled = ExecutionCancelled {
                reason: CancelReason::FailFast,
                duration_ms: 0,
                steps: OutcomeTally::new(),
                cases: StatusTally::new(),
            };
            self.commit(&mut to, vec![cancelled.into()]);
            return to.commits;
        }
        let worker = WorkerId(self.id());
        self.commit(
            &mut to,
            vec![ExecutionReady { parent_epoch: None }.into(), ExecutionClaimed { worker, epoch: 1 }.into()],
        );
        for attempt in 1..=3 {
            let will_retry = attempt < 3;
            if self.attempt(&mut to, suite, case, attempt, will_retry) {
                break;
            }
            let retry =
                ExecutionRetryScheduled { attempt: attempt + 1, not_before: Timestamp::from_unix_ms(self.now + 1000) };
            if will_retry && self.below(6) == 0 {
                self.commit(&mut to, vec![retry.into(), CancellationRequested { reason: CancelReason::User }.into()]);
                self.commit(&mut to, vec![ExecutionAborted { reason: CancelReason::User }.into()]);
                break;
            } else if will_retry {
                self.commit(&mut to, vec![retry.into()]);
            }
        }
        to.commits
    }

    /// One attempt. True when it passed.
    fn attempt(&mut self, to: &mut Writer, suite: &str, case: &str, attempt: u32, will_retry: bool) -> bool {
        let content = Erasable::Kept(StartContent { host: "lovelace".into(), ..Default::default() });
        let mut events: Vec<Event> = vec![ExecutionStarted { attempt, content }.into()];
        let mut tally = OutcomeTally::new();
        let mut failed = false;
        for index in 0..3 {
            let id = format!("step-{index}");
            let mut step_attempt = 1;
            loop {
                let run = StepRun { attempt, step: id.clone(), step_attempt };
                events.push(started(&run, index, StepKey::derive(suite, case, "", &id)));
                self.commit(to, std::mem::take(&mut events));
                if self.below(15) == 0 {
                    self.lose_worker(to, index);
                }
                if self.below(4) == 0 {
                    self.report(to, &run, suite, case);
                }
                failed = self.below(6) == 0;
                let again = failed && step_attempt == 1 && self.below(2) == 0;
                events.push(self.finished(run, failed, again));
                if !again {
                    break;
                }
                step_attempt += 1;
            }
            *tally.entry(if failed { StepOutcome::Failed } else { StepOutcome::Passed }).or_default() += 1;
            if failed {
                break;
            }
        }
        let duration_ms = self.below(10_000);
        let cases = StatusTally::new();
        let reason = FailureReason::Step;
        events.push(if failed {
            ExecutionFailed { attempt, reason, will_retry, duration_ms, steps: tally, cases }.into()
        } else {
            ExecutionPassed { attempt, duration_ms, steps: tally, cases }.into()
        });
        self.commit(to, events);
        !failed
    }

    fn lose_worker(&mut self, to: &mut Writer, next_step: u32) {
        let lost = ExecutionInterrupted { reason: InterruptReason::WorkerDied, interruption: 1, epoch: 1 };
        self.commit(to, vec![lost.into()]);
        let worker = WorkerId(self.id());
        self.commit(
            to,
            vec![
                ExecutionClaimed { worker, epoch: 2 }.into(),
                ExecutionRecovered { next_step, restarts: false, spent_ms: 0 }.into(),
            ],
        );
    }

    fn report(&mut self, to: &mut Writer, run: &StepRun, suite: &str, case: &str) {
        let chunks = 1 + self.below(2) as u32;
        for chunk in 1..=chunks {
            let names: Vec<String> = (0..5).map(|n| format!("test_{chunk}_{n}")).collect();
            let result = |name: &String, failed: bool| ReportedResult {
                step_key: StepKey::derive(suite, case, "", name),
                outcome: if failed { StepOutcome::Failed } else { StepOutcome::Passed },
                duration_ms: 7,
                detail: None,
                error: failed.then(|| StepErrorFacts { kind: ErrorKind::Assertion, fingerprint: "f".into() }),
            };
            let results = names
                .iter()
                .map(|name| {
                    let failed = self.below(9) == 0;
                    result(name, failed)
                })
                .collect();
            let cases = names
                .iter()
                .map(|name| ReportedCase { name: name.clone(), message: format!("{name} said so") })
                .collect();
            let content = Erasable::Kept(ReportContent { cases });
            self.commit(to, vec![StepResultsReported { run: run.clone(), chunk, chunks, results, content }.into()]);
        }
    }

    fn finished(&mut self, run: StepRun, failed: bool, will_retry: bool) -> Event {
        StepFinished {
            run,
            outcome: if failed { StepOutcome::Failed } else { StepOutcome::Passed },
            will_retry,
            duration_ms: self.below(1000),
            exit_code: Some(i64::from(failed)),
            signal: None,
            http_status: None,
            error: failed.then(|| StepErrorFacts { kind: ErrorKind::ExitCode, fingerprint: "exit 1".into() }),
            usage: Some(ResourceUsage { user_ms: 1, system_ms: 1, peak_memory_bytes: 1 << 20 }),
            outputs: vec![],
            leaked: false,
            signals_sent: vec![],
            content: Erasable::Kept(StepOutputs {
                message: if failed { "exit code 1".into() } else { String::new() },
                ..Default::default()
            }),
        }
        .into()
    }

    /// The commits of a suite and its cases in one legal order: the suite opens, its cases run side by side, it ends.
    pub fn suite(&mut self, suite: &str, cases: u32) -> Vec<Commit> {
        let execution = ExecutionId(self.id());
        let mut to = Writer { stream: execution.into(), head: StreamHead::EMPTY, commits: vec![] };
        let mut request = self.requested(ExecutionKind::Suite, suite, None, None);
        (request.steps, request.cases) = (0, cases);
        self.commit(&mut to, vec![request.into()]);
        let worker = WorkerId(self.id());
        let start = ExecutionStarted { attempt: 1, content: Erasable::Kept(StartContent::default()) };
        self.commit(
            &mut to,
            vec![
                ExecutionReady { parent_epoch: None }.into(),
                ExecutionClaimed { worker, epoch: 1 }.into(),
                start.into(),
            ],
        );
        let mut order = std::mem::take(&mut to.commits);
        let mut streams: Vec<_> = (0..cases)
            .map(|n| self.case(suite, &format!("case-{n}"), Some(execution)).into_iter().peekable())
            .collect();
        let mut statuses = StatusTally::new();
        while !streams.is_empty() {
            let index = self.below(streams.len() as u64) as usize;
            let commit = streams[index].next();
            if let (Some(commit), None) = (&commit, streams[index].peek()) {
                *statuses.entry(end_of(commit)).or_default() += 1;
                drop(streams.swap_remove(index));
            }
            order.extend(commit);
        }
        let passed = statuses.keys().all(|status| *status == ExecutionStatus::Passed);
        let (duration_ms, steps) = (1234, OutcomeTally::new());
        let verdict: Event = if passed {
            ExecutionPassed { attempt: 1, duration_ms, steps, cases: statuses }.into()
        } else {
            let reason = FailureReason::Case;
            ExecutionFailed { attempt: 1, reason, will_retry: false, duration_ms, steps, cases: statuses }.into()
        };
        self.commit(&mut to, vec![verdict]);
        order.extend(to.commits);
        order
    }
}

/// Of so many executions of a load, one is tried again.
const ONE_TRIED_AGAIN_OF: u64 = 20;
/// Of so many, one fails.
const ONE_FAILED_OF: u64 = 50;
/// How many steps each has.
const LOAD_STEPS: u32 = 10;

impl Histories {
    /// The commits of the `number`th execution of a load: ten steps each, in commits as an engine appends them; 5 % are tried
    /// again, 2 % fail. A thousand cases come again and again, over about a month for forty thousand executions.
    pub fn load(&mut self, number: u64) -> Vec<Commit> {
        let (suite, case) = (format!("load-{}", number % 20), format!("case-{}", number / 20 % 50));
        let mut to = Writer { stream: ExecutionId(self.id()).into(), head: StreamHead::EMPTY, commits: vec![] };
        self.now += self.below(120_000) as i64;
        let mut request = self.requested(ExecutionKind::Case, &suite, Some(&case), None);
        request.steps = LOAD_STEPS;
        request.matrix.clear();
        self.commit(&mut to, vec![request.into()]);
        let worker = WorkerId(self.id());
        let ready = vec![ExecutionReady { parent_epoch: None }.into(), ExecutionClaimed { worker, epoch: 1 }.into()];
        if self.below(ONE_TRIED_AGAIN_OF) == 0 {
            let fails_at = self.below(u64::from(LOAD_STEPS)) as u32;
            self.loaded_attempt(&mut to, ready, (&suite, &case), 1, Some((fails_at, true)));
            let not_before = Timestamp::from_unix_ms(self.now + 1000);
            let again = ExecutionRetryScheduled { attempt: 2, not_before };
            self.commit(&mut to, vec![again.into()]);
            self.loaded_attempt(&mut to, vec![], (&suite, &case), 2, None);
        } else {
            let fails_at = self.below(u64::from(LOAD_STEPS)) as u32;
            let fails = (self.below(ONE_FAILED_OF) == 0).then_some((fails_at, false));
            self.loaded_attempt(&mut to, ready, (&suite, &case), 1, fails);
        }
        to.commits
    }

    /// The commits of one execution of so many steps, all of which pass.
    pub fn long(&mut self, steps: u32) -> Vec<Commit> {
        let mut to = Writer { stream: ExecutionId(self.id()).into(), head: StreamHead::EMPTY, commits: vec![] };
        let mut request = self.requested(ExecutionKind::Case, "long", Some("case"), None);
        request.steps = steps;
        self.commit(&mut to, vec![request.into()]);
        let worker = WorkerId(self.id());
        let content = Erasable::Kept(StartContent { host: "lovelace".into(), ..Default::default() });
        let mut events = vec![
            ExecutionReady { parent_epoch: None }.into(),
            ExecutionClaimed { worker, epoch: 1 }.into(),
            ExecutionStarted { attempt: 1, content }.into(),
        ];
        for index in 0..steps {
            let run = StepRun { attempt: 1, step: format!("step-{index}"), step_attempt: 1 };
            events.push(started(&run, index, StepKey::derive("long", "case", "", &run.step)));
            self.commit(&mut to, std::mem::take(&mut events));
            events.push(self.finished(run, false, false));
        }
        let steps = OutcomeTally::from([(StepOutcome::Passed, u64::from(steps))]);
        let cases = StatusTally::new();
        events.push(ExecutionPassed { attempt: 1, duration_ms: 1, steps, cases }.into());
        self.commit(&mut to, events);
        to.commits
    }

    /// One attempt; `fails` says at which step, and whether it will be tried again.
    fn loaded_attempt(
        &mut self,
        to: &mut Writer,
        mut events: Vec<Event>,
        (suite, case): (&str, &str),
        attempt: u32,
        fails: Option<(u32, bool)>,
    ) {
        let content = Erasable::Kept(StartContent { host: "lovelace".into(), ..Default::default() });
        events.push(ExecutionStarted { attempt, content }.into());
        let (mut tally, cases, duration_ms) = (OutcomeTally::new(), StatusTally::new(), self.below(10_000));
        for index in 0..LOAD_STEPS {
            let step = format!("step-{index}");
            let run = StepRun { attempt, step: step.clone(), step_attempt: 1 };
            events.push(started(&run, index, StepKey::derive(suite, case, "", &step)));
            self.commit(to, std::mem::take(&mut events));
            let failed = fails.is_some_and(|(at, _)| at == index);
            events.push(self.finished(run, failed, false));
            *tally.entry(if failed { StepOutcome::Failed } else { StepOutcome::Passed }).or_default() += 1;
            if failed {
                break;
            }
        }
        let reason = FailureReason::Step;
        events.push(match fails {
            Some((_, will_retry)) => {
                ExecutionFailed { attempt, reason, will_retry, duration_ms, steps: tally, cases }.into()
            }
            None => ExecutionPassed { attempt, duration_ms, steps: tally, cases }.into(),
        });
        self.commit(to, events);
    }
}

/// The status that the last event of a case's last commit gives.
pub fn end_of(commit: &Commit) -> ExecutionStatus {
    match commit.events.last().map(|event| event.type_name.as_str()) {
        Some("ExecutionPassed") => ExecutionStatus::Passed,
        Some("ExecutionFailed") => ExecutionStatus::Failed,
        Some("ExecutionCancelled") => ExecutionStatus::Cancelled,
        Some("ExecutionAborted") => ExecutionStatus::Aborted,
        other => panic!("{other:?} ends no case"),
    }
}

fn started(run: &StepRun, index: u32, step_key: StepKey) -> Event {
    StepStarted {
        run: run.clone(),
        index,
        step_key,
        action: ActionKind::Run,
        max_attempts: 2,
        timeout_ms: None,
        on_interrupt: OnInterrupt::Rerun,
        revision: Some("c0ffee".into()),
        content: Erasable::Kept(StepInputs {
            name: "a step".into(),
            inputs: vec!["true".into()],
            ..Default::default()
        }),
    }
    .into()
}
