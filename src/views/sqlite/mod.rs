//! Views in the same SQLite file as the log: tables of their own for each fold of a projection, made on demand, never the
//! truth.
//!
//! Several processes may bring them up to date at once: the checkpoint is compared inside of the transaction that
//! writes the views, so no event is folded in twice.

mod build;
mod executions;
mod leases;
mod steps;
mod traces;

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use testledger_projections::ports::{
    Checkpoint, Hold, ManagedStore, Saved, StoredView, Switched, ViewStore, ViewStoreError,
};
use testledger_projections::projection::Projection;

use crate::views::slot::Slot;
use crate::views::sqlite::build::{Build, CHECKPOINTS, State, begin, drop_unnamed};

pub use crate::views::sqlite::leases::SqliteLeases;

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many statements are kept prepared.
const STATEMENTS: usize = 64;
/// The tables that programs before this one kept their views in.
const OF_OLDER_PROGRAMS: &str = "
    DROP TABLE IF EXISTS view_checkpoints; DROP TABLE IF EXISTS view_executions;
    DROP TABLE IF EXISTS view_execution_tags; DROP TABLE IF EXISTS view_traces; DROP TABLE IF EXISTS view_flaky_steps;
";

/// A projection whose views may be kept in SQLite: what is its own about that. In its SQL, `@` stands for the beginning
/// of the tables' names.
pub trait Tabled: Projection {
    /// Makes its tables and indexes.
    const TABLES: &'static str;
    /// The JSON text of the view with the key `?1`.
    const READ: &'static str;
    /// Keys and JSON texts of the views after the key `?1`, in the order of keys, at most `?2`.
    const SCAN: &'static str;

    /// Puts a view in the place of the one with this key. `json` is the view as text; what else stands beside it is
    /// for lists.
    ///
    /// # Errors
    /// SQLite's.
    fn write(build: &Build<'_>, key: &str, view: &Self::View, json: &str) -> rusqlite::Result<()>;
}

/// The views of one projection in a SQLite file.
pub struct SqliteViews<P> {
    file: File,
    slot: Slot,
    projection: PhantomData<fn() -> P>,
}

/// One connection to the file.
#[derive(Clone)]
struct File {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
}

/// What can go wrong inside of one piece of work.
enum Fault {
    Sqlite(rusqlite::Error),
    Json(serde_json::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl Fault {
    /// The one place where errors of this adapter are translated.
    fn translate(self, path: &Path) -> ViewStoreError {
        let path = path.display();
        match self {
            Self::Sqlite(error) => ViewStoreError::Unavailable(format!("{path}: {error}")),
            Self::Json(error) => ViewStoreError::Unreadable(format!("{path}: {error}")),
        }
    }
}

impl File {
    async fn open(path: &Path) -> Result<Self, ViewStoreError> {
        let path = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || {
            let connection = connect(&path).map_err(|error| Fault::from(error).translate(&path))?;
            Ok(Self { path, connection: Arc::new(Mutex::new(connection)) })
        });
        opening.await.unwrap_or_else(|error| Err(ViewStoreError::Unavailable(error.to_string())))
    }

    /// Runs one piece of work on the connection, off the async threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, ViewStoreError> {
        let Self { path, connection } = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            // A panic inside of a transaction rolls it back, so a poisoned connection is as good as any.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection).map_err(|fault| fault.translate(&path))
        });
        task.await.unwrap_or_else(|error| Err(ViewStoreError::Unavailable(error.to_string())))
    }

    /// Runs one piece of work in a transaction that may write; what it returns is committed.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, ViewStoreError> {
        self.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let worked = work(&transaction)?;
            transaction.commit()?;
            Ok(worked)
        })
        .await
    }
}

impl<P: Tabled> SqliteViews<P> {
    /// Opens the views in the file of a log that was opened before.
    ///
    /// # Errors
    /// [`ViewStoreError::Unavailable`].
    pub async fn open(path: &Path) -> Result<Arc<Self>, ViewStoreError> {
        let file = File::open(path).await?;
        Ok(Arc::new(Self { file, slot: Slot::Shown, projection: PhantomData }))
    }

