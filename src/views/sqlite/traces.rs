//! The traces in SQLite: documents by their key, and nothing beside them.

use rusqlite::params;
use testledger_projections::traces::{TraceView, Traces};

use crate::views::sqlite::Tabled;
use crate::views::sqlite::build::Build;

impl Tabled for Traces {
    const TABLES: &'static str = "CREATE TABLE @ (key TEXT PRIMARY KEY NOT NULL, view TEXT NOT NULL) STRICT;";
    const READ: &'static str = "SELECT view FROM @ WHERE key = ?1";
    const SCAN: &'static str = "SELECT key, view FROM @ WHERE key > ?1 ORDER BY key LIMIT ?2";

    fn write(build: &Build<'_>, key: &str, _view: &TraceView, json: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO @ (key, view) VALUES (?1, ?2)";
        build.prepare(sql)?.execute(params![key, json]).map(|_| ())
    }
}
