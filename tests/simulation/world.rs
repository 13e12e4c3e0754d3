//! One seed's world: a plan, a store with its faults, and a run of the production engine in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use testledger::bus::Update;
use testledger::engine::execution::Execution;
use testledger::engine::journal::Journal;
use testledger::engine::request::RequestOptions;
use testledger::engine::stop::Stop;
use testledger::engine::{Engine, Parts};
use testledger::event_store::EventLog;
use testledger::event_store::faults::{CrashPoint, Faults};
use testledger::event_store::memory::MemoryLog;
use testledger::ports::clock::{VirtualClock, ms};
use testledger::ports::ids::SeededIds;
use testledger::settings::Settings;
use testledger::steps::http::HttpClient;
use testledger_schemas::command::Command;
use testledger_schemas::event::{CancelReason, StartContent, WorkerContent, WorkerStarted};
use testledger_schemas::plan::{
    Action, Case, CaseType, CommandLine, OnInterrupt, Priority, Resume, Retries, RunAction, RunExpect, Step, TextExpect,
};
use testledger_schemas::{Commit, Event, ExecutionId, Hash, Page, Plan, Timestamp};

use crate::launcher::SimLauncher;

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    Finished,
    Crashed,
}

/// What is left of a run: the durable log, and what the outside saw of it.
pub struct Run {
    pub ending: Ending,
    pub root: ExecutionId,
    pub appends: u64,
    pub pages: Vec<Page>,
    /// Every durable commit, sequenced or not.
    pub commits: Vec<Commit>,
    /// What was told to listeners: only what the log had acknowledged.
    pub told: Vec<(ExecutionId, Event)>,
    /// How often each simulated command began.
    pub begun: BTreeMap<String, u32>,
}

impl Run {
    /// Every commit in the order of the pages, with its time and its hash: the whole history in short.
    pub fn history(&self) -> Vec<(String, Timestamp, Hash)> {
        let by_id: BTreeMap<_, _> = self.commits.iter().map(|commit| (commit.id, commit)).collect();
        let entries = self.pages.iter().flat_map(|page| &page.entries);
        entries.map(|entry| by_id[&entry.commit]).map(|one| (one.id.to_string(), one.recorded_at, one.hash)).collect()
    }
}

/// The world of one seed.
pub struct World {
    pub seed: u64,
    pub plan: Plan,
    pub jobs: usize,
    faults: Faults,
    /// When somebody presses Ctrl-C, if somebody does.
    pub stop_after: Option<Duration>,
    /// When another process cancels something, and what.
    pub cancel: Option<Cancel>,
}

/// A cancellation by another process.
#[derive(Clone, Copy, Debug)]
pub struct Cancel {
    /// When.
    pub after: Duration,
    /// Which case by its place; none for the whole execution.
    pub case: Option<usize>,
}

