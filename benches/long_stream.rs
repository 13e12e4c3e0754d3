//! Show: a load-decide-append round costs the same at the end of a stream of 100,000 events as at its start.
//!
//! Real commands of one case with 50,000 steps go through the real [`Execution`]: each round reads what is new in the
//! stream, decides and appends one commit of two events (a step's end and the next step's start), on SQLite. A control
//! does the same on a fresh short stream of the same log, one round after each measured one at both ends, so that a
//! machine that grows slower shows in both. The append waits for the disk; so the rounds are measured on the log in
//! memory, too, where only the engine's own work is left, and without the append's wait.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/show.rs"]
mod show;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testledger::engine::execution::Execution;
use testledger::engine::journal::Journal;
use testledger::engine::watch;
use testledger::event_store::SharedLog;
use testledger::event_store::memory::MemoryLog;
use testledger::event_store::sqlite::SqliteLog;
use testledger::ports::clock::SystemClock;
use testledger::ports::ids::{Ids, RandomIds};
use testledger_schemas::command::Command;
use testledger_schemas::event::{
    ActionKind, ExecutionKind, ExecutionRequested, Limits, RequestContent, StartContent, StepFinished, StepInputs,
    StepRun, StepStarted,
};
use testledger_schemas::plan::{CaseType, OnInterrupt, Priority};
use testledger_schemas::{Hash, StepKey, StepOutcome};

/// The length of the stream, in events.
const EVENTS: u64 = 100_000;
/// So many rounds are compared at each end.
const WINDOW: usize = 1_000;
/// How much slower the last rounds may be than the first.
const LIMIT: f64 = 1.2;
/// The steps of the case: more than are run.
const STEPS: u32 = 60_000;

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut show = show::Show::new(None);
    let folder = tempfile::tempdir().unwrap();
    let sqlite = runtime.block_on(async {
        let log = SqliteLog::open(&folder.path().join("ledger.db")).await.unwrap();
        let costs = measure(log.clone()).await;
        testledger::event_store::EventLog::close(log.as_ref()).await;
        costs
    });
    let memory = runtime.block_on(async { measure(MemoryLog::new()).await });
    for (log, costs) in [("sqlite", &sqlite), ("memory", &memory)] {
        for (part, pick) in [("round", Cost::whole as fn(&Cost) -> Duration), ("without_append", Cost::own)] {
            // The log in memory is no store for long streams, and costs more the fuller it is, for short streams just
            // as much: its figures are told and held to nothing.
            let counts = log == "sqlite";
            report(counts.then_some(&mut show), &format!("{log}_{part}"), costs, pick);
        }
    }
    show.end()
}

/// What one round cost.
#[derive(Clone, Copy)]
struct Cost {
    /// Reading what is new in the stream, and folding it.
    load: Duration,
    /// Deciding, sealing and appending.
    act: Duration,
    /// Of that, the wait for the log.
    append: Duration,
}

impl Cost {
    fn whole(&self) -> Duration {
        self.load + self.act
    }

    fn own(&self) -> Duration {
        self.whole().saturating_sub(self.append)
    }
}

/// The rounds of the long stream at both ends, and those of the control beside them.
struct Costs {
    first: Vec<Cost>,
    last: Vec<Cost>,
    control_first: Vec<Cost>,
    control_last: Vec<Cost>,
}

async fn measure(log: SharedLog) -> Costs {
    let journal = journal(log).await;
    let mut long = Case::begin(Arc::clone(&journal)).await;
    let (first, control_first) = window(&journal, &mut long).await;
    while long.events() < EVENTS - 2 * WINDOW as u64 {
        long.round().await;
    }
    let (last, control_last) = window(&journal, &mut long).await;
    assert!(long.events() >= EVENTS, "{} events", long.events());
    Costs { first, last, control_first, control_last }
}

/// A journal as an engine has it, its follower of the log included.
async fn journal(log: SharedLog) -> Arc<Journal> {
    let from_page = log.last_page().await.unwrap().number;
    let journal = Arc::new(Journal {
        log,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        actor: "bench".to_owned(),
        worker: Some(RandomIds.worker_id()),
        bus: Default::default(),
        store_patience: Duration::from_secs(60),
        own: Default::default(),
        latencies: Default::default(),
        lost: Default::default(),
    });
    watch::follow(Arc::clone(&journal), Default::default(), from_page);
    journal
}

