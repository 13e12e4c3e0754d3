//! Projection workers that are really killed while events flow, and what becomes of the views.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use testledger::event_store::SharedLog;
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger::event_store::sqlite::SqliteLog;
use testledger::views::feed::LogFeed;
use testledger::views::mongodb::{MongoLeases, MongoViews};
use testledger::views::projections::{Name, Projections};
use testledger::views::sqlite::{SqliteLeases, SqliteViews};
use testledger_projections::executions::Executions;
use testledger_projections::flaky_steps::FlakySteps;
use testledger_projections::ports::{
    Checkpoint, Hold, Leases, ManagedStore, Saved, StoredView, Switched, ViewStore, ViewStoreError,
};
use testledger_projections::projection::Projection;
use testledger_projections::router::Routing;
use testledger_projections::traces::Traces;
use testledger_projections::worker::follow::{Done, Follower};
use testledger_schemas::Hash;
use tokio_util::sync::CancellationToken;

use crate::history::Histories;

/// The first argument of a child that folds.
pub const WORKER: &str = "projecting-worker";
/// The name of every worker: the lease of one that was killed is free for the next.
const HOLDER: &str = "killed";
/// What a child writes when a batch begins to be saved, and when it is.
const SAVING: u8 = b'S';
const SAVED: u8 = b's';
/// A child that does nothing for so long hangs.
const HANG: Duration = Duration::from_secs(120);

/// A log with projections beside it, by its address: `sqlite:PATH` or `mongodb://…`.
pub async fn open(address: &str) -> (SharedLog, Projections) {
    match address.strip_prefix("sqlite:") {
        Some(path) => {
            let log: SharedLog = SqliteLog::open(Path::new(path)).await.unwrap();
            let projections = Projections::sqlite(log.clone(), Path::new(path)).await.unwrap();
            (log, projections)
        }
        None => {
            let store = MongoStore::connect(MongoAddress::parse(address).await.unwrap()).await.unwrap();
            let database = store.database();
            let log: SharedLog = MongoLog::open(store).await.unwrap();
            let projections = Projections::mongodb(log.clone(), &database).await.unwrap();
            (log, projections)
        }
    }
}

/// A store that says on standard output when it saves.
struct Marked<P: Projection>(Arc<dyn ManagedStore<P>>);

fn mark(byte: u8) {
    std::io::stdout().write_all(&[byte]).unwrap();
    std::io::stdout().flush().unwrap();
}

#[async_trait]
impl<P: Projection> ViewStore<P> for Marked<P> {
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError> {
        self.0.checkpoint().await
    }
    async fn load(&self, keys: &[P::Key]) -> Result<Vec<Option<P::View>>, ViewStoreError> {
        self.0.load(keys).await
    }
    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(P::Key, P::View)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError> {
        mark(SAVING);
        let saved = self.0.save(before, views, after).await;
        mark(SAVED);
        saved
    }
    async fn reset(&self) -> Result<(), ViewStoreError> {
        self.0.reset().await
    }
}

#[async_trait]
impl<P: Projection> ManagedStore<P> for Marked<P> {
    async fn fence(&self) -> Result<Checkpoint, ViewStoreError> {
        self.0.fence().await
    }
    async fn hold(&self, hold: Option<Hold>) -> Result<(), ViewStoreError> {
        self.0.hold(hold).await
    }
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredView<P>>, ViewStoreError> {
        self.0.scan(after, limit).await
    }
    fn beside(&self) -> Arc<dyn ViewStore<P>> {
        self.0.beside()
    }
    async fn switch(&self) -> Result<Switched, ViewStoreError> {
        self.0.switch().await
    }
}

struct Stores {
    executions: Marked<Executions>,
    traces: Marked<Traces>,
    flaky_steps: Marked<FlakySteps>,
    leases: Arc<dyn Leases>,
}

async fn stores(address: &str) -> Stores {
    match address.strip_prefix("sqlite:") {
        Some(path) => {
            let path = Path::new(path);
            Stores {
                executions: Marked(SqliteViews::<Executions>::open(path).await.unwrap()),
                traces: Marked(SqliteViews::<Traces>::open(path).await.unwrap()),
                flaky_steps: Marked(SqliteViews::<FlakySteps>::open(path).await.unwrap()),
                leases: SqliteLeases::open(path).await.unwrap(),
            }
        }
        None => {
            let store = MongoStore::connect(MongoAddress::parse(address).await.unwrap()).await.unwrap();
            let database = store.database();
            Stores {
                executions: Marked(MongoViews::<Executions>::open(&database).await.unwrap()),
                traces: Marked(MongoViews::<Traces>::open(&database).await.unwrap()),
                flaky_steps: Marked(MongoViews::<FlakySteps>::open(&database).await.unwrap()),
                leases: MongoLeases::new(&database),
            }
        }
    }
}

