//! One seed's world: a plan, a store with its faults, engines with their fates.

use std::collections::BTreeSet;
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
use testledger_schemas::{ExecutionId, Plan, StreamId, Timestamp};
use tokio::time::Instant;

use crate::fates::{Deaths, Fates};
use crate::life::{BEGINNING_MS, Fate, Life, Shared, Started, Work};
use crate::plans::plan;
use crate::remains::Run;

/// The longest that a world may take until everything has its end: virtual time.
const END_OF_TIME: Duration = Duration::from_secs(4 * 3600);
/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// The lease of engines.
const LEASE: Duration = Duration::from_secs(60);

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

pub const UNDISTURBED: Life = Life { host: 0, is_proven: true, fate: Fate::Lives, clock_off_ms: 0 };

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

    pub fn root(&self) -> ExecutionId {
        ExecutionId::for_key(&self.seed.to_string())
    }

    /// An empty log, and all that the engines of this world share.
    pub fn shared(&self, fates: Fates) -> Shared {
        let settings = Settings {
            jobs: self.jobs,
            store_patience: Duration::from_secs(3600),
            lease: LEASE,
            max_interruptions: 20,
            ..Settings::default()
        };
        Shared {
            seed: self.seed,
            truth: MemoryLog::with_faults(Faults { seed: self.seed, ..Faults::none() }),
            leases: MemoryLeases::new(),
            marks: Arc::default(),
            fates,
            told: Arc::default(),
            settings,
            faults: self.faults,
            began: Instant::now(),
        }
    }

    async fn run_here(&self, fates: Fates) -> Run {
        let shared = self.shared(fates);
        let truth = Arc::clone(&shared.truth);
        let root = self.root();
        if let Some(cancel) = self.cancel {
            tokio::spawn(cancel_from_elsewhere(truth.reopen(), self.target(root, cancel), cancel.after, self.seed));
        }
        let (started, fates_met, all_reached) = self.live(&shared).await;
        // What one has sent while it was cut off may arrive then.
        tokio::time::sleep_until(all_reached + LOOK_EVERY).await;
        // Nobody can know of what was not asked for once the engine that was to ask is dead.
        let may_begin = matches!(self.lives[0].fate, Fate::Lives | Fate::Cut(..) | Fate::Stopped(..));
        self.let_end(&truth, may_begin).await;
        let log = Arc::clone(&started[0].log);
        if self.lives.len() == 1 {
            started.into_iter().next().unwrap().task.await.unwrap();
            return Run::of(root, log.appends(), fates_met, &shared).await;
        }
        let appends = log.appends();
        for engine in &started {
            engine.task.abort();
        }
        Run::of(root, appends, fates_met, &shared).await
    }

    /// One engine after the other: each begins when the one before has met its fate, and some earlier. Also how many met it,
    /// and when the last one that is cut off is reached again.
    async fn live(&self, shared: &Shared) -> (Vec<Started>, u64, Instant) {
        let mut started: Vec<Started> = vec![];
        let (mut met, mut all_reached) = (0, Instant::now());
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
                    all_reached = all_reached.max(Instant::now() + lasts);
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
        (started, met, all_reached)
    }

    /// Waits until nothing is open, or time is at its end.
    pub async fn let_end(&self, truth: &MemoryLog, may_begin: bool) {
        let deadline = Instant::now() + END_OF_TIME;
        let mut over = BTreeSet::new();
        while self.is_open(truth, may_begin, &mut over).await && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether something is open, or may yet begin.
    async fn is_open(&self, truth: &MemoryLog, may_begin: bool, over: &mut BTreeSet<ExecutionId>) -> bool {
        let root = self.root();
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
                return may_begin;
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
        clock: Arc::new(VirtualClock::starting_at(Timestamp::from_unix_ms(BEGINNING_MS).plus_ms(ms(after)))),
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
