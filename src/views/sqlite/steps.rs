//! The statistics of steps in SQLite: documents by their key, and buckets by step and day besides.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::params;
use testledger_projections::flaky_steps::{Bucket, Days, FlakySteps, FlakyView, WindowSums};
use testledger_projections::ports::ViewStoreError;
use testledger_schemas::{ExecutionId, StepKey};

use crate::views::sqlite::build::Build;
use crate::views::sqlite::{Fault, SqliteViews, Tabled, limit_of};
use crate::views::steps::{StepQueries, bucket, sums};

/// Only a bucket has a step and a day.
const TABLES: &str = "
    CREATE TABLE @ (key TEXT PRIMARY KEY NOT NULL, step_key TEXT, day TEXT, view TEXT NOT NULL) STRICT;
    CREATE INDEX @_by_step ON @ (step_key, day) WHERE step_key IS NOT NULL;
";

impl Tabled for FlakySteps {
    const TABLES: &'static str = TABLES;
    const READ: &'static str = "SELECT view FROM @ WHERE key = ?1";
    const SCAN: &'static str = "SELECT key, view FROM @ WHERE key > ?1 ORDER BY key LIMIT ?2";

    fn write(build: &Build<'_>, key: &str, view: &FlakyView, json: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO @ (key, step_key, day, view) VALUES (?1, ?2, ?3, ?4)";
        let (step, day) = (view.bucket().map(|it| it.step_key.to_string()), view.bucket().map(|it| it.day.to_string()));
        build.prepare(sql)?.execute(params![key, step, day, json]).map(|_| ())
    }
}

fn buckets(build: &Build<'_>, after: &str, days: Days, limit: usize) -> Result<Vec<Bucket>, Fault> {
    let sql = "SELECT view FROM @
               WHERE step_key IS NOT NULL AND step_key > ?1 AND day BETWEEN ?2 AND ?3
               ORDER BY step_key, day LIMIT ?4";
    let mut statement = build.prepare(sql)?;
    let values = params![after, days.first.to_string(), days.last.to_string(), limit_of(limit)];
    let rows = statement.query_map(values, |row| row.get::<_, String>(0))?;
    let views: Vec<FlakyView> = rows.map(|json| Ok(serde_json::from_str(&json?)?)).collect::<Result<_, Fault>>()?;
    Ok(views.into_iter().filter_map(bucket).collect())
}

fn next_step(build: &Build<'_>, least: &str) -> Result<Option<Bucket>, Fault> {
    let sql = "SELECT view FROM @ WHERE step_key IS NOT NULL AND step_key >= ?1
               ORDER BY step_key, day LIMIT 1";
    let mut statement = build.prepare(sql)?;
    let mut rows = statement.query_map([least], |row| row.get::<_, String>(0))?;
    let Some(json) = rows.next() else { return Ok(None) };
    Ok(bucket(serde_json::from_str(&json?)?))
}

#[async_trait]
impl StepQueries for SqliteViews<FlakySteps> {
    async fn buckets(&self, after: Option<StepKey>, days: Days, limit: usize) -> Result<Vec<Bucket>, ViewStoreError> {
        let after = after.map(|key| key.to_string()).unwrap_or_default();
        self.ask(vec![], move |build| buckets(build, &after, days, limit)).await
    }

    async fn sums(&self, days: Days, left_out: &BTreeSet<ExecutionId>) -> Result<Vec<WindowSums>, ViewStoreError> {
        sums(self, days, left_out).await
    }

    async fn first_from(&self, least: &str) -> Result<Option<StepKey>, ViewStoreError> {
        let least = least.to_owned();
        let found = self.ask(None, move |build| next_step(build, &least)).await?;
        Ok(found.map(|bucket| bucket.step_key))
    }
}
