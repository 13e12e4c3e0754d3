//! The file: how it is opened, created once whoever comes first, and known for a log of ours.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use testledger_schemas::ids::LogId;
use testledger_schemas::page::{FORMAT_VERSION, Page};

use crate::event_store::StoreError;
use crate::event_store::sqlite::errors::{Translator, is_busy};
use crate::ports::ids::{Ids, RandomIds};

/// Marks the file as a log of testledger (`PRAGMA application_id`): the letters `tldg`.
pub const APPLICATION_ID: i64 = 0x746c_6467;
/// The wait between two tries for a lock that another process holds.
const BUSY_RETRY: Duration = Duration::from_millis(2);
/// How long an erasure waits for readers of other processes.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(2);
/// The write-ahead file is cut back to so many bytes after a checkpoint.
const WAL_KEPT_BYTES: i64 = 64 << 20;

/// Two tables hold the truth, the third what they name by hash. The JSON text is the document; `id`, `number` and
/// `first_position` only find it, and are compared with it on every read.
const TABLES: &str = "
    CREATE TABLE commits (id TEXT PRIMARY KEY NOT NULL, json TEXT NOT NULL) STRICT;
    CREATE TABLE pages (number INTEGER PRIMARY KEY, first_position INTEGER NOT NULL, json TEXT NOT NULL) STRICT;
    CREATE INDEX pages_by_position ON pages (first_position);
    CREATE TABLE artifacts (hash TEXT PRIMARY KEY NOT NULL, bytes BLOB NOT NULL) STRICT;
";
/// When each artifact was put last. Files of older programs have no such table until they are opened.
const ARTIFACT_PUTS: &str = "
    CREATE TABLE IF NOT EXISTS artifact_puts (hash TEXT PRIMARY KEY NOT NULL, put_at INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
";

/// Where the log is, and how long another process may hold it.
#[derive(Clone, Debug)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    pub(super) patience: Duration,
    pub(super) errors: Translator,
}

impl LogFile {
    pub(super) fn new(path: &Path, patience: Duration) -> Self {
        Self { path: path.to_owned(), patience, errors: Translator::new(path) }
    }

    /// The connection of the writer; creates folder, file and page 0 where they are missing.
    pub(super) fn open_writer(&self) -> Result<Connection, StoreError> {
        self.create_folder()?;
        let connection = self.connect(OpenFlags::SQLITE_OPEN_CREATE)?;
        let is_new = self.inspect(&connection)?;
        self.use_write_ahead(&connection)?;
        // `secure_delete`: what is erased is overwritten, not just unlinked from its table.
        let pragmas = format!(
            "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA journal_size_limit = {WAL_KEPT_BYTES};"
        );
        connection.execute_batch(&pragmas).map_err(|error| self.errors.store(error))?;
        if is_new {
            self.create(&connection)?;
        } else {
            self.furnish(&connection)?;
        }
        Ok(connection)
    }

    /// The connection of a reader: it cannot change anything.
    pub(super) fn open_reader(&self) -> Result<Connection, StoreError> {
        let connection = self.connect(OpenFlags::empty())?;
        connection.pragma_update(None, "query_only", true).map_err(|error| self.errors.store(error))?;
        Ok(connection)
    }

