//! One engine of a world: the production engine with its sweeper, on a machine that may die or be cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use testledger::bus::Update;
use testledger::engine::recovery::OpenWork;
use testledger::engine::request::RequestOptions;
use testledger::engine::stop::Stop;
use testledger::engine::sweeper::Sweeper;
use testledger::engine::{Engine, Parts};
use testledger::event_store::faults::{CrashPoint, Faults};
use testledger::event_store::leases::{Lease, Leases};
use testledger::event_store::memory::MemoryLog;
use testledger::event_store::memory::leases::MemoryLeases;
use testledger::event_store::{EventLog, StoreError};
use testledger::ports::clock::Clock;
use testledger::ports::fault::Point;
use testledger::ports::ids::{Ids, SeededIds};
use testledger::settings::Settings;
use testledger::steps::http::HttpClient;
use testledger::views::{Views, open};
use testledger_schemas::event::{CancelReason, StartContent, WorkerContent, WorkerStarted};
use testledger_schemas::{Event, ExecutionId, Plan, Timestamp, WorkerId};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::fates::Fates;
use crate::launcher::{SharedMarks, SimLauncher};

/// When every world begins, in milliseconds since 1970.
pub const BEGINNING_MS: i64 = 100_000_000;

/// What becomes of an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It dies at its n-th append.
    Crash(u64, CrashPoint),
    /// It dies when it comes to a point for the n-th time.
    Point(Point, u64),
    /// It dies after so long.
    Killed(Duration),
    /// The network to its store is cut after so long, for so long.
    Cut(Duration, Duration),
    /// The same, and it never finds out that its lease has run out: as one that is stopped does not in time.
    Stopped(Duration, Duration),
    /// Nothing.
    Lives,
}

/// One engine.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// The machine it is on.
    pub host: u8,
    /// Whether the others see at once that it is dead.
    pub is_proven: bool,
    /// What becomes of it.
    pub fate: Fate,
    /// So much its wall clock is off, in milliseconds.
    pub clock_off_ms: i64,
}

/// What all engines of a world share.
#[derive(Clone)]
pub struct Shared {
    pub seed: u64,
    pub truth: Arc<MemoryLog>,
    pub leases: Arc<MemoryLeases>,
    pub marks: SharedMarks,
    pub fates: Fates,
    pub told: Arc<Mutex<Vec<(ExecutionId, Event)>>>,
    pub settings: Settings,
    pub faults: Faults,
    pub began: Instant,
}

/// An engine that was started.
pub struct Started {
    pub log: Arc<MemoryLog>,
    pub launcher: Arc<SimLauncher>,
    pub worker: WorkerId,
    pub task: JoinHandle<()>,
}

/// What the first engine of a world is to run.
pub struct Work {
    pub plan: Plan,
    pub stop_after: Option<Duration>,
}

impl Shared {
    fn ids(&self, number: u64) -> SeededIds {
        SeededIds::new(self.seed.wrapping_mul(1_000).wrapping_add(number))
    }

    /// Starts an engine; the first one of a world with its plan.
    pub fn start(&self, number: u64, life: Life, work: Option<Work>) -> Started {
        let faults = Faults { seed: self.faults.seed.wrapping_add(number << 32), ..self.faults };
        let log = self.truth.reopen_with_faults(faults);
        if let Fate::Crash(append, point) = life.fate {
            log.crash_at(append, point);
        }
        let launcher = SimLauncher::new(Arc::clone(&self.marks), Arc::clone(&self.truth));
        // The first id that an engine draws is its own.
        let worker = self.ids(number).worker_id();
        if let Fate::Stopped(..) = life.fate {
            self.fates.forgets_its_lease(worker);
        }
        if let Fate::Point(point, time) = life.fate {
            self.fates.dies_at(worker, point, time, Arc::clone(&log), launcher.dead.clone());
        }
        let living = drive(self.clone(), number, life, Arc::clone(&log), Arc::clone(&launcher), work);
        let task = tokio::spawn(living);
        Started { log, launcher, worker, task }
    }
}

impl Started {
    /// It is dead, with everything on it.
    pub fn die(&self, shared: &Shared, life: Life) {
        self.log.kill();
        self.launcher.dead.cancel();
        self.task.abort();
        if life.is_proven {
            shared.leases.prove_dead(self.worker);
        }
    }
}

