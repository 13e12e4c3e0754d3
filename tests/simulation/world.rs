//! One seed's world: a plan, a store with its faults, engines with their fates, and what is left of it all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use testledger::engine::execution::Execution;
use testledger::engine::journal::Journal;
use testledger::event_store::EventLog;
use testledger::event_store::faults::{CrashPoint, Faults};
use testledger::event_store::memory::MemoryLog;
use testledger::event_store::memory::leases::MemoryLeases;
use testledger::execution::{State, evolve};
use testledger::ports::clock::{VirtualClock, ms};
use testledger::ports::fault::{self, Point};
use testledger::ports::ids::SeededIds;
use testledger::settings::Settings;
use testledger_schemas::command::Command;
use testledger_schemas::event::CancelReason;
use testledger_schemas::{Commit, Event, ExecutionId, Hash, Page, Plan, StreamId, Timestamp};
use tokio::time::Instant;

use crate::fates::{Deaths, Fates};
use crate::life::{Fate, Life, Shared, Started, Work};
use crate::plans::plan;

/// The longest that a world may take until everything has its end: virtual time.
const END_OF_TIME: Duration = Duration::from_secs(4 * 3600);
/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// The lease of engines.
const LEASE: Duration = Duration::from_secs(60);

/// What is left of a world: the durable log, and what the outside saw of it.
pub struct Run {
    pub root: ExecutionId,
    /// How many appends the first engine made.
    pub appends: u64,
    /// How many engines met their fate: died, or were cut off.
    pub fates_met: u64,
    pub pages: Vec<Page>,
    /// Every durable commit, sequenced or not.
    pub commits: Vec<Commit>,
    /// What was told to listeners: only what the log had acknowledged.
    pub told: Vec<(ExecutionId, Event)>,
    /// How often each simulated command began.
    pub begun: BTreeMap<String, u32>,
    /// The commands that began while an earlier one of the same step was alive.
    pub overlaps: Vec<String>,
    /// The durable log itself.
    pub truth: Arc<MemoryLog>,
}

impl Run {
    /// Every commit in the order of the pages, with its time and its hash: the whole history in short.
    pub fn history(&self) -> Vec<(String, Timestamp, Hash)> {
        let by_id: BTreeMap<_, _> = self.commits.iter().map(|commit| (commit.id, commit)).collect();
        let entries = self.pages.iter().flat_map(|page| &page.entries);
        entries.map(|entry| by_id[&entry.commit]).map(|one| (one.id.to_string(), one.recorded_at, one.hash)).collect()
    }
}

impl Run {
    /// What happened, a line for each commit in the order of the pages.
    pub fn story(&self) -> String {
        let by_id: BTreeMap<_, _> = self.commits.iter().map(|commit| (commit.id, commit)).collect();
        let entries = self.pages.iter().flat_map(|page| &page.entries);
        let line = |commit: &Commit| {
            let events: Vec<&str> = commit.events.iter().map(|event| event.type_name.as_str()).collect();
            let worker = commit.worker.map(|worker| worker.to_string()[30..].to_owned()).unwrap_or_default();
            let id = commit.id.to_string();
            let short = format!("{}…{}", &id[..18], &id[id.len() - 13..]);
            format!("{} {short} by {worker} {:?}: {}\n", commit.recorded_at, commit.claim_epoch, events.join(" "))
        };
        entries.map(|entry| line(by_id[&entry.commit])).collect()
    }
}

/// The world of one seed.
pub struct World {
    pub seed: u64,
    pub plan: Plan,
    pub jobs: usize,
    pub lives: Vec<Life>,
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

const UNDISTURBED: Life = Life { host: 0, is_proven: true, fate: Fate::Lives, clock_off_ms: 0 };

impl World {
    /// A world with one engine, to which nothing happens but what its store does.
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
        let jobs = random.random_range(1..4);
        Self { seed, plan, jobs, lives: vec![UNDISTURBED], faults, stop_after, cancel: None }
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

    /// The same world, in which the first engine crashes at an append, and another one of the same machine follows.
    pub fn crashed_at(mut self, append: u64, point: CrashPoint) -> Self {
        self.lives = vec![Life { fate: Fate::Crash(append, point), ..UNDISTURBED }, UNDISTURBED];
        self
    }

