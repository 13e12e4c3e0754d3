//! The executions in SQLite: their tables, and the questions. Each walks an index, never the whole table.

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::ports::ViewStoreError;
use testledger_schemas::ids::ExecutionId;

use crate::views::query::{ExecutionFilter, ExecutionPage, ExecutionQueries, MAX_LIMIT, kind_text};
use crate::views::sqlite::{Fault, SqliteViews, Tabled, read_view};

/// A view is JSON text; the columns beside it are what lists ask for.
const TABLES: &str = "
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

impl Tabled for Executions {
    const TABLES: &'static str = TABLES;
    const LAST: &'static str = "view_execution_tags_by_id";
    const EMPTY: &'static str = "DELETE FROM view_executions; DELETE FROM view_execution_tags;";
    const READ: &'static str = "SELECT view FROM view_executions WHERE id = ?1";

    fn write(connection: &Connection, key: &str, view: &ExecutionView, json: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO view_executions
                   (id, requested_at, first_position, status, is_final, kind, suite, case_id, parent_id, view)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        connection.prepare_cached(sql)?.execute(params![
            key,
            view.requested_at.unwrap_or_default().unix_ms(),
            view.first_position.cast_signed(),
            view.status.as_str(),
            view.is_final,
            kind_text(view.kind),
            view.suite,
            view.case,
            view.parent_id.map(|id| id.to_string()),
            json,
        ])?;
        let sql = "INSERT OR IGNORE INTO view_execution_tags (tag, id) VALUES (?1, ?2)";
        let mut tag = connection.prepare_cached(sql)?;
        view.tags.iter().try_for_each(|text| tag.execute(params![text, key]).map(|_| ()))
    }
}

/// The conditions of a query and their values, in the same order.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push(sql.to_owned());
        self.values.extend(values);
    }

    fn of(filter: &ExecutionFilter) -> Self {
        let mut all = Self::default();
        if !filter.statuses.is_empty() {
            let marks = vec!["?"; filter.statuses.len()].join(", ");
            let statuses = filter.statuses.iter().map(|status| text(status.as_str()));
            all.add(&format!("status IN ({marks})"), statuses);
        }
        if let Some(kind) = filter.kind {
            all.add("kind = ?", [text(kind_text(kind))]);
        }
        if let Some(tag) = &filter.tag {
            all.add("id IN (SELECT id FROM view_execution_tags WHERE tag = ?)", [text(tag)]);
        }
        if let Some(suite) = &filter.suite {
            all.add("suite = ?", [text(suite)]);
        }
        if filter.roots_only {
            all.add("parent_id IS NULL", []);
        }
        if let Some(before) = filter.before {
            let at = Value::Integer(before.requested_at.unix_ms());
            all.add("(requested_at, id) < (?, ?)", [at, text(&before.id.to_string())]);
        }
        all
    }

    fn clause(&self) -> String {
        if self.sql.is_empty() { String::new() } else { format!("WHERE {}", self.sql.join(" AND ")) }
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list(connection: &Connection, filter: &ExecutionFilter) -> Result<ExecutionPage, Fault> {
    let limit = filter.limit.min(MAX_LIMIT);
    let conditions = Conditions::of(filter);
    let sql = format!(
        "SELECT view FROM view_executions {} ORDER BY requested_at DESC, id DESC LIMIT {}",
        conditions.clause(),
        limit + 1
    );
    let views = views(connection, &sql, params_from_iter(conditions.values))?;
    Ok(ExecutionPage::cut(views, limit))
}

fn views(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<ExecutionView>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| row.get::<_, String>(0))?;
    rows.map(|json| Ok(serde_json::from_str(&json?)?)).collect()
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl ExecutionQueries for SqliteViews<Executions> {
    async fn list(&self, filter: &ExecutionFilter) -> Result<ExecutionPage, ViewStoreError> {
        let filter = filter.clone();
        self.run(move |connection| list(connection, &filter)).await
    }

    async fn get(&self, id: ExecutionId) -> Result<Option<ExecutionView>, ViewStoreError> {
        self.run(move |connection| read_view::<Executions>(connection, &id)).await
    }

    async fn children(&self, id: ExecutionId, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        let sql = "SELECT view FROM view_executions WHERE parent_id = ?1 ORDER BY first_position, id LIMIT ?2";
        self.run(move |connection| views(connection, sql, params![id.to_string(), limit_of(limit)])).await
    }

    async fn by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        let sql = "SELECT view FROM view_executions WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3";
        // `g` comes after every character of an id.
        let (from, to) = (prefix.to_owned(), format!("{prefix}g"));
        self.run(move |connection| views(connection, sql, params![from, to, limit_of(limit)])).await
    }
}