/// The child: folds until it is killed. Arguments: address.
pub fn worker_main(args: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (log, _) = open(&args[0]).await;
        let (feed, stores, stop) = (LogFeed::new(log), stores(&args[0]).await, CancellationToken::new());
        let traces = Traces::default();
        tokio::join!(
            follow(&Executions, &stores.executions, &feed, &*stores.leases, &stop),
            follow(&traces, &stores.traces, &feed, &*stores.leases, &stop),
            follow(&FlakySteps, &stores.flaky_steps, &feed, &*stores.leases, &stop),
        );
    });
    ExitCode::SUCCESS
}

async fn follow<P: Projection>(
    projection: &P,
    store: &Marked<P>,
    feed: &LogFeed,
    leases: &dyn Leases,
    stop: &CancellationToken,
) {
    let (routing, done) = (Routing::default(), Done::default());
    Follower { projection, feed, store, leases, holder: HOLDER, routing, done: &done }.work(stop).await;
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// How many workers were killed.
    pub kills: usize,
    /// How many of them while a batch was being saved.
    pub in_flight: usize,
    /// How many events there are.
    pub events: u64,
    /// How many views there should be, of all projections.
    pub views: u64,
    /// How many of them are not what a replay gives.
    pub differences: u64,
    /// The first of those.
    pub first: Option<String>,
}

/// Kills workers `kills` times while at least `events` events flow, three of four while they save.
pub async fn killed(address: &str, kills: usize, events: u64, seed: u64) -> Found {
    let (log, projections) = open(address).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut histories = Histories::new(seed, Hash::of(b"plan"));
    let mut found = Found::default();
    let share = events / kills as u64 + 1;
    for kill in 0..kills {
        let mut child = start(address);
        let mut output = child.stdout.take().unwrap();
        let (appending, log) = (CancellationToken::new(), log.clone());
        let commits = histories.suite(&format!("suite-{}", kill % 7), (share / 10 + 1) as u32);
        found.events += commits.iter().map(|commit| commit.events.len() as u64).sum::<u64>();
        let task = tokio::spawn({
            let appending = appending.clone();
            async move {
                for commit in commits {
                    log.append(commit).await.unwrap();
                    if !appending.is_cancelled() {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
            }
        });
        let is_aimed = kill % 4 != 3;
        let wait = Duration::from_micros(random.random_range(0..1_500));
        let by_chance = Duration::from_millis(random.random_range(50..400));
        let last = tokio::task::spawn_blocking(move || {
            // Of the bytes that come the last one counts; a reader that is killed with its writer sees them all.
            if is_aimed {
                let mut byte = [0];
                while output.read(&mut byte).unwrap() == 1 && byte[0] != SAVING {}
                std::thread::sleep(wait);
            } else {
                std::thread::sleep(by_chance);
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let mut rest = vec![if is_aimed { SAVING } else { SAVED }];
            output.read_to_end(&mut rest).unwrap();
            // Three projections save side by side: one that began and did not end was in flight.
            let open = rest.iter().fold(0_i64, |open, byte| open + if *byte == SAVING { 1 } else { -1 });
            if is_aimed { open > 0 } else { open > -1 }
        });
        let in_flight = tokio::time::timeout(HANG, last).await.expect("a worker hangs").unwrap();
        found.kills += 1;
        found.in_flight += usize::from(in_flight);
        appending.cancel();
        task.await.unwrap();
    }
    let mut head = log.head();
    head.wait_for(|head| *head >= found.events).await.unwrap();
    projections.catch_up(&Name::ALL).await.unwrap();
    for compared in projections.compare().await.unwrap() {
        assert_eq!(compared.position, found.events);
        found.views += compared.views;
        found.differences += compared.differences_total;
        if found.first.is_none() && compared.differences_total > 0 {
            found.first = Some(compared.to_text());
        }
    }
    log.close().await;
    found
}

fn start(address: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([WORKER, address]).stdout(Stdio::piped()).spawn().unwrap()
}
