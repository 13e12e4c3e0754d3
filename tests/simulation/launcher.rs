//! Processes of the simulation: they take virtual time, end as they are told, leave marks of what really began, and die with
//! their machine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use testledger::event_store::EventLog;
use testledger::event_store::memory::MemoryLog;
use testledger::steps::launcher::{Exit, LaunchError, LaunchSpec, Launcher, Process, ProcessControl, TreeSignal};
use testledger_schemas::event::ResourceUsage;
use testledger_schemas::{Event, ExecutionId, StepOutcome};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The side effects of the tests, whatever engine they ran on.
#[derive(Default)]
pub struct Marks {
    /// How often each began.
    pub begun: BTreeMap<String, u32>,
    /// Those that began while an earlier process of the same step was alive.
    pub overlaps: Vec<String>,
    alive: BTreeMap<String, Vec<Arc<Alive>>>,
}

/// Marks that all engines of a world leave.
pub type SharedMarks = Arc<Mutex<Marks>>;

/// One process, as long as it may be alive.
struct Alive {
    ended: AtomicBool,
    ends_at: Instant,
    dead: CancellationToken,
    lease: watch::Receiver<Duration>,
    began: Instant,
}

impl Alive {
    fn is_alive(&self) -> bool {
        let in_lease = self.began.elapsed() < *self.lease.borrow();
        let is_over = self.ended.load(Ordering::SeqCst) || Instant::now() >= self.ends_at;
        in_lease && !is_over && !self.dead.is_cancelled()
    }
}

impl Marks {
    fn begin(&mut self, mark: &str, process: Arc<Alive>) -> u32 {
        let alive = self.alive.entry(mark.to_owned()).or_default();
        alive.retain(|other| other.is_alive());
        if !alive.is_empty() {
            self.overlaps.push(mark.to_owned());
        }
        alive.push(process);
        let count = self.begun.entry(mark.to_owned()).or_default();
        *count += 1;
        *count
    }
}

/// Starts simulated processes of one engine. Their arguments: `sim MARK MILLISECONDS EXIT FAIL_FIRST EXECUTION STEP`: runs so
/// long, exits with that code, and with 1 as long as the log has fewer ends than that of this step. So what a process comes to
/// follows from the log, and is the same however often its engine was lost.
pub struct SimLauncher {
    pub marks: SharedMarks,
    /// The durable log, for looking only.
    pub truth: Arc<MemoryLog>,
    /// Fires when the machine, or the engine with its spawner, dies.
    pub dead: CancellationToken,
    /// When everything is to end.
    pub ends_at: watch::Sender<Duration>,
    pub began: Instant,
}

impl SimLauncher {
    pub fn new(marks: SharedMarks, truth: Arc<MemoryLog>) -> Arc<Self> {
        let dead = CancellationToken::new();
        Arc::new(Self { marks, truth, dead, ends_at: watch::Sender::new(Duration::MAX), began: Instant::now() })
    }

    /// How many runs of a step stand in the log with an end of their own.
    async fn ends(&self, execution: ExecutionId, step: &str) -> u64 {
        let commits = self.truth.read_stream(execution.into(), 0, usize::MAX).await.unwrap();
        let events = commits.iter().flat_map(|commit| &commit.events).map(|event| event.read().unwrap());
        let is_end = |event: &Event| match event {
            Event::StepFinished(end) => end.run.step == step && end.outcome != StepOutcome::Interrupted,
            _ => false,
        };
        events.filter(is_end).count() as u64
    }
}

fn lost() -> LaunchError {
    LaunchError::SpawnerLost("the simulated machine is dead".to_owned())
}

#[async_trait]
impl Launcher for SimLauncher {
    async fn launch(&self, spec: LaunchSpec) -> Result<Process, LaunchError> {
        let [program, mark, millis, exit, fail_first, execution, step] = spec.argv.as_slice() else {
            return Err(LaunchError::Command("bad arguments".to_owned()));
        };
        if program != "sim" {
            return Err(LaunchError::Command(format!("no such program: {program}")));
        }
        let number = |text: &String| text.parse::<u64>().unwrap();
        let is_early = self.ends(execution.parse().unwrap(), step).await < number(fail_first);
        if self.dead.is_cancelled() || self.uptime() >= *self.ends_at.borrow() {
            return Err(lost());
        }
        let ends_at = Instant::now() + Duration::from_millis(number(millis));
        let process = Arc::new(Alive {
            ended: AtomicBool::new(false),
            ends_at,
            dead: self.dead.clone(),
            lease: self.ends_at.subscribe(),
            began: self.began,
        });
        let count = self.marks.lock().unwrap().begin(mark, Arc::clone(&process));
        let code = if is_early { 1 } else { i32::try_from(number(exit)).unwrap() };
        let control = SimControl { process, code, signalled: Arc::new(watch::channel(false).0) };
        Ok(Process {
            pid: count,
            stdout: Box::new(std::io::Cursor::new(format!("{mark}\n").into_bytes())),
            stderr: Box::new(tokio::io::empty()),
            control: Box::new(control),
        })
    }

    fn is_lost(&self) -> bool {
        self.dead.is_cancelled() || self.uptime() >= *self.ends_at.borrow()
    }

    fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    async fn end_at(&self, uptime: Duration) -> Result<(), LaunchError> {
        self.ends_at.send_replace(uptime);
        Ok(())
    }
}

struct SimControl {
    process: Arc<Alive>,
    code: i32,
    signalled: Arc<watch::Sender<bool>>,
}

impl Drop for SimControl {
    fn drop(&mut self) {
        self.process.ended.store(true, Ordering::SeqCst);
    }
}

/// Resolves when the lease of the engine has run out.
async fn lease_over(mut lease: watch::Receiver<Duration>, began: Instant) {
    loop {
        let ends_at = *lease.borrow_and_update();
        let left = ends_at.saturating_sub(began.elapsed());
        if left.is_zero() {
            return;
        }
        let far = Duration::from_secs(3600 * 24 * 365);
        tokio::select! {
            biased;
            () = tokio::time::sleep(left.min(far)) => {}
            changed = lease.changed() => if changed.is_err() { return std::future::pending().await },
        }
    }
}

#[async_trait]
impl ProcessControl for SimControl {
    fn signal(&self, _: TreeSignal) {
        self.process.ended.store(true, Ordering::SeqCst);
        self.signalled.send_replace(true);
    }

    async fn exited(&mut self) -> Result<Exit, LaunchError> {
        let mut signalled = self.signalled.subscribe();
        let usage = ResourceUsage { user_ms: 1, system_ms: 1, peak_memory_bytes: 1 };
        let ago = Duration::ZERO;
        tokio::select! {
            biased;
            () = self.process.dead.cancelled() => Err(lost()),
            () = lease_over(self.process.lease.clone(), self.process.began) => Err(lost()),
            _ = signalled.wait_for(|signalled| *signalled) => Ok(Exit { code: None, signal: Some(15), usage, ago }),
            () = tokio::time::sleep_until(self.process.ends_at) => Ok(Exit { code: Some(self.code), signal: None, usage, ago }),
        }
    }

    async fn tree_gone(&mut self) -> Result<(), LaunchError> {
        self.exited().await.map(drop)
    }
}
