//! The traces in SQLite: documents by their key, and nothing beside them.

use rusqlite::{Connection, params};
use testledger_projections::traces::{TraceView, Traces};

use crate::views::sqlite::Tabled;

impl Tabled for Traces {
    const TABLES: &'static str = "
        CREATE TABLE IF NOT EXISTS view_traces (key TEXT PRIMARY KEY NOT NULL, view TEXT NOT NULL) STRICT;
    ";
    const LAST: &'static str = "view_traces";
    const EMPTY: &'static str = "DELETE FROM view_traces;";
    const READ: &'static str = "SELECT view FROM view_traces WHERE key = ?1";

    fn write(connection: &Connection, key: &str, _view: &TraceView, json: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO view_traces (key, view) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![key, json]).map(|_| ())
    }
}