    /// The same world with several engines, whose fates are drawn: they crash at appends, are killed, or cut off; on one
    /// machine or several, with clocks that are off. The last ones live.
    pub fn with_fates(mut self) -> Self {
        let mut random = StdRng::seed_from_u64(self.seed ^ 0xfa7e);
        let count = random.random_range(1..4);
        let mut lives: Vec<Life> = (0..count).map(|number| life(&mut random, number)).collect();
        lives.push(Life { fate: Fate::Lives, ..life(&mut random, count) });
        if random.random_bool(0.3) {
            // Two come at once, and want to recover the same.
            lives.push(Life { fate: Fate::Lives, ..life(&mut random, count) });
        }
        self.lives = lives;
        if random.random_bool(0.15) {
            self = self.cancelled_by_another();
        }
        self
    }

    /// Whether more happens to this world than its plan's verdict can tell.
    pub fn is_disturbed(&self) -> bool {
        self.cancel.is_some() || self.stop_after.is_some() || self.plan.deadline_ms.is_some() || self.plan.fail_fast
    }

    /// Whether the store does at once what it is asked for.
    pub fn is_without_faults(&self) -> bool {
        self.faults == Faults::none()
    }

    /// Whether all engines are on one machine.
    pub fn is_on_one_machine(&self) -> bool {
        self.lives.iter().all(|life| life.host == self.lives[0].host)
    }

    pub fn run(&self) -> Run {
        self.run_counting(&Deaths::default())
    }

    /// Runs it, and counts who died at which point.
    pub fn run_counting(&self, deaths: &Deaths) -> Run {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let fates = Fates::default();
        fates.begin(Deaths::clone(deaths));
        let run = runtime.block_on(self.run_here(fates));
        fault::watch(None);
        run
    }

    async fn run_here(&self, fates: Fates) -> Run {
        let settings = Settings {
            jobs: self.jobs,
            store_patience: Duration::from_secs(3600),
            lease: LEASE,
            max_interruptions: 20,
            ..Settings::default()
        };
        let truth = MemoryLog::with_faults(Faults { seed: self.seed, ..Faults::none() });
        let shared = Shared {
            seed: self.seed,
            truth: Arc::clone(&truth),
            leases: MemoryLeases::new(),
            marks: Arc::default(),
            fates,
            told: Arc::default(),
            settings,
            faults: self.faults,
            began: Instant::now(),
        };
        let root = ExecutionId::for_key(&self.seed.to_string());
        if let Some(cancel) = self.cancel {
            tokio::spawn(cancel_from_elsewhere(truth.reopen(), self.target(root, cancel), cancel.after, self.seed));
        }
        let (started, fates_met) = self.live(&shared).await;
        let deadline = Instant::now() + END_OF_TIME;
        let mut over = BTreeSet::new();
        while self.is_begun_and_open(&truth, root, &mut over).await && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let log = Arc::clone(&started[0].log);
        if self.lives.len() == 1 {
            started.into_iter().next().unwrap().task.await.unwrap();
            return self.remains(root, log.appends(), fates_met, &shared).await;
        }
        let appends = log.appends();
        for engine in &started {
            engine.task.abort();
        }
        self.remains(root, appends, fates_met, &shared).await
    }

    /// One engine after the other: each begins when the one before has met its fate, and some earlier.
    async fn live(&self, shared: &Shared) -> (Vec<Started>, u64) {
        let mut started: Vec<Started> = vec![];
        let mut met = 0;
        for (number, life) in (0_u64..).zip(self.lives.iter().copied()) {
            let work = (number == 0).then(|| Work { plan: self.plan.clone(), stop_after: self.stop_after });
            let engine = shared.start(number, life, work);
            let is_met = match life.fate {
                Fate::Lives => false,
                Fate::Crash(..) | Fate::Point(..) => {
                    // A crash that is planned for an append that never comes is none.
                    let is_idle = tokio::time::sleep(Duration::from_secs(200));
                    tokio::select! {
                        biased;
                        () = engine.log.crashed() => true,
                        () = is_idle => false,
                    }
                }
                Fate::Killed(after) => {
                    tokio::time::sleep(after).await;
                    true
                }
                Fate::Cut(after, lasts) | Fate::Stopped(after, lasts) => {
                    tokio::time::sleep(after).await;
                    let log = Arc::clone(&engine.log);
                    log.cut(true);
                    tokio::spawn(async move {
                        tokio::time::sleep(lasts).await;
                        log.cut(false);
                    });
                    true
                }
            };
            if matches!(life.fate, Fate::Crash(..) | Fate::Point(..) | Fate::Killed(_)) {
                engine.die(shared, life);
            }
            met += u64::from(is_met);
            started.push(engine);
        }
        (started, met)
    }

