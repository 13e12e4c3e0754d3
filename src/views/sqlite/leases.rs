//! Leases on projections in the SQLite file. Its processes share one host, and so one clock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};
use testledger_projections::ports::{Lease, Leases, ViewStoreError};
use testledger_schemas::Timestamp;

use crate::views::sqlite::File;

/// One row for each projection.
pub(super) const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS view_leases (
        name TEXT PRIMARY KEY NOT NULL, holder TEXT NOT NULL, until INTEGER NOT NULL) STRICT;
";
/// Milliseconds since 1970.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// The leases in a SQLite file.
pub struct SqliteLeases {
    file: File,
}

impl SqliteLeases {
    /// The leases in the file of a log that was opened before.
    ///
    /// # Errors
    /// [`ViewStoreError::Unavailable`].
    pub async fn open(path: &Path) -> Result<Arc<Self>, ViewStoreError> {
        Ok(Arc::new(Self { file: File::open(path).await? }))
    }
}

#[async_trait]
impl Leases for SqliteLeases {
    async fn take(&self, projection: &str, holder: &str, duration: Duration) -> Result<bool, ViewStoreError> {
        let (name, holder) = (projection.to_owned(), holder.to_owned());
        let lasts = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let sql = format!(
            "INSERT INTO view_leases (name, holder, until) VALUES (?1, ?2, {NOW} + ?3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE holder = excluded.holder OR until <= {NOW}"
        );
        let taking = move |transaction: &rusqlite::Transaction<'_>| {
            Ok(transaction.prepare_cached(&sql)?.execute(params![name, holder, lasts])? == 1)
        };
        self.file.write(taking).await
    }

    async fn give_up(&self, projection: &str, holder: &str) -> Result<(), ViewStoreError> {
        let (name, holder) = (projection.to_owned(), holder.to_owned());
        let giving = move |transaction: &rusqlite::Transaction<'_>| {
            transaction.execute("DELETE FROM view_leases WHERE name = ?1 AND holder = ?2", params![name, holder])?;
            Ok(())
        };
        self.file.write(giving).await
    }

    async fn current(&self, projection: &str) -> Result<Option<Lease>, ViewStoreError> {
        let name = projection.to_owned();
        let sql = format!("SELECT holder, until FROM view_leases WHERE name = ?1 AND until > {NOW}");
        self.file
            .run(move |connection| {
                let row = |row: &rusqlite::Row<'_>| {
                    Ok(Lease { holder: row.get(0)?, until: Timestamp::from_unix_ms(row.get(1)?) })
                };
                Ok(connection.query_row(&sql, [name], row).optional()?)
            })
            .await
    }
}
