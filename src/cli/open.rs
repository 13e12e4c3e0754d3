//! Wires the log, the spawner and the engine together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use testledger_projections::router::Routing;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::audit::Sequencing;
use crate::cli::context::{self, Context};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{project, recover, vault};
use crate::engine::fate::Fates;
use crate::engine::recovery::OpenWork;
use crate::engine::{Engine, Parts};
use crate::event_store::SharedLog;
use crate::event_store::leases::SharedLeases;
use crate::event_store::leases::file::FileLeases;
use crate::event_store::mongodb::{MongoAddress, MongoLeases, MongoLog, MongoStore};
use crate::event_store::sqlite::SqliteLog;
use crate::ports::clock::SystemClock;
use crate::ports::ids::RandomIds;
use crate::ports::process::this_process;
use crate::settings::address;
use crate::steps::http::HttpClient;
use crate::steps::launcher::Launcher as _;
use crate::steps::spawner::Spawner;
use crate::views::Views;
use crate::views::projections::{Name, Projections};
use crate::views::steps::StepViews;
use crate::views::traces::TraceViews;

/// How long an audit waits for positions that a sequencer has not given yet.
const SEQUENCER_GRACE: Duration = Duration::from_secs(5);
/// How long the workers beside an engine may take to commit what they have read.
const PROJECTING_GRACE: Duration = Duration::from_secs(2);
/// How a store is named.
const MEND: &str = "write sqlite:PATH or mongodb://HOST:PORT/DATABASE?replicaSet=NAME";

/// Where a log and its views live.
enum Home {
    /// A SQLite file.
    File(PathBuf),
    /// A database of a MongoDB replica set.
    Database(MongoStore),
}

/// The place that `--store` names.
///
/// # Errors
/// [`Failure`] for a store of a kind that is not there, or that cannot be reached.
async fn home(context: &Context) -> Result<Home, Failure> {
    let store = &context.settings.store;
    match store.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Home::File(context.directory.join(path))),
        Some(("mongodb" | "mongodb+srv", _)) => {
            let address = MongoAddress::parse(store).await.map_err(Failure::usage)?;
            Ok(Home::Database(MongoStore::connect(address).await?))
        }
        Some(_) | None => Err(Failure::usage(format!("the store `{}`: {MEND}", address::without_password(store)))),
    }
}

impl Home {
    /// Opens the log; makes it where there is none.
    async fn open(&self, context: &Context) -> Result<SharedLog, Failure> {
        Ok(match self {
            Self::File(path) => SqliteLog::open_patiently(path, context.settings.store_patience).await?,
            Self::Database(store) => MongoLog::open(store.clone()).await?,
        })
    }

    /// The projections beside this log.
    async fn projections(&self, log: SharedLog, threshold: u64) -> Result<Projections, Failure> {
        let opened = match self {
            Self::File(path) => Projections::sqlite(log, path).await,
            Self::Database(store) => Projections::mongodb(log, &store.database()).await,
        };
        let opened = opened.map_err(|error| Failure::new(Exit::StoreUnavailable, error))?;
        Ok(opened.with_threshold(threshold))
    }

    /// The leases of engines beside this log.
    fn leases(&self, context: &Context) -> SharedLeases {
        match self {
            Self::File(path) => {
                // One folder for one file, whatever names lead to it.
                let mut folder = path.canonicalize().unwrap_or_else(|_| path.clone()).into_os_string();
                folder.push("-workers");
                FileLeases::new(PathBuf::from(folder))
            }
            Self::Database(store) => {
                let own = || std::env::temp_dir().join(format!("testledger-{}", nix::unistd::geteuid()));
                let folder = context.state_folder().unwrap_or_else(own).join("workers");
                MongoLeases::new(store.clone(), FileLeases::new(folder))
            }
        }
    }

    /// The executions' views beside this log.
    async fn views(&self, log: SharedLog) -> Result<Views, Failure> {
        let opened = match self {
            Self::File(path) => Views::sqlite(log, path).await,
            Self::Database(store) => Views::mongodb(log, &store.database()).await,
        };
        opened.map_err(|error| Failure::new(Exit::StoreUnavailable, error))
    }

    /// Opens the log if there is one.
    async fn open_existing(&self, context: &Context) -> Result<SharedLog, Failure> {
        match self {
            Self::File(path) => {
                // An empty file would become a new log: not for those who only look.
                if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0) {
                    let message = format!("{} is empty: it is no log, or its content was cut away", path.display());
                    return Err(Failure::new(Exit::LogIntegrity, message));
                }
                if !path.exists() {
                    return Err(no_log(&path.display().to_string()));
                }
                self.open(context).await
            }
            Self::Database(store) => match MongoLog::open_existing(store.clone()).await? {
                Some(log) => Ok(log),
                None => Err(no_log(&address::without_password(&context.settings.store))),
            },
        }
    }
}

/// How many items traces embed that are begun by this process.
fn threshold(context: &Context) -> u64 {
    context.settings.trace_embedding_threshold as u64
}

fn no_log(place: &str) -> Failure {
    let message = format!("there is no log at {place}: run something first, or name another with --store");
    Failure::new(Exit::StoreUnavailable, message)
}

/// A log that was there already, for reading and for small writes.
pub struct Existing {
    /// The log.
    pub log: SharedLog,
    home: Home,
    threshold: u64,
}