    /// Whether something is open. What was never asked for is nobody's business.
    async fn is_begun_and_open(&self, truth: &MemoryLog, root: ExecutionId, over: &mut BTreeSet<ExecutionId>) -> bool {
        let children = self.plan.cases.iter().map(|case| ExecutionId::child_of(root, &case.id, &case.matrix));
        let mut open = false;
        for id in children.chain([root]) {
            if over.contains(&id) {
                continue;
            }
            let mut state = State::initial();
            let commits = truth.read_stream(StreamId::from(id), 0, usize::MAX).await.unwrap();
            commits.iter().flat_map(|commit| &commit.events).for_each(|it| evolve(&mut state, &it.read().unwrap()));
            if id == root && state.status.is_none() {
                // Nobody can know of it once the engine that was to ask for it is dead.
                return matches!(self.lives[0].fate, Fate::Lives | Fate::Cut(..) | Fate::Stopped(..));
            }
            if state.is_final() {
                over.insert(id);
            }
            open |= state.status.is_some() && !state.is_final();
            if open {
                return true;
            }
        }
        open
    }

    /// Which execution a cancellation is for.
    pub fn target(&self, root: ExecutionId, cancel: Cancel) -> ExecutionId {
        let case = cancel.case.map(|case| &self.plan.cases[case]);
        case.map_or(root, |case| ExecutionId::child_of(root, &case.id, &case.matrix))
    }

    async fn remains(&self, root: ExecutionId, appends: u64, fates_met: u64, shared: &Shared) -> Run {
        let durable = shared.truth.reopen();
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
        let told = shared.told.lock().unwrap().clone();
        let marks = std::mem::take(&mut *shared.marks.lock().unwrap());
        let (begun, overlaps) = (marks.begun, marks.overlaps);
        Run { root, appends, fates_met, pages, commits, told, begun, overlaps, truth: durable }
    }
}

/// Only the first engine asks for anything, and only those that follow have something to recover. Some points are met once in
/// the life of an engine, if at all.
fn at_a_point(random: &mut StdRng, number: u64) -> Fate {
    let of_the_first = [Point::PlanKept, Point::SuiteRequested];
    let of_the_others = [Point::ClaimEnded, Point::PastRead];
    let (mine, not_mine) = if number == 0 { (of_the_first, of_the_others) } else { (of_the_others, of_the_first) };
    let all = Point::ALL.into_iter().filter(|point| !not_mine.contains(point)).chain(mine).chain(mine);
    let all: Vec<Point> = all.collect();
    let point = all[random.random_range(0..all.len())];
    let is_frequent = matches!(
        point,
        Point::BeforeAppend
            | Point::AfterAppend
            | Point::StepRecorded
            | Point::StepEnded
            | Point::LeaseRenewal
            | Point::Sweep
    );
    Fate::Point(point, if is_frequent { random.random_range(1..4) } else { 1 })
}

fn life(random: &mut StdRng, number: u64) -> Life {
    let point = if random.random_bool(0.5) { CrashPoint::Before } else { CrashPoint::After };
    let fate = match random.random_range(0..20) {
        0..=9 => at_a_point(random, number),
        10..=13 => Fate::Crash(random.random_range(1..40), point),
        14..=16 => Fate::Killed(Duration::from_millis(random.random_range(0..8_000))),
        _ => {
            let after = Duration::from_millis(random.random_range(0..8_000));
            let lasts = Duration::from_millis(random.random_range(0..200_000));
            if random.random_bool(0.5) { Fate::Cut(after, lasts) } else { Fate::Stopped(after, lasts) }
        }
    };
    Life {
        host: u8::from(random.random_bool(0.2)),
        is_proven: random.random_bool(0.7),
        fate,
        clock_off_ms: if random.random_bool(0.2) { random.random_range(-7_200_000..7_200_000) } else { 0 },
    }
}

/// What `executions cancel` does, in a process of its own.
async fn cancel_from_elsewhere(log: Arc<MemoryLog>, target: ExecutionId, after: Duration, seed: u64) {
    tokio::time::sleep(after).await;
    let journal = Arc::new(Journal {
        log: log.clone(),
        clock: Arc::new(VirtualClock::starting_at(Timestamp::from_unix_ms(100_000_000).plus_ms(ms(after)))),
        ids: Arc::new(SeededIds::new(!seed)),
        actor: "somebody else".to_owned(),
        worker: None,
        bus: Default::default(),
        store_patience: Duration::from_secs(3600),
        own: Default::default(),
        latencies: Default::default(),
        lost: Default::default(),
    });
    let mut execution = Execution::load(journal, target, target).await.unwrap();
    // Before it was asked for there is nothing to cancel.
    if execution.state().status.is_some() {
        execution.act(&[Command::RequestCancellation(CancelReason::User)]).await.unwrap();
    }
}
