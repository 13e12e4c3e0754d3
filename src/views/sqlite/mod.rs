//! Views in the same SQLite file as the log: tables of their own for each projection, made on demand, never the truth.
//!
//! Several processes may bring them up to date at once: the checkpoint is compared inside of the transaction that
//! writes the views, so no event is folded in twice.

mod executions;
mod steps;
mod traces;

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use testledger_projections::ports::{Checkpoint, Saved, ViewStore, ViewStoreError};
use testledger_projections::projection::Projection;

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(30);

/// The table of the checkpoints, one row for each projection.
const CHECKPOINTS: &str = "
    CREATE TABLE IF NOT EXISTS view_checkpoints (
        name TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, checkpoint TEXT NOT NULL) STRICT;
";

/// A projection whose views may be kept in SQLite: what is its own about that.
pub trait Tabled: Projection {
    /// Makes its tables and indexes, where they are missing.
    const TABLES: &'static str;
    /// The last of what that makes: where it is, everything is.
    const LAST: &'static str;
    /// Empties its tables.
    const EMPTY: &'static str;
    /// The JSON text of the view with the key `?1`.
    const READ: &'static str;

    /// Puts a view in the place of the one with this key. `json` is the view as text; what else stands beside it is
    /// for lists.
    ///
    /// # Errors
    /// SQLite's.
    fn write(connection: &Connection, key: &str, view: &Self::View, json: &str) -> rusqlite::Result<()>;
}

/// The views of one projection in a SQLite file.
pub struct SqliteViews<P> {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
    projection: PhantomData<fn() -> P>,
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

impl<P: Tabled> SqliteViews<P> {
    /// Opens the views in the file of a log that was opened before; makes their tables where they are missing.
    ///
    /// # Errors
    /// [`ViewStoreError::Unavailable`].
    pub async fn open(path: &Path) -> Result<Arc<Self>, ViewStoreError> {
        let path = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || {
            let connection = connect::<P>(&path).map_err(|error| Fault::from(error).translate(&path))?;
            Ok(Arc::new(Self { path, connection: Arc::new(Mutex::new(connection)), projection: PhantomData }))
        });
        opening.await.unwrap_or_else(|error| Err(ViewStoreError::Unavailable(error.to_string())))
    }

    /// Runs one piece of work on the connection, off the async threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, ViewStoreError> {
        let connection = Arc::clone(&self.connection);
        let path = self.path.clone();
        let task = tokio::task::spawn_blocking(move || {
            // A panic inside of a transaction rolls it back, so a poisoned connection is as good as any.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection).map_err(|fault| fault.translate(&path))
        });
        task.await.unwrap_or_else(|error| Err(ViewStoreError::Unavailable(error.to_string())))
    }
}

fn connect<P: Tabled>(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    // Views can be folded again, so they are not synced one by one: with write-ahead logging a power cut may take the
    // last transactions, each whole. Erased text is overwritten in them as well.
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;")?;
    let has_tables = "SELECT 1 FROM sqlite_schema WHERE name = ?1";
    if connection.query_row(has_tables, [P::LAST], |_| Ok(())).optional()?.is_none() {
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(CHECKPOINTS)?;
        transaction.execute_batch(P::TABLES)?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// The stored checkpoint; the start, where there is none of this version of the fold.
fn read_checkpoint<P: Projection>(connection: &Connection) -> Result<Checkpoint, Fault> {
    let sql = "SELECT checkpoint FROM view_checkpoints WHERE name = ?1 AND version = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let stored: Option<String> = statement.query_row(params![P::NAME, P::VERSION], |row| row.get(0)).optional()?;
    Ok(stored.map(|json| serde_json::from_str(&json)).transpose()?.unwrap_or(Checkpoint::START))
}

fn write_checkpoint<P: Projection>(connection: &Connection, checkpoint: &Checkpoint) -> Result<(), Fault> {
    let sql = "INSERT INTO view_checkpoints (name, version, checkpoint) VALUES (?1, ?2, ?3)
               ON CONFLICT (name) DO UPDATE SET version = excluded.version, checkpoint = excluded.checkpoint";
    let json = serde_json::to_string(checkpoint)?;
    connection.prepare_cached(sql)?.execute(params![P::NAME, P::VERSION, json])?;
    Ok(())
}

fn read_view<P: Tabled>(connection: &Connection, key: &P::Key) -> Result<Option<P::View>, Fault> {
    let mut statement = connection.prepare_cached(P::READ)?;
    let json: Option<String> = statement.query_row(params![key.to_string()], |row| row.get(0)).optional()?;
    Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
}

#[async_trait]
impl<P: Tabled> ViewStore<P> for SqliteViews<P> {
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError> {
        self.run(|connection| read_checkpoint::<P>(connection)).await
    }

    async fn load(&self, keys: &[P::Key]) -> Result<Vec<Option<P::View>>, ViewStoreError> {
        let keys = keys.to_vec();
        self.run(move |connection| {
            // One snapshot: the views of one checkpoint, and none of a worker that is writing.
            let transaction = connection.transaction()?;
            // Views of another version of the fold are none: the rebuild begins without them.
            if read_checkpoint::<P>(&transaction)?.position == 0 {
                return Ok(vec![None; keys.len()]);
            }
            keys.iter().map(|key| read_view::<P>(&transaction, key)).collect()
        })
        .await
    }

    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(P::Key, P::View)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError> {
        let (before, after) = (before.clone(), after.clone());
        self.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !read_checkpoint::<P>(&transaction)?.is_same_place(&before) {
                return Ok(Saved::Overtaken);
            }
            if before.position == 0 {
                transaction.execute_batch(P::EMPTY)?;
            }
            for (key, view) in &views {
                P::write(&transaction, &key.to_string(), view, &serde_json::to_string(view)?)?;
            }
            write_checkpoint::<P>(&transaction, &after)?;
            transaction.commit()?;
            Ok(Saved::Yes)
        })
        .await
    }

    async fn reset(&self) -> Result<(), ViewStoreError> {
        self.run(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(P::EMPTY)?;
            transaction.execute("DELETE FROM view_checkpoints WHERE name = ?1", params![P::NAME])?;
            transaction.commit()?;
            Ok(())
        })
        .await
    }
}