impl Existing {
    /// Opens the log that the settings name; it must be there already.
    ///
    /// # Errors
    /// [`Failure`] if there is none, or it cannot be used.
    pub async fn open(context: &Context) -> Result<Self, Failure> {
        let home = home(context).await?;
        Ok(Self { log: home.open_existing(context).await?, home, threshold: threshold(context) })
    }

    /// How this log gives positions.
    #[must_use]
    pub fn sequencing(&self) -> Sequencing {
        match self.home {
            Home::File(_) => Sequencing::WithAppend,
            Home::Database(_) => Sequencing::Behind { grace: SEQUENCER_GRACE },
        }
    }

    /// The views beside the log, as they are.
    ///
    /// # Errors
    /// [`Failure`] if they cannot be opened.
    pub async fn views(&self) -> Result<Views, Failure> {
        self.home.views(Arc::clone(&self.log)).await
    }

    /// What this process can know of other engines; nothing is done about it.
    #[must_use]
    pub fn fates(&self, context: &Context) -> Fates {
        Fates::only_looking(self.home.leases(context), this_process(&context::host()))
    }

    /// The statistics of steps beside the log, as they are.
    ///
    /// # Errors
    /// [`Failure`] if they cannot be opened.
    pub async fn steps(&self) -> Result<StepViews, Failure> {
        let log = Arc::clone(&self.log);
        let opened = match &self.home {
            Home::File(path) => StepViews::sqlite(log, path).await,
            Home::Database(store) => StepViews::mongodb(log, &store.database()).await,
        };
        opened.map_err(|error| Failure::new(Exit::StoreUnavailable, error))
    }

    /// All projections beside the log.
    ///
    /// # Errors
    /// [`Failure`] if they cannot be opened.
    pub async fn projections(&self) -> Result<Projections, Failure> {
        self.home.projections(Arc::clone(&self.log), self.threshold).await
    }

    /// The traces beside the log, as they are.
    ///
    /// # Errors
    /// [`Failure`] if they cannot be opened.
    pub async fn traces(&self) -> Result<TraceViews, Failure> {
        let log = Arc::clone(&self.log);
        let opened = match &self.home {
            Home::File(path) => TraceViews::sqlite(log, path).await,
            Home::Database(store) => TraceViews::mongodb(log, &store.database()).await,
        };
        let opened = opened.map_err(|error| Failure::new(Exit::StoreUnavailable, error))?;
        Ok(opened.with_threshold(self.threshold))
    }
}

/// A running engine with what it stands on.
pub struct Running {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The log.
    pub log: SharedLog,
    /// The store, where it was given as a flag.
    pub store_flag: Option<String>,
    /// Where abandoned executions are found.
    pub open_work: Arc<dyn OpenWork>,
    spawner: Arc<Spawner>,
    projecting: Option<Projecting>,
}

/// Workers that fold the log into views beside the engine.
struct Projecting {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Projecting {
    fn start(projections: Projections, routing: Routing) -> Self {
        let stop = CancellationToken::new();
        let working = stop.clone();
        let task = tokio::spawn(async move {
            projections.work(&Name::ALL, &project::holder(), &routing, &working).await;
        });
        Self { stop, task }
    }

    /// Commits what was read, and ends. What is left in the log is folded by whoever asks: so views hold up no run, whose
    /// store may be locked or away.
    async fn end(mut self) {
        self.stop.cancel();
        match tokio::time::timeout(PROJECTING_GRACE, &mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the projections ended early"),
            Err(_) => self.task.abort(),
        }
    }
}

impl Running {
    /// Starts an engine on the log that the settings name; the log is made if there is none.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn start(context: &Context) -> Result<Self, Failure> {
        let home = home(context).await?;
        let log = home.open(context).await?;
        let spawner = Spawner::start().await.map_err(|error| Failure::new(Exit::Internal, error))?;
        let parts = Parts {
            log: Arc::clone(&log),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            launcher: spawner.clone(),
            http: HttpClient::new(),
            leases: home.leases(context),
            vault: vault::of(context),
            settings: context.settings.clone(),
            actor: context.actor(),
            environment: context.environment.clone(),
            place: context.place(),
            process: this_process(&context::host()),
        };
        let engine = Engine::start(parts).await?;
        // On a server that is the work of processes of their own (`testledger project`).
        let projecting = match &home {
            Home::File(_) => {
                let projections = home.projections(Arc::clone(&log), threshold(context)).await?;
                Some(Projecting::start(projections, context.settings.routing.clone()))
            }
            Home::Database(_) => None,
        };
        let open_work = Arc::new(recover::Work::of(home.views(Arc::clone(&log)).await?));
        Ok(Self { engine, log, store_flag: context.store_flag.clone(), open_work, spawner, projecting })
    }

    /// Ends the engine in good order: the spawner, then its last append (whoever reads it may rely on that nothing of this
    /// engine is alive), then the log.
    pub async fn stop(self) {
        // Without it nobody knows whether anything is alive: whoever finds the lock free then, ends what is noted beside it.
        let is_orderly = !self.spawner.is_lost();
        self.spawner.close().await;
        if is_orderly {
            match self.engine.shut_down().await {
                Ok(_) => self.engine.give_up_lease().await,
                // The lease stays: its free lock proves the end that the log does not know of.
                Err(error) => tracing::warn!(%error, "the engine's end is not recorded"),
            }
        }
        if let Some(projecting) = self.projecting {
            projecting.end().await;
        }
        self.log.close().await;
    }
}
