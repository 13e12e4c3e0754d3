//! The shell around the decider: load, decide, append, act.
//!
//! [`Engine::request`] makes executions durable, [`Engine::run`] carries one out. A suite is [`suite`], a case is
//! [`case`], its steps are carried out by the room `steps/`. Only [`journal`] appends.

mod attempt;
pub mod case;
pub mod error;
pub mod execution;
pub mod fate;
pub mod follow;
pub mod journal;
pub mod lease;
pub mod overhead;
pub mod past;
mod planted;
pub mod record;
pub mod recovery;
pub mod request;
pub mod schedule;
pub mod services;
pub mod stop;
pub mod suite;
pub mod sweeper;
pub mod vault;
pub mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use testledger_schemas::commit::{CommitId, StreamHead};
use testledger_schemas::event::{StartContent, WorkerStarted, WorkerStopped};
use testledger_schemas::ids::{StreamId, WorkerId};
use testledger_schemas::page::Anchor;
use testledger_schemas::{Event, ExecutionId, Plan};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Update};
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::fate::Fates;
use crate::engine::follow::Followed;
use crate::engine::journal::{AppendLatencies, AppendRefused, Journal, OwnCommits, Place, SharedJournal};
use crate::engine::overhead::Overheads;
use crate::engine::request::Requests;
use crate::engine::stop::Stop;
use crate::engine::vault::Vault;
use crate::engine::watch::Watched;
use crate::event_store::SharedLog;
use crate::event_store::leases::SharedLeases;
use crate::event_store::patient::PatientLog;
use crate::execution::Refusal;
use crate::ports::clock::SharedClock;
use crate::ports::ids::SharedIds;
use crate::settings::{Settings, address};
use crate::steps::context::LiveSink;
use crate::steps::http::HttpClient;
use crate::steps::launcher::SharedLauncher;
use crate::steps::redact::Redactor;

/// How often an execution may change hands between engines while one of them waits for its end.
const MAX_TURNS: usize = 1_000;

/// The ports and facts an engine is made of.
pub struct Parts {
    /// The log.
    pub log: SharedLog,
    /// The time of day.
    pub clock: SharedClock,
    /// New ids.
    pub ids: SharedIds,
    /// Starts processes.
    pub launcher: SharedLauncher,
    /// Sends HTTP requests.
    pub http: HttpClient,
    /// The leases of engines.
    pub leases: SharedLeases,
    /// Keeps secret captures for a recovery.
    pub vault: Vault,
    /// Settings.
    pub settings: Settings,
    /// Who causes what is appended.
    pub actor: String,
    /// The environment that commands start from.
    pub environment: BTreeMap<String, String>,
    /// What repeating a test needs to know of this place.
    pub place: StartContent,
    /// This process, as the log names it.
    pub process: WorkerStarted,
}

/// One engine: it has a worker id, and everything it runs is claimed under that.
pub struct Engine {
    /// Settings.
    pub settings: Settings,
    /// Where it appends.
    pub journal: SharedJournal,
    /// What it costs.
    pub overheads: Overheads,
    worker: WorkerId,
    fates: Fates,
    vault: Vault,
    launcher: SharedLauncher,
    http: HttpClient,
    redactor: Redactor,
    environment: BTreeMap<String, String>,
    place: StartContent,
    slots: Arc<Semaphore>,
    watched: Arc<Watched>,
    head: Mutex<StreamHead>,
    requested: Requests,
}