/// Wall clocks may be off, and by much.
struct SkewedClock {
    began: Instant,
    off_ms: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        Timestamp::from_unix_ms(BEGINNING_MS + self.off_ms + since)
    }
}

/// Leases behind the same network as the log.
struct ReachedLeases {
    inner: Arc<MemoryLeases>,
    log: Arc<MemoryLog>,
}

impl ReachedLeases {
    async fn reach(&self) -> Result<(), StoreError> {
        self.log.last_page().await.map(drop)
    }
}

#[async_trait]
impl Leases for ReachedLeases {
    async fn take(&self, worker: WorkerId, it: &WorkerStarted, lasts: Duration) -> Result<Option<OwnedFd>, StoreError> {
        self.inner.take(worker, it, lasts).await
    }

    async fn renew(&self, worker: WorkerId) -> Result<bool, StoreError> {
        self.reach().await?;
        self.inner.renew(worker).await
    }

    fn runs_out(&self) -> bool {
        self.inner.runs_out()
    }

    async fn look(&self, worker: WorkerId) -> Result<Lease, StoreError> {
        self.reach().await?;
        self.inner.look(worker).await
    }

    async fn declare_over(&self, worker: WorkerId, renewals: u64) -> Result<bool, StoreError> {
        self.reach().await?;
        self.inner.declare_over(worker, renewals).await
    }

    async fn end_left_over(&self, worker: WorkerId) -> Result<usize, StoreError> {
        self.inner.end_left_over(worker).await
    }

    async fn give_up(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.inner.give_up(worker).await
    }
}

/// Open work by views in memory.
struct Open(open::OpenWork);

#[async_trait]
impl OpenWork for Open {
    async fn news(&self) -> Result<BTreeSet<ExecutionId>, StoreError> {
        self.0.news().await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

async fn drive(
    shared: Shared,
    number: u64,
    life: Life,
    log: Arc<MemoryLog>,
    launcher: Arc<SimLauncher>,
    work: Option<Work>,
) {
    let content = WorkerContent { host: format!("host-{}", life.host) };
    let parts = Parts {
        log: log.clone(),
        clock: Arc::new(SkewedClock { began: shared.began, off_ms: life.clock_off_ms }),
        ids: Arc::new(shared.ids(number)),
        launcher,
        http: HttpClient::new(),
        leases: Arc::new(ReachedLeases { inner: Arc::clone(&shared.leases), log: log.clone() }),
        vault: Default::default(),
        settings: shared.settings.clone(),
        actor: "simulation".to_owned(),
        environment: BTreeMap::new(),
        place: StartContent { host: content.host.clone(), ..StartContent::default() },
        process: WorkerStarted {
            pid: 1,
            boot_id: String::new(),
            started_ticks: number,
            version: "0".to_owned(),
            content: content.into(),
        },
    };
    let Ok(engine) = Engine::start(parts).await else { return };
    let mut updates = engine.bus().subscribe();
    let told = Arc::clone(&shared.told);
    tokio::spawn(async move {
        while let Ok(update) = updates.recv().await {
            if let Update::Acknowledged(news) = update {
                told.lock().unwrap().extend(news.events.iter().map(|event| (news.execution, event.clone())));
            }
        }
    });
    let open = Arc::new(Open(open::OpenWork::of(Views::memory(log.clone()))));
    let every = shared.settings.sweep_interval;
    let sweeper = Sweeper::start(Arc::clone(&engine), open, every, Arc::new(|_| {}));
    if let Some(work) = work {
        run(&shared, &engine, work).await;
    } else {
        // It sweeps until the world ends.
        std::future::pending::<()>().await;
    }
    sweeper.end().await;
    if engine.shut_down().await.is_ok() {
        engine.give_up_lease().await;
    }
    // Listeners get the last news before the world ends.
    tokio::time::sleep(Duration::from_secs(1)).await;
}

async fn run(shared: &Shared, engine: &Arc<Engine>, work: Work) {
    let options = RequestOptions { idempotency_key: Some(shared.seed.to_string()), ..RequestOptions::default() };
    let Ok(requested) = engine.request(&work.plan, &options).await else { return };
    let stop = Stop::default();
    if let Some(after) = work.stop_after {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            stop.fire(CancelReason::Signal);
        });
    }
    // One that lost its lease says so; the others go on.
    let _ = engine.run(requested.execution.id(), Arc::new(work.plan), &stop).await;
}
