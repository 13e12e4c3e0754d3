//! The executions' views in the same SQLite file as the log: tables of their own, made on demand, never the truth.
//!
//! Several processes may bring them up to date at once: the checkpoint is compared inside of the transaction that
//! writes the views, so no event is folded in twice.

mod queries;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::ports::{Checkpoint, Saved, ViewStore, ViewStoreError};
use testledger_projections::projection::Projection;
use testledger_schemas::ids::ExecutionId;

use crate::views::query::kind_text;

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(30);

/// A view is JSON text; the columns beside it are what lists ask for.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS view_checkpoints (
        name TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, checkpoint TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS view_executions (
        id TEXT PRIMARY KEY NOT NULL, requested_at INTEGER NOT NULL, first_position INTEGER NOT NULL,
        status TEXT NOT NULL, is_final INTEGER NOT NULL, kind TEXT NOT NULL, suite TEXT NOT NULL, case_id TEXT,
        parent_id TEXT, view TEXT NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS view_executions_by_time ON view_executions (requested_at, id);
    CREATE INDEX IF NOT EXISTS view_executions_by_status ON view_executions (status, requested_at, id);
    CREATE INDEX IF NOT EXISTS view_executions_by_suite ON view_executions (suite, requested_at, id);
    CREATE INDEX IF NOT EXISTS view_executions_by_parent ON view_executions (parent_id, first_position);
    CREATE TABLE IF NOT EXISTS view_execution_tags (
        tag TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tag, id)) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS view_execution_tags_by_id ON view_execution_tags (id);
";
const EMPTY: &str = "DELETE FROM view_executions; DELETE FROM view_execution_tags;";

/// The executions' views in a SQLite file.
pub struct SqliteViews {
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

impl SqliteViews {
    /// Opens the views in the file of a log that was opened before; makes their tables where they are missing.
    ///
    /// # Errors
    /// [`ViewStoreError::Unavailable`].
    pub async fn open(path: &Path) -> Result<Arc<Self>, ViewStoreError> {
        let path = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || {
            let connection = connect(&path).map_err(|error| Fault::from(error).translate(&path))?;
            Ok(Arc::new(Self { path, connection: Arc::new(Mutex::new(connection)) }))
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

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    // Views can be folded again, so they are not synced one by one: with write-ahead logging a power cut may take the
    // last transactions, each whole. Erased text is overwritten in them as well.
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;")?;
    let has_tables = "SELECT 1 FROM sqlite_schema WHERE name = 'view_execution_tags_by_id'";
    if connection.query_row(has_tables, [], |_| Ok(())).optional()?.is_none() {
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(TABLES)?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// The stored checkpoint; the start, where there is none of this version of the fold.
fn read_checkpoint(connection: &Connection) -> Result<Checkpoint, Fault> {
    let sql = "SELECT checkpoint FROM view_checkpoints WHERE name = ?1 AND version = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let stored: Option<String> =
        statement.query_row(params![Executions::NAME, Executions::VERSION], |row| row.get(0)).optional()?;
    Ok(stored.map(|json| serde_json::from_str(&json)).transpose()?.unwrap_or(Checkpoint::START))
}

fn write_checkpoint(connection: &Connection, checkpoint: &Checkpoint) -> Result<(), Fault> {
    let sql = "INSERT INTO view_checkpoints (name, version, checkpoint) VALUES (?1, ?2, ?3)
               ON CONFLICT (name) DO UPDATE SET version = excluded.version, checkpoint = excluded.checkpoint";
    let json = serde_json::to_string(checkpoint)?;
    connection.prepare_cached(sql)?.execute(params![Executions::NAME, Executions::VERSION, json])?;
    Ok(())
}

fn write_view(connection: &Connection, view: &ExecutionView) -> Result<(), Fault> {
    let sql = "INSERT OR REPLACE INTO view_executions
               (id, requested_at, first_position, status, is_final, kind, suite, case_id, parent_id, view)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let id = view.id.to_string();
    connection.prepare_cached(sql)?.execute(params![
        id,
        view.requested_at.unwrap_or_default().unix_ms(),
        view.first_position.cast_signed(),
        view.status.as_str(),
        view.is_final,
        kind_text(view.kind),
        view.suite,
        view.case,
        view.parent_id.map(|id| id.to_string()),
        serde_json::to_string(view)?,
    ])?;
    let mut tag = connection.prepare_cached("INSERT OR IGNORE INTO view_execution_tags (tag, id) VALUES (?1, ?2)")?;
    for text in &view.tags {
        tag.execute(params![text, id])?;
    }
    Ok(())
}

fn read_view(connection: &Connection, id: ExecutionId) -> Result<Option<ExecutionView>, Fault> {
    let mut statement = connection.prepare_cached("SELECT view FROM view_executions WHERE id = ?1")?;
    let json: Option<String> = statement.query_row(params![id.to_string()], |row| row.get(0)).optional()?;
    Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
}

#[async_trait]
impl ViewStore<Executions> for SqliteViews {
    async fn checkpoint(&self) -> Result<Checkpoint, ViewStoreError> {
        self.run(|connection| read_checkpoint(connection)).await
    }

    async fn load(&self, keys: &[ExecutionId]) -> Result<Vec<Option<ExecutionView>>, ViewStoreError> {
        let keys = keys.to_vec();
        self.run(move |connection| {
            // One snapshot: the views of one checkpoint, and none of a worker that is writing.
            let transaction = connection.transaction()?;
            // Views of another version of the fold are none: the rebuild begins without them.
            if read_checkpoint(&transaction)?.position == 0 {
                return Ok(vec![None; keys.len()]);
            }
            keys.into_iter().map(|id| read_view(&transaction, id)).collect()
        })
        .await
    }

    async fn save(
        &self,
        before: &Checkpoint,
        views: Vec<(ExecutionId, ExecutionView)>,
        after: &Checkpoint,
    ) -> Result<Saved, ViewStoreError> {
        let (before, after) = (before.clone(), after.clone());
        self.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !read_checkpoint(&transaction)?.is_same_place(&before) {
                return Ok(Saved::Overtaken);
            }
            if before.position == 0 {
                transaction.execute_batch(EMPTY)?;
            }
            views.iter().try_for_each(|(_, view)| write_view(&transaction, view))?;
            write_checkpoint(&transaction, &after)?;
            transaction.commit()?;
            Ok(Saved::Yes)
        })
        .await
    }

    async fn reset(&self) -> Result<(), ViewStoreError> {
        self.run(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(EMPTY)?;
            transaction.execute("DELETE FROM view_checkpoints WHERE name = ?1", params![Executions::NAME])?;
            transaction.commit()?;
            Ok(())
        })
        .await
    }
}