impl World {
    pub fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let faults = Faults {
            seed,
            lost_ack: random.random_range(0..60),
            unavailable: random.random_range(0..60),
            slow_ms: random.random_range(0..200),
            duplicate_delivery: random.random_range(0..100),
        };
        let plan = plan(seed, &mut random);
        let stop_after = random.random_bool(0.2).then(|| Duration::from_millis(random.random_range(0..6_000)));
        Self { seed, plan, jobs: random.random_range(1..4), faults, stop_after, cancel: None }
    }

    pub fn without_faults(mut self) -> Self {
        self.faults = Faults::none();
        self
    }

    /// The same world, in which another process cancels the execution or one of its cases, and nobody presses Ctrl-C.
    pub fn cancelled_by_another(mut self) -> Self {
        let mut random = StdRng::seed_from_u64(!self.seed);
        let case =
            (self.plan.is_suite && random.random_bool(0.5)).then(|| random.random_range(0..self.plan.cases.len()));
        // Some come before anything has begun.
        let after = Duration::from_millis(random.random_range(0..3_000));
        self.cancel = Some(Cancel { after, case });
        self.stop_after = None;
        self
    }

    /// Runs the production engine in this world, crashed at an append if that is asked for.
    pub fn run(&self, crash: Option<(u64, CrashPoint)>) -> Run {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(self.run_here(crash))
    }

    async fn run_here(&self, crash: Option<(u64, CrashPoint)>) -> Run {
        let log = MemoryLog::with_faults(self.faults);
        let launcher = Arc::new(SimLauncher::default());
        if let Some((append, point)) = crash {
            log.crash_at(append, point);
        }
        let told = Arc::new(std::sync::Mutex::new(vec![]));
        let root = ExecutionId::for_key(&self.seed.to_string());
        // The engine lives in a task of its own, so that a crash can drop it whole.
        let engine = {
            let (log, launcher, told) = (Arc::clone(&log), Arc::clone(&launcher), Arc::clone(&told));
            let (plan, settings, seed, stop_after) = (self.plan.clone(), self.settings(), self.seed, self.stop_after);
            tokio::spawn(async move { drive(log, launcher, told, plan, settings, seed, stop_after).await })
        };
        if let Some(cancel) = self.cancel {
            tokio::spawn(cancel_from_elsewhere(log.reopen(), self.target(root, cancel), cancel.after, self.seed));
        }
        let abort = engine.abort_handle();
        let ending = tokio::select! {
            biased;
            () = log.crashed() => {
                abort.abort();
                Ending::Crashed
            }
            ended = engine => {
                ended.unwrap();
                Ending::Finished
            }
        };
        self.remains(ending, root, &log, &launcher, &told).await
    }

    /// Which execution a cancellation is for.
    pub fn target(&self, root: ExecutionId, cancel: Cancel) -> ExecutionId {
        let case = cancel.case.map(|case| &self.plan.cases[case]);
        case.map_or(root, |case| ExecutionId::child_of(root, &case.id, &case.matrix))
    }

    fn settings(&self) -> Settings {
        Settings { jobs: self.jobs, store_patience: Duration::from_secs(3600), ..Settings::default() }
    }

    async fn remains(
        &self,
        ending: Ending,
        root: ExecutionId,
        log: &Arc<MemoryLog>,
        launcher: &SimLauncher,
        told: &std::sync::Mutex<Vec<(ExecutionId, Event)>>,
    ) -> Run {
        let appends = log.appends();
        let durable = log.reopen();
        // The sequencer of the reopened log starts with the first call, and seals what was not sealed yet.
        durable.last_page().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut pages = vec![];
        while let Some(next) =
            Some(durable.read_pages(pages.len() as u64, 1000).await.unwrap()).filter(|p| !p.is_empty())
        {
            pages.extend(next);
        }
        let scanned = durable.scan_commits(None, usize::MAX).await.unwrap();
        let commits = scanned.into_iter().map(|raw| raw.commit.unwrap()).collect();
        let told = told.lock().unwrap().clone();
        let begun = launcher.begun.lock().unwrap().clone();
        Run { ending, root, appends, pages, commits, told, begun }
    }
}

/// What `executions cancel` does, in a process of its own.
async fn cancel_from_elsewhere(log: Arc<MemoryLog>, target: ExecutionId, after: Duration, seed: u64) {
    tokio::time::sleep(after).await;
    let journal = Arc::new(Journal {
        log: log.clone(),
        clock: Arc::new(VirtualClock::starting_at(Timestamp::from_unix_ms(1_000_000).plus_ms(ms(after)))),
        ids: Arc::new(SeededIds::new(!seed)),
        actor: "somebody else".to_owned(),
        worker: None,
        bus: Default::default(),
        store_patience: Duration::from_secs(3600),
        own: Default::default(),
        latencies: Default::default(),
    });
    let mut execution = Execution::load(journal, target, target).await.unwrap();
    // Before it was asked for there is nothing to cancel.
    if execution.state().status.is_some() {
        execution.act(&[Command::RequestCancellation(CancelReason::User)]).await.unwrap();
    }
}