/// Rounds of the long stream and of a fresh one, in turns.
async fn window(journal: &Arc<Journal>, long: &mut Case) -> (Vec<Cost>, Vec<Cost>) {
    let mut control = Case::begin(Arc::clone(journal)).await;
    let (mut costs, mut controls) = (vec![], vec![]);
    for _ in 0..WINDOW {
        costs.push(long.round().await);
        controls.push(control.round().await);
    }
    (costs, controls)
}

/// A case that runs.
struct Case {
    execution: Execution,
    journal: Arc<Journal>,
    /// The step that is open.
    open: StepRun,
    index: u32,
}

impl Case {
    async fn begin(journal: Arc<Journal>) -> Self {
        let worker = journal.worker.unwrap();
        let id = journal.ids.execution_id();
        let mut execution = Execution::unread(Arc::clone(&journal), id, id);
        let commands = [
            Command::Request(Box::new(request())),
            Command::MakeReady(None),
            Command::Claim(worker),
            Command::Start(StartContent::default()),
            started(0),
        ];
        execution.act(&commands).await.unwrap();
        Self { execution, journal, open: run_of(0), index: 0 }
    }

    fn events(&self) -> u64 {
        // Requested, ready, claimed, started, then two events for each step but the open one.
        5 + 2 * u64::from(self.index)
    }

    async fn round(&mut self) -> Cost {
        let next = self.index + 1;
        let commands = [Command::FinishStep(Box::new(finished(self.open.clone()))), started(next)];
        let began = Instant::now();
        self.execution.refresh().await.unwrap();
        let load = began.elapsed();
        let events = self.execution.act(&commands).await.unwrap();
        let whole = began.elapsed();
        assert_eq!(events.len(), 2);
        (self.index, self.open) = (next, run_of(next));
        Cost { load, act: whole - load, append: self.journal.latencies.all.last().unwrap() }
    }
}

fn id_of(index: u32) -> String {
    format!("s{index:05}")
}

fn run_of(index: u32) -> StepRun {
    StepRun { attempt: 1, step: id_of(index), step_attempt: 1 }
}

fn request() -> ExecutionRequested {
    ExecutionRequested {
        kind: ExecutionKind::Case,
        plan: Hash::of(b"plan"),
        suite: "bench".to_owned(),
        case: Some("long".to_owned()),
        matrix: String::new(),
        case_type: Some(CaseType::Generic),
        parent_id: None,
        tags: vec![],
        priority: Priority::Normal,
        steps: STEPS,
        cases: 0,
        limits: Limits { max_attempts: 1, backoff_ms: 0, backoff_factor: 1, timeout_ms: None, max_interruptions: 5 },
        revision: None,
        idempotency_key: None,
        body: Hash::of(b"plan"),
        retry_of: None,
        content: RequestContent::default().into(),
    }
}

fn started(index: u32) -> Command {
    let inputs = StepInputs { name: format!("step {index:05}"), ..StepInputs::default() };
    Command::StartStep(Box::new(StepStarted {
        run: run_of(index),
        index,
        step_key: StepKey::derive("bench", "long", "", &id_of(index)),
        action: ActionKind::Run,
        max_attempts: 1,
        timeout_ms: None,
        on_interrupt: OnInterrupt::Rerun,
        revision: None,
        content: inputs.into(),
    }))
}

fn finished(run: StepRun) -> StepFinished {
    StepFinished { duration_ms: 7, exit_code: Some(0), ..StepFinished::bare(run, StepOutcome::Passed) }
}

fn report(show: Option<&mut show::Show>, name: &str, costs: &Costs, pick: fn(&Cost) -> Duration) {
    let median = |costs: &[Cost]| {
        let mut sorted: Vec<_> = costs.iter().map(pick).collect();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    let (first, last) = (median(&costs.first), median(&costs.last));
    let (control_first, control_last) = (median(&costs.control_first), median(&costs.control_last));
    let raw = last.as_secs_f64() / first.as_secs_f64();
    let control = control_last.as_secs_f64() / control_first.as_secs_f64();
    println!(
        "{name}: median of the first {WINDOW}: {first:?}, of the last: {last:?}, ratio {raw:.3}; control beside them: \
         {control_first:?} and {control_last:?}, ratio {control:.3}"
    );
    let Some(show) = show else { return };
    let fair = raw / control;
    show.figure(&format!("long_stream_{name}_raw_ratio"), format!("{raw:.3}"), LIMIT, raw <= LIMIT);
    show.figure(&format!("long_stream_{name}_ratio_to_control"), format!("{fair:.3}"), LIMIT, fair <= LIMIT);
}
