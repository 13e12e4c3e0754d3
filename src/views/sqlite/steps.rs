//! The statistics of steps in SQLite: documents by their key, and buckets by step and day besides.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use testledger_projections::flaky_steps::{Bucket, FlakySteps, FlakyView};
use testledger_projections::ports::ViewStoreError;
use testledger_schemas::StepKey;

use crate::views::sqlite::{Fault, SqliteViews, Tabled};
use crate::views::steps::{Days, StepQueries, bucket};

/// Only a bucket has a step and a day.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS view_flaky_steps (
        key TEXT PRIMARY KEY NOT NULL, step_key TEXT, day TEXT, view TEXT NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS view_flaky_steps_by_step ON view_flaky_steps (step_key, day)
        WHERE step_key IS NOT NULL;
";

impl Tabled for FlakySteps {
    const TABLES: &'static str = TABLES;
    const LAST: &'static str = "view_flaky_steps_by_step";
    const EMPTY: &'static str = "DELETE FROM view_flaky_steps;";
    const READ: &'static str = "SELECT view FROM view_flaky_steps WHERE key = ?1";

    fn write(connection: &Connection, key: &str, view: &FlakyView, json: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO view_flaky_steps (key, step_key, day, view) VALUES (?1, ?2, ?3, ?4)";
        let (step, day) = (view.bucket().map(|it| it.step_key.to_string()), view.bucket().map(|it| it.day.to_string()));
        connection.prepare_cached(sql)?.execute(params![key, step, day, json]).map(|_| ())
    }
}

fn buckets(connection: &Connection, after: &str, days: Days, limit: usize) -> Result<Vec<Bucket>, Fault> {
    let sql = "SELECT view FROM view_flaky_steps
               WHERE step_key IS NOT NULL AND step_key > ?1 AND day BETWEEN ?2 AND ?3
               ORDER BY step_key, day LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![after, days.first.to_string(), days.last.to_string(), limit];
    let rows = statement.query_map(values, |row| row.get::<_, String>(0))?;
    let views: Vec<FlakyView> = rows.map(|json| Ok(serde_json::from_str(&json?)?)).collect::<Result<_, Fault>>()?;
    Ok(views.into_iter().filter_map(bucket).collect())
}

fn next_step(connection: &Connection, least: &str) -> Result<Option<Bucket>, Fault> {
    let sql = "SELECT view FROM view_flaky_steps WHERE step_key IS NOT NULL AND step_key >= ?1
               ORDER BY step_key, day LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query_map([least], |row| row.get::<_, String>(0))?;
    let Some(json) = rows.next() else { return Ok(None) };
    Ok(bucket(serde_json::from_str(&json?)?))
}

#[async_trait]
impl StepQueries for SqliteViews<FlakySteps> {
    async fn buckets(&self, after: Option<StepKey>, days: Days, limit: usize) -> Result<Vec<Bucket>, ViewStoreError> {
        let after = after.map(|key| key.to_string()).unwrap_or_default();
        self.run(move |connection| buckets(connection, &after, days, limit)).await
    }

    async fn first_from(&self, least: &str) -> Result<Option<StepKey>, ViewStoreError> {
        let least = least.to_owned();
        let found = self.run(move |connection| next_step(connection, &least)).await?;
        Ok(found.map(|bucket| bucket.step_key))
    }
}