async fn drive(
    log: Arc<MemoryLog>,
    launcher: Arc<SimLauncher>,
    told: Arc<std::sync::Mutex<Vec<(ExecutionId, Event)>>>,
    plan: Plan,
    settings: Settings,
    seed: u64,
    stop_after: Option<Duration>,
) {
    let parts = Parts {
        log: log.clone(),
        clock: Arc::new(VirtualClock::starting_at(Timestamp::from_unix_ms(1_000_000))),
        ids: Arc::new(SeededIds::new(seed)),
        launcher,
        http: HttpClient::new(),
        settings,
        actor: "simulation".to_owned(),
        environment: BTreeMap::new(),
        place: StartContent::default(),
        process: WorkerStarted {
            pid: 1,
            boot_id: "simulation".to_owned(),
            started_ticks: 1,
            version: "0".to_owned(),
            content: WorkerContent::default().into(),
        },
    };
    let engine = Engine::start(parts).await.unwrap();
    let mut updates = engine.bus().subscribe();
    tokio::spawn(async move {
        while let Ok(update) = updates.recv().await {
            if let Update::Acknowledged(news) = update {
                told.lock().unwrap().extend(news.events.iter().map(|event| (news.execution, event.clone())));
            }
        }
    });
    let options = RequestOptions { idempotency_key: Some(seed.to_string()), ..RequestOptions::default() };
    let requested = engine.request(&plan, &options).await.unwrap();
    let stop = Stop::default();
    if let Some(after) = stop_after {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            stop.fire(CancelReason::Signal);
        });
    }
    engine.run(requested.execution.id(), Arc::new(plan), &stop).await.unwrap();
    engine.shut_down().await.unwrap();
    // Listeners get the last news before the world ends.
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn plan(seed: u64, random: &mut StdRng) -> Plan {
    let is_suite = random.random_bool(0.8);
    let count = if is_suite { random.random_range(1..6) } else { 1 };
    let cases: Vec<Case> = (0..count).map(|index| case(index, random)).collect();
    Plan {
        suite: format!("seed-{seed}"),
        name: format!("seed {seed}"),
        source: "simulation".to_owned(),
        is_suite,
        directory: "/".to_owned(),
        params: BTreeMap::new(),
        required_params: vec![],
        env: vec![],
        secrets: vec![],
        concurrency: None,
        fail_fast: random.random_bool(0.2),
        deadline_ms: random.random_bool(0.1).then(|| random.random_range(500..5_000)),
        services: vec![],
        cases,
    }
}

fn case(index: usize, random: &mut StdRng) -> Case {
    let needs = (0..index).filter(|_| random.random_bool(0.2)).map(|needed| format!("c{needed}")).collect();
    let steps = (0..random.random_range(1..4)).map(|step| sim_step(index, step, random)).collect();
    Case {
        id: format!("c{index}"),
        matrix: String::new(),
        matrix_values: BTreeMap::new(),
        name: format!("case {index}"),
        case_type: CaseType::Generic,
        tags: vec![],
        priority: [Priority::Low, Priority::Normal, Priority::High][random.random_range(0..3)],
        needs,
        env: vec![],
        timeout_ms: random.random_bool(0.2).then(|| random.random_range(100..4_000)),
        retries: Retries { max_attempts: random.random_range(1..4), backoff_ms: 300, backoff_factor: 2 },
        resume: Resume::SameHost,
        steps,
    }
}

fn sim_step(case: usize, step: usize, random: &mut StdRng) -> Step {
    let exit = u32::from(random.random_bool(0.15));
    let fail_first = if random.random_bool(0.2) { random.random_range(1..3) } else { 0 };
    let argv = [
        "sim".to_owned(),
        format!("c{case}/s{step}"),
        random.random_range(1..1_500_u32).to_string(),
        exit.to_string(),
        fail_first.to_string(),
    ];
    Step {
        id: format!("s{step}"),
        name: format!("step {step}"),
        action: Action::Run(RunAction {
            command: CommandLine::Argv(argv.into()),
            directory: None,
            env: vec![],
            expect: RunExpect {
                exit_codes: vec![0],
                stdout: TextExpect::default(),
                stderr: TextExpect::default(),
                within_ms: None,
            },
        }),
        timeout_ms: random.random_bool(0.2).then(|| random.random_range(100..2_000)),
        retries: Retries { max_attempts: random.random_range(1..3), backoff_ms: 100, backoff_factor: 2 },
        on_interrupt: OnInterrupt::Rerun,
        capture: BTreeMap::new(),
        report: None,
    }
}