    /// Asks the tables with the views, in one snapshot; `none` is the answer where there are none yet.
    async fn ask<T: Send + 'static>(
        &self,
        none: T,
        question: impl FnOnce(&Build<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, ViewStoreError> {
        let slot = self.slot;
        self.file
            .run(move |connection| {
                let transaction = connection.transaction()?;
                match State::read::<P>(&transaction, slot)?.build::<P>(&transaction) {
                    Some(build) => question(&build),
                    None => Ok(none),
                }
            })
            .await
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Views can be folded again, so they are not synced one by one: with write-ahead logging a power cut may take the
    // last transactions, each whole. Erased text is overwritten in them as well.
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;")?;
    let has_table = "SELECT 1 FROM sqlite_schema WHERE name = 'view_leases'";
    if connection.query_row(has_table, [], |_| Ok(())).optional()?.is_none() {
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(OF_OLDER_PROGRAMS)?;
        transaction.execute_batch(CHECKPOINTS)?;
        transaction.execute_batch(leases::TABLE)?;
        transaction.commit()?;
    }
    Ok(connection)
}

fn read_view<P: Tabled>(build: &Build<'_>, key: &P::Key) -> Result<Option<P::View>, Fault> {
    let mut statement = build.prepare(P::READ)?;
    let json: Option<String> = statement.query_row(params![key.to_string()], |row| row.get(0)).optional()?;
    Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
}

/// A limit as SQLite has it.
fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl<P: Tabled> ViewStore<P> for SqliteViews<P> {
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError> {
        let slot = self.slot;
        self.file.run(move |connection| Ok(State::read::<P>(connection, slot)?.checkpoint)).await
    }

    async fn load(&self, keys: &[P::Key]) -> Result<Vec<Option<P::View>>, ViewStoreError> {
        let keys = keys.to_vec();
        let none = vec![None; keys.len()];
        self.ask(none, move |build| keys.iter().map(|key| read_view::<P>(build, key)).collect()).await
    }

    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(P::Key, P::View)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError> {
        let (slot, before, after) = (self.slot, before.clone(), after.clone());
        let saving = move |transaction: &Transaction<'_>| {
            let state = State::read::<P>(transaction, slot)?;
            if !state.checkpoint.is_same_place(&before) {
                return Ok(Saved::Overtaken);
            }
            let is_first = before.position == 0;
            let number = if is_first { begin::<P>(transaction, slot)? } else { state.number };
            let state = State { checkpoint: after, number };
            if let Some(build) = state.build::<P>(transaction) {
                for (key, view) in &views {
                    P::write(&build, &key.to_string(), view, &serde_json::to_string(view)?)?;
                }
            }
            state.write::<P>(transaction, slot)?;
            if is_first {
                drop_unnamed::<P>(transaction)?;
            }
            Ok(Saved::Yes)
        };
        self.file.write(saving).await
    }

    async fn reset(&self) -> Result<(), ViewStoreError> {
        let slot = self.slot;
        let resetting = move |transaction: &Transaction<'_>| {
            let checkpoint = State::read::<P>(transaction, slot)?.checkpoint.thrown_away();
            State { checkpoint, number: 0 }.write::<P>(transaction, slot)?;
            drop_unnamed::<P>(transaction)
        };
        self.file.write(resetting).await
    }
}

#[async_trait]
impl<P: Tabled> ManagedStore<P> for SqliteViews<P> {
    async fn fence(&self) -> Result<Checkpoint, ViewStoreError> {
        self.change(|checkpoint| checkpoint.epoch += 1).await
    }

    async fn hold(&self, hold: Option<Hold>) -> Result<(), ViewStoreError> {
        let changed = self.change(move |checkpoint| {
            checkpoint.epoch += 1;
            checkpoint.held = hold;
        });
        changed.await.map(drop)
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredView<P>>, ViewStoreError> {
        let after = after.unwrap_or_default().to_owned();
        self.ask(vec![], move |build| {
            let mut statement = build.prepare(P::SCAN)?;
            let rows = statement.query_map(params![after, limit_of(limit)], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            let read = |json: String| serde_json::from_str(&json).map_err(|error| error.to_string());
            rows.map(|row| row.map(|(key, json)| (key, read(json))).map_err(Fault::from)).collect()
        })
        .await
    }

    fn beside(&self) -> Arc<dyn ViewStore<P>> {
        Arc::new(Self { file: self.file.clone(), slot: Slot::Beside, projection: PhantomData })
    }

    async fn switch(&self) -> Result<Switched, ViewStoreError> {
        let switching = |transaction: &Transaction<'_>| {
            let shown = State::read::<P>(transaction, Slot::Shown)?.checkpoint;
            let State { checkpoint: beside, number } = State::read::<P>(transaction, Slot::Beside)?;
            if number == 0 {
                return Ok(Switched::Nothing);
            }
            if beside.position < shown.position {
                return Ok(Switched::Behind);
            }
            let left = beside.clone().thrown_away();
            let checkpoint = Checkpoint { epoch: shown.epoch + 1, held: shown.held, ..beside };
            State { checkpoint, number }.write::<P>(transaction, Slot::Shown)?;
            State { checkpoint: left, number: 0 }.write::<P>(transaction, Slot::Beside)?;
            drop_unnamed::<P>(transaction)?;
            Ok(Switched::Yes)
        };
        self.file.write(switching).await
    }
}

impl<P: Tabled> SqliteViews<P> {
    /// Changes the checkpoint in place, and returns it.
    async fn change(
        &self,
        change: impl FnOnce(&mut Checkpoint) + Send + 'static,
    ) -> Result<Checkpoint, ViewStoreError> {
        let slot = self.slot;
        let changing = move |transaction: &Transaction<'_>| {
            let mut state = State::read::<P>(transaction, slot)?;
            change(&mut state.checkpoint);
            state.write::<P>(transaction, slot)?;
            Ok(state.checkpoint)
        };
        self.file.write(changing).await
    }
}