    fn connect(&self, more: OpenFlags) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let open = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(self.patience)?;
            connection.execute_batch("PRAGMA trusted_schema = OFF;")?;
            Ok(connection)
        };
        open().map_err(|error| self.errors.store(error))
    }

    fn create_folder(&self) -> Result<(), StoreError> {
        let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|error| {
            let folder = folder.display();
            StoreError::Refused(format!("{folder} cannot be created ({error}); name another place with --store"))
        })
    }

    /// Whether the file is new; refuses what is not a log of a format this program knows. Changes nothing.
    fn inspect(&self, connection: &Connection) -> Result<bool, StoreError> {
        // One snapshot for all marks: between two looks another process may make the log.
        let snapshot = self.patiently(|| Transaction::new_unchecked(connection, TransactionBehavior::Deferred))?;
        self.is_new(&snapshot)
    }

    fn is_new(&self, transaction: &Transaction<'_>) -> Result<bool, StoreError> {
        let read = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let read = |pragma| self.patiently(|| read(pragma));
        let (application, format, schema) = (read("application_id")?, read("user_version")?, read("schema_version")?);
        if application == 0 && format == 0 && schema == 0 {
            return Ok(true);
        }
        if application != APPLICATION_ID {
            return Err(self.errors.refused("a database of another program; name another file with --store"));
        }
        if format > i64::from(FORMAT_VERSION) {
            let why = format!("has format {format} and this program knows {FORMAT_VERSION}; use a newer testledger");
            return Err(self.errors.refused(&why));
        }
        if format < i64::from(FORMAT_VERSION) {
            return Err(self.errors.damaged(&format!("no version of this program has written format {format}")));
        }
        Ok(false)
    }

    fn use_write_ahead(&self, connection: &Connection) -> Result<(), StoreError> {
        // Two processes that both switch get `busy` at once, whatever the timeout: SQLite calls no busy handler here.
        let mode = self.patiently(|| {
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
        })?;
        if mode == "wal" {
            return Ok(());
        }
        Err(self.errors.refused("this file system has no shared memory for SQLite; use a local disk"))
    }

    /// Makes tables, marks and page 0 in one transaction, unless another process was quicker.
    fn create(&self, connection: &Connection) -> Result<(), StoreError> {
        let transaction = self.begin(connection, || {})?;
        if !self.is_new(&transaction)? {
            return Ok(());
        }
        let page = Page::genesis(LogId(RandomIds.time_ordered()), None);
        let write = || {
            transaction.execute_batch(TABLES)?;
            transaction.execute_batch(ARTIFACT_PUTS)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", FORMAT_VERSION)?;
            insert_page(&transaction, &page)
        };
        write().and_then(|()| transaction.commit()).map_err(|error| self.errors.store(error))
    }

    /// Makes what programs before this one did not know.
    fn furnish(&self, connection: &Connection) -> Result<(), StoreError> {
        let known = "SELECT count(*) FROM sqlite_schema WHERE name = 'artifact_puts'";
        let is_there = self.patiently(|| connection.query_row(known, [], |row| row.get::<_, i64>(0)))? > 0;
        if !is_there {
            let transaction = self.begin(connection, || {})?;
            let make = || transaction.execute_batch(ARTIFACT_PUTS);
            make().and_then(|()| transaction.commit()).map_err(|error| self.errors.store(error))?;
        }
        Ok(())
    }

    /// Copies the write-ahead file into the database and empties it, so that erased content is nowhere on the disk.
    /// A reader of another process can be in the way; then the next checkpoint does it.
    pub(super) fn empty_write_ahead(&self, connection: &Connection) {
        let checkpoint = || {
            connection.busy_timeout(self.patience.min(CHECKPOINT_PATIENCE))?;
            let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))?;
            connection.busy_timeout(self.patience).map(|()| busy)
        };
        match checkpoint() {
            Ok(0) => {}
            Ok(_) => tracing::warn!("a reader keeps erased content in the write-ahead file until the next checkpoint"),
            Err(error) => tracing::warn!(%error, "erased content stays in the write-ahead file"),
        }
    }

    /// Takes the one write lock, waiting no longer than the patience; `meanwhile` runs before each further try.
    pub(super) fn begin<'a>(
        &self,
        connection: &'a Connection,
        mut meanwhile: impl FnMut(),
    ) -> Result<Transaction<'a>, StoreError> {
        // Our own tries are closer together than those of SQLite's busy handler, whose sleeps grow to 100 ms.
        connection.busy_timeout(Duration::ZERO).map_err(|error| self.errors.store(error))?;
        let begun = self.patiently(|| {
            Transaction::new_unchecked(connection, TransactionBehavior::Immediate).inspect_err(|_| meanwhile())
        });
        connection.busy_timeout(self.patience).map_err(|error| self.errors.store(error))?;
        begun
    }

    /// Repeats what another process is in the way of, until the patience is over.
    fn patiently<T>(&self, mut attempt: impl FnMut() -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let began = Instant::now();
        loop {
            match attempt() {
                Err(error) if is_busy(&error) && began.elapsed() < self.patience => thread::sleep(BUSY_RETRY),
                result => return result.map_err(|error| self.errors.store(error)),
            }
        }
    }
}

/// Writes a page into its table.
pub(super) fn insert_page(connection: &Connection, page: &Page) -> rusqlite::Result<()> {
    // Maps with text keys and whole numbers: serde_json has no reason to refuse them.
    let json = serde_json::to_string(page).unwrap_or_default();
    let mut insert =
        connection.prepare_cached("INSERT INTO pages (number, first_position, json) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![page.number.cast_signed(), page.first_position.cast_signed(), json]).map(|_| ())
}