impl Engine {
    /// Starts an engine: its first append is its own, and everything acknowledged before that stands in the pages when
    /// this returns.
    ///
    /// # Errors
    /// [`ExecutionError`] if the log cannot be read or written.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, ExecutionError> {
        let worker = parts.ids.worker_id();
        let journal = Arc::new(Journal {
            log: PatientLog::new(parts.log, parts.settings.store_patience),
            clock: parts.clock,
            worker: Some(worker),
            ids: parts.ids,
            actor: parts.actor,
            bus: Bus::default(),
            store_patience: parts.settings.store_patience,
            own: OwnCommits::default(),
            latencies: AppendLatencies::default(),
            lost: CancellationToken::new(),
        });
        let from_page = journal.log.last_page().await?.number;
        let watched = Arc::new(Watched::default());
        // Commands inherit the environment, and with it perhaps the address of a store, which a flag may have overruled.
        let inherited = parts.environment.get(address::VARIABLE);
        let stores = [Some(&parts.settings.store), inherited].into_iter().flatten();
        let secrets: Vec<String> = stores.flat_map(|store| address::secrets(store)).collect();
        let engine = Arc::new(Self {
            slots: Arc::new(Semaphore::new(parts.settings.max_concurrent)),
            settings: parts.settings,
            journal: Arc::clone(&journal),
            overheads: Overheads::default(),
            worker,
            fates: Fates::new(Arc::clone(&parts.leases), parts.process.clone()),
            vault: parts.vault,
            launcher: parts.launcher,
            http: parts.http,
            redactor: Redactor::new(secrets),
            environment: parts.environment,
            place: parts.place,
            watched: Arc::clone(&watched),
            head: Mutex::new(StreamHead::EMPTY),
            requested: Requests::default(),
        });
        watch::follow(Arc::clone(&journal), watched, from_page);
        lease::keep(&engine, parts.leases, &parts.process).await?;
        engine.append_own(parts.process.into()).await?;
        journal.settled().await?;
        Ok(engine)
    }

    /// This engine can start nothing any more: whatever it has begun is for another one to recover.
    fn is_lost_for(&self, reason: &str) -> ExecutionError {
        self.journal.lost.cancel();
        ExecutionError::WorkerLost(reason.to_owned())
    }

    /// The bus on which this engine tells what it does.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.journal.bus
    }

    /// This engine's id.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Brings an execution that was requested to its end: carries it out, or, while another engine has it, waits for
    /// what comes of that. It is not over when this returns only if `stop` fired while another engine had it.
    ///
    /// # Errors
    /// [`ExecutionError`]; what was acknowledged until then stays, and can be recovered.
    pub async fn run(
        self: &Arc<Self>,
        id: ExecutionId,
        plan: Arc<Plan>,
        stop: &Stop,
    ) -> Result<Execution, ExecutionError> {
        let mut execution = Execution::load(Arc::clone(&self.journal), id, id).await?;
        // Whoever cancels this execution has not asked for what else the caller has in mind.
        let stop = &stop.narrower();
        let _watch = self.watched.watch(id, stop.clone());
        for _ in 0..MAX_TURNS {
            match follow::until_released(self, &mut execution, stop).await? {
                Followed::GivenUp => return Ok(execution),
                // Also what is over: a suite that was cancelled before anybody had it may have open cases.
                Followed::Over | Followed::Free => self.carry_out(&mut execution, &plan, stop).await?,
            }
            if execution.state().is_final() {
                return Ok(execution);
            }
        }
        Err(ExecutionError::Internal(format!("execution {id} changed hands {MAX_TURNS} times")))
    }

    /// Carries it out. When another engine is quicker, it is left to that one.
    async fn carry_out(
        self: &Arc<Self>,
        execution: &mut Execution,
        plan: &Arc<Plan>,
        stop: &Stop,
    ) -> Result<(), ExecutionError> {
        self.learn_captures(execution, plan).await?;
        let ran = if plan.is_suite {
            suite::run(self, plan, execution, stop).await
        } else {
            case::run_alone(self, plan, execution, stop).await
        };
        match ran {
            Err(ExecutionError::Refused { refusal: Refusal::AlreadyClaimed(_), .. }) => Ok(()),
            ran => ran,
        }
    }

    /// What proves everything this engine has done until now: the page that holds its last commit, or a later one.
    ///
    /// # Errors
    /// [`ExecutionError`] if the log cannot be read.
    pub async fn anchor(&self) -> Result<Anchor, ExecutionError> {
        Ok(self.journal.settled().await?.anchor())
    }

    /// Ends the engine's work in good order.
    ///
    /// # Errors
    /// [`ExecutionError`] if the log cannot be written.
    pub async fn shut_down(&self) -> Result<CommitId, ExecutionError> {
        self.append_own(WorkerStopped {}.into()).await
    }

    /// Gives this engine's lease up: after its last append. It would run out by itself.
    pub async fn give_up_lease(&self) {
        self.journal.lost.cancel();
        if let Err(error) = self.fates.give_up(self.worker).await {
            tracing::debug!(%error, "the lease is left to run out");
        }
    }

    async fn append_own(&self, event: Event) -> Result<CommitId, ExecutionError> {
        let mut head = self.head.lock().await;
        let stream = StreamId::from(self.worker);
        let place = Place { stream, head: *head, claim_epoch: None, correlation_id: None, causation_id: None };
        match self.journal.append(place, vec![event]).await {
            Ok(appended) => {
                *head = appended.head;
                Ok(CommitId { stream, number: appended.head.number })
            }
            Err(AppendRefused::Conflict) => {
                Err(ExecutionError::Internal("another engine writes under this engine's id".to_owned()))
            }
            Err(AppendRefused::Error(error)) => Err(error),
        }
    }

    /// What must not be seen: the secrets of this plan, of all others that run here, and what their steps captured. One
    /// for the whole engine, because a service, or another case, may print what a step has captured.
    fn redactor(&self, plan: &Plan) -> Redactor {
        plan.secrets
            .iter()
            .filter_map(|name| self.environment.get(name))
            .for_each(|secret| self.redactor.learn(secret));
        self.redactor.clone()
    }

    fn live(&self) -> LiveSink {
        let bus = self.journal.bus.clone();
        Arc::new(move |output| bus.publish(Update::Output(output)))
    }
}
