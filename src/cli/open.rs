//! Wires the log, the spawner and the engine together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::context::{self, Context};
use crate::cli::exit::{Exit, Failure};
use crate::engine::{Engine, Parts, this_process};
use crate::event_store::SharedLog;
use crate::event_store::sqlite::SqliteLog;
use crate::ports::clock::SystemClock;
use crate::ports::ids::RandomIds;
use crate::steps::http::HttpClient;
use crate::steps::spawner::Spawner;

/// The path of the file that `--store` names.
///
/// # Errors
/// [`Failure`] for a store of a kind that is not there.
pub fn store_path(context: &Context) -> Result<PathBuf, Failure> {
    let store = &context.settings.store;
    match store.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(context.directory.join(path)),
        Some(("mongodb" | "mongodb+srv", _)) => Err(Failure::usage(format!(
            "the store `{store}`: MongoDB is not built yet; use sqlite:PATH (the default is sqlite:.testledger/ledger.db)"
        ))),
        Some(_) | None => Err(Failure::usage(format!("the store `{store}`: write sqlite:PATH"))),
    }
}

/// Opens the log for reading and for small writes; it must be there already.
///
/// # Errors
/// [`Failure`] if there is none, or it cannot be used.
pub async fn existing_log(context: &Context) -> Result<(SharedLog, PathBuf), Failure> {
    let path = store_path(context)?;
    // An empty file would become a new log: not for those who only look.
    if std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() == 0) {
        let message = format!("{} is empty: it is no log, or its content was cut away", path.display());
        return Err(Failure::new(Exit::LogIntegrity, message));
    }
    if !path.exists() {
        let message =
            format!("there is no log at {}: run something first, or name another with --store", path.display());
        return Err(Failure::new(Exit::StoreUnavailable, message));
    }
    Ok((open(context, &path).await?, path))
}

async fn open(context: &Context, path: &Path) -> Result<SharedLog, Failure> {
    Ok(SqliteLog::open_patiently(path, context.settings.store_patience).await?)
}

/// A running engine with what it stands on.
pub struct Running {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The log.
    pub log: SharedLog,
    /// The store, where it was given as a flag.
    pub store_flag: Option<String>,
    spawner: Arc<Spawner>,
}

impl Running {
    /// Starts an engine on the log that the settings name; the log is made if there is none.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn start(context: &Context) -> Result<Self, Failure> {
        let log = open(context, &store_path(context)?).await?;
        let spawner = Spawner::start().await.map_err(|error| Failure::new(Exit::Internal, error))?;
        let parts = Parts {
            log: Arc::clone(&log),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            launcher: spawner.clone(),
            http: HttpClient::new(),
            settings: context.settings.clone(),
            actor: context.actor(),
            environment: context.environment.clone(),
            place: context.place(),
            process: this_process(&context::host()),
        };
        let engine = Engine::start(parts).await?;
        Ok(Self { engine, log, store_flag: context.store_flag.clone(), spawner })
    }

    /// Ends the engine in good order: its last append, then the spawner, then the log.
    pub async fn stop(self) {
        if let Err(error) = self.engine.shut_down().await {
            tracing::warn!(%error, "the engine's end is not recorded");
        }
        self.spawner.close().await;
        self.log.close().await;
    }
}
