//! The executions in SQLite: their tables, and the questions. Each walks an index, never the whole table.

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::ports::ViewStoreError;
use testledger_schemas::ids::ExecutionId;

use crate::views::query::{ExecutionFilter, ExecutionPage, ExecutionQueries, MAX_LIMIT, kind_text};
use crate::views::sqlite::build::Build;
use crate::views::sqlite::{Fault, SqliteViews, Tabled, limit_of, read_view};

/// A view is JSON text; the columns beside it are what lists ask for.
const TABLES: &str = "
    CREATE TABLE @ (
        id TEXT PRIMARY KEY NOT NULL, requested_at INTEGER NOT NULL, first_position INTEGER NOT NULL,
        status TEXT NOT NULL, is_final INTEGER NOT NULL, kind TEXT NOT NULL, suite TEXT NOT NULL, case_id TEXT,
        parent_id TEXT, view TEXT NOT NULL) STRICT;
    CREATE INDEX @_by_time ON @ (requested_at, id);
    CREATE INDEX @_by_status ON @ (status, requested_at, id);
    CREATE INDEX @_by_suite ON @ (suite, requested_at, id);
    CREATE INDEX @_by_parent ON @ (parent_id, first_position);
    CREATE TABLE @_tags (
        tag TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tag, id)) STRICT, WITHOUT ROWID;
    CREATE INDEX @_tags_by_id ON @_tags (id);
";

impl Tabled for Executions {
    const TABLES: &'static str = TABLES;
    const READ: &'static str = "SELECT view FROM @ WHERE id = ?1";
    const SCAN: &'static str = "SELECT id, view FROM @ WHERE id > ?1 ORDER BY id LIMIT ?2";

    fn write(build: &Build<'_>, key: &str, view: &ExecutionView, json: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO @
                   (id, requested_at, first_position, status, is_final, kind, suite, case_id, parent_id, view)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        build.prepare(sql)?.execute(params![
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
        let mut tag = build.prepare("INSERT OR IGNORE INTO @_tags (tag, id) VALUES (?1, ?2)")?;
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
            all.add("id IN (SELECT id FROM @_tags WHERE tag = ?)", [text(tag)]);
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

fn list(build: &Build<'_>, filter: &ExecutionFilter) -> Result<ExecutionPage, Fault> {
    let limit = filter.limit.min(MAX_LIMIT);
    let conditions = Conditions::of(filter);
    let sql =
        format!("SELECT view FROM @ {} ORDER BY requested_at DESC, id DESC LIMIT {}", conditions.clause(), limit + 1);
    let views = views(build, &sql, params_from_iter(conditions.values))?;
    Ok(ExecutionPage::cut(views, limit))
}

fn views(build: &Build<'_>, sql: &str, params: impl rusqlite::Params) -> Result<Vec<ExecutionView>, Fault> {
    let mut statement = build.prepare(sql)?;
    let rows = statement.query_map(params, |row| row.get::<_, String>(0))?;
    rows.map(|json| Ok(serde_json::from_str(&json?)?)).collect()
}

#[async_trait]
impl ExecutionQueries for SqliteViews<Executions> {
    async fn list(&self, filter: &ExecutionFilter) -> Result<ExecutionPage, ViewStoreError> {
        let filter = filter.clone();
        let none = ExecutionPage { executions: vec![], next: None };
        self.ask(none, move |build| list(build, &filter)).await
    }

    async fn get(&self, id: ExecutionId) -> Result<Option<ExecutionView>, ViewStoreError> {
        self.ask(None, move |build| read_view::<Executions>(build, &id)).await
    }

    async fn children(&self, id: ExecutionId, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        let sql = "SELECT view FROM @ WHERE parent_id = ?1 ORDER BY first_position, id LIMIT ?2";
        self.ask(vec![], move |build| views(build, sql, params![id.to_string(), limit_of(limit)])).await
    }

    async fn by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        let sql = "SELECT view FROM @ WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3";
        // `g` comes after every character of an id.
        let (from, to) = (prefix.to_owned(), format!("{prefix}g"));
        self.ask(vec![], move |build| views(build, sql, params![from, to, limit_of(limit)])).await
    }
}
