//! The executions in SQLite: their tables, and the questions. Each walks an index, never the whole table.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::ports::ViewStoreError;
use testledger_schemas::Timestamp;
use testledger_schemas::ids::ExecutionId;

use crate::views::query::{
    ExecutionFilter, ExecutionPage, ExecutionQueries, kind_text, revision_of, took, type_text, whole,
};
use crate::views::sqlite::build::Build;
use crate::views::sqlite::{Fault, SqliteViews, Tabled, limit_of, read_view};
use crate::views::words;

/// A view is JSON text; the columns beside it are what lists ask for. Beside the table stand the marks of a view, each with
/// its place in the list: its tags, its words.
const TABLES: &str = "
    CREATE TABLE @ (
        id TEXT PRIMARY KEY NOT NULL, requested_at INTEGER NOT NULL, took INTEGER NOT NULL,
        first_position INTEGER NOT NULL, status TEXT NOT NULL, is_final INTEGER NOT NULL, kind TEXT NOT NULL,
        case_type TEXT, suite TEXT NOT NULL, case_id TEXT, revision TEXT, actor TEXT NOT NULL, parent_id TEXT,
        view TEXT NOT NULL) STRICT;
    CREATE INDEX @_by_time ON @ (requested_at, id);
    CREATE INDEX @_by_duration ON @ (took, id);
    CREATE INDEX @_by_status ON @ (status, requested_at, id);
    CREATE INDEX @_by_suite ON @ (suite, requested_at, id);
    CREATE INDEX @_by_type ON @ (case_type, requested_at, id);
    CREATE INDEX @_by_actor ON @ (actor, requested_at, id);
    CREATE INDEX @_by_revision ON @ (revision, requested_at, id) WHERE revision IS NOT NULL;
    CREATE INDEX @_roots ON @ (requested_at, id) WHERE parent_id IS NULL;
    CREATE INDEX @_by_parent ON @ (parent_id, first_position);
    CREATE TABLE @_marks (
        mark TEXT NOT NULL, requested_at INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (mark, requested_at, id)) STRICT, WITHOUT ROWID;
    CREATE INDEX @_marks_by_id ON @_marks (id);
";

impl Tabled for Executions {
    const TABLES: &'static str = TABLES;
    const READ: &'static str = "SELECT view FROM @ WHERE id = ?1";
    const SCAN: &'static str = "SELECT id, view FROM @ WHERE id > ?1 ORDER BY id LIMIT ?2";

    fn write(build: &Build<'_>, key: &str, view: &ExecutionView, json: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO @
                   (id, requested_at, took, first_position, status, is_final, kind, case_type, suite, case_id, revision,
                    actor, parent_id, view)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        build.prepare(sql)?.execute(params![
            key,
            requested_at(view),
            took(view),
            view.first_position.cast_signed(),
            view.status.as_str(),
            view.is_final,
            kind_text(view.kind),
            view.case_type.map(type_text),
            view.suite,
            view.case,
            revision_of(view),
            view.actor,
            view.parent_id.map(|id| id.to_string()),
            json,
        ])?;
        mark(build, key, view)
    }
}

fn requested_at(view: &ExecutionView) -> i64 {
    view.requested_at.unwrap_or_default().unix_ms()
}

fn tag_mark(tag: &str) -> String {
    format!("tag {tag}")
}

fn word_mark(word: &str) -> String {
    format!("word {word}")
}

/// Writes the marks of a view, and takes away those that it has no more.
fn mark(build: &Build<'_>, key: &str, view: &ExecutionView) -> rusqlite::Result<()> {
    let tags = view.tags.iter().map(|tag| tag_mark(tag));
    let at = requested_at(view);
    let marks = tags.chain(words::of(view).into_iter().map(|word| word_mark(&word))).map(|mark| (mark, at));
    let mut missing: BTreeSet<(String, i64)> = marks.collect();
    let mut known = build.prepare("SELECT mark, requested_at FROM @_marks WHERE id = ?1")?;
    let known = known.query_map([key], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let known: Vec<(String, i64)> = known.collect::<Result<_, _>>()?;
    for (mark, at) in known.into_iter().filter(|known| !missing.remove(known)) {
        let sql = "DELETE FROM @_marks WHERE mark = ?1 AND requested_at = ?2 AND id = ?3";
        build.prepare(sql)?.execute(params![mark, at, key])?;
    }
    let mut add = build.prepare("INSERT INTO @_marks (mark, requested_at, id) VALUES (?1, ?2, ?3)")?;
    missing.iter().try_for_each(|(mark, at)| add.execute(params![mark, at, key]).map(|_| ()))
}

/// A question in the making: which index or marks it walks, its conditions and their values, in the same order.
struct Question<'a> {
    from: &'static str,
    conditions: Vec<String>,
    values: Vec<Value>,
    filter: &'a ExecutionFilter,
}

impl<'a> Question<'a> {
    /// What a filter asks for. The index that it walks is named: the planner would sort a few rows rather than walk many.
    fn of(filter: &'a ExecutionFilter) -> Self {
        let mut question = Self { from: "", conditions: vec![], values: vec![], filter };
        question.from = question.walk();
        question.facts();
        question.bounds();
        question
    }

    /// What is walked. Of several conditions the one that leaves fewest executions, as a rule.
    fn walk(&mut self) -> &'static str {
        let filter = self.filter;
        if filter.order.is_by_duration() {
            return "@ AS e INDEXED BY @_by_duration";
        }
        let mark = filter.words.first().map(|word| word_mark(word)).or_else(|| filter.tag.as_deref().map(tag_mark));
        if let Some(mark) = mark {
            self.add("m.mark = ?", [Value::Text(mark)]);
            return "@_marks AS m CROSS JOIN @ AS e ON e.id = m.id";
        }
        if filter.revision.is_some() {
            "@ AS e INDEXED BY @_by_revision"
        } else if filter.suite.is_some() {
            "@ AS e INDEXED BY @_by_suite"
        } else if filter.roots_only {
            "@ AS e INDEXED BY @_roots"
        } else if filter.actor.is_some() {
            "@ AS e INDEXED BY @_by_actor"
        } else if filter.case_type.is_some() {
            "@ AS e INDEXED BY @_by_type"
        } else if filter.statuses.len() == 1 {
            "@ AS e INDEXED BY @_by_status"
        } else {
            "@ AS e INDEXED BY @_by_time"
        }
    }

    fn is_marked(&self) -> bool {
        self.from.starts_with("@_marks")
    }

    fn add(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(sql.to_owned());
        self.values.extend(values);
    }

    fn facts(&mut self) {
        let filter = self.filter;
        if !filter.statuses.is_empty() {
            let marks = vec!["?"; filter.statuses.len()].join(", ");
            self.add(&format!("e.status IN ({marks})"), filter.statuses.iter().map(|status| text(status.as_str())));
        }
        let equal = [
            ("e.kind = ?", filter.kind.map(kind_text)),
            ("e.case_type = ?", filter.case_type.map(type_text)),
            ("e.suite = ?", filter.suite.as_deref()),
            ("e.revision = ?", filter.revision.as_deref()),
            ("e.actor = ?", filter.actor.as_deref()),
        ];
        for (sql, value) in equal {
            value.iter().for_each(|value| self.add(sql, [text(value)]));
        }
        let marks = filter.words.iter().map(|word| word_mark(word)).chain(filter.tag.as_deref().map(tag_mark));
        for mark in marks {
            let sql = "EXISTS (SELECT 1 FROM @_marks AS o
                       WHERE o.mark = ? AND o.requested_at = e.requested_at AND o.id = e.id)";
            self.add(sql, [Value::Text(mark)]);
        }
        if filter.roots_only {
            self.add("e.parent_id IS NULL", []);
        }
    }

    fn bounds(&mut self) {
        let (at, id) = if self.is_marked() { ("m.requested_at", "m.id") } else { ("e.requested_at", "e.id") };
        let filter = self.filter;
        let bounds = [
            (at, ">=", filter.since.map(Timestamp::unix_ms)),
            (at, "<", filter.until.map(Timestamp::unix_ms)),
            ("e.took", ">=", filter.min_duration_ms.map(whole)),
            ("e.took", "<=", filter.max_duration_ms.map(whole)),
        ];
        for (column, sign, bound) in bounds {
            bound.iter().for_each(|bound| self.add(&format!("{column} {sign} ?"), [Value::Integer(*bound)]));
        }
        if let Some(after) = filter.after {
            let by = if filter.order.is_by_duration() { "e.took" } else { at };
            let sign = if filter.order.is_descending() { "<" } else { ">" };
            self.add(&format!("({by}, {id}) {sign} (?, ?)"), [Value::Integer(after.ms), text(&after.id.to_string())]);
        }
    }

    fn sql(&self) -> String {
        let clause =
            if self.conditions.is_empty() { String::new() } else { format!("WHERE {}", self.conditions.join(" AND ")) };
        let by = match (self.filter.order.is_by_duration(), self.is_marked()) {
            (true, _) => "e.took",
            (false, true) => "m.requested_at",
            (false, false) => "e.requested_at",
        };
        let id = if self.is_marked() { "m.id" } else { "e.id" };
        let direction = if self.filter.order.is_descending() { "DESC" } else { "ASC" };
        let (from, limit) = (self.from, self.filter.wanted());
        format!("SELECT e.view FROM {from} {clause} ORDER BY {by} {direction}, {id} {direction} LIMIT {limit}")
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list(build: &Build<'_>, filter: &ExecutionFilter) -> Result<ExecutionPage, Fault> {
    let question = Question::of(filter);
    let views = views(build, &question.sql(), params_from_iter(question.values))?;
    Ok(ExecutionPage::cut(views, filter))
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

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use testledger_schemas::ExecutionStatus;
    use testledger_schemas::event::ExecutionKind;
    use testledger_schemas::plan::CaseType;

    use super::*;
    use crate::views::query::{Cursor, Order};

    /// The filter that asks for what the bits say.
    fn asked(bits: u32) -> ExecutionFilter {
        let is = |bit: u32| bits & (1 << bit) != 0;
        let text = |bit: u32, text: &str| is(bit).then(|| text.to_owned());
        let statuses = [ExecutionStatus::Failed, ExecutionStatus::Passed];
        ExecutionFilter {
            statuses: statuses[..(bits % 3) as usize].to_vec(),
            kind: is(2).then_some(ExecutionKind::Case),
            case_type: is(3).then_some(CaseType::Bdd),
            tag: text(4, "smoke"),
            suite: text(5, "shop"),
            revision: text(6, "c0ffee"),
            actor: text(7, "ada"),
            words: ["cart", "pay"].iter().filter(|_| is(8)).map(|word| (*word).to_owned()).collect(),
            since: is(9).then_some(Timestamp::from_unix_ms(1)),
            until: is(10).then_some(Timestamp::from_unix_ms(9)),
            min_duration_ms: is(11).then_some(1),
            max_duration_ms: is(12).then_some(9),
            roots_only: is(13),
            order: Order::ALL[(bits >> 14) as usize % 4].1,
            limit: 10,
            after: is(16).then_some(Cursor { ms: 5, id: ExecutionId(uuid::Uuid::nil()) }),
        }
    }

    /// SQLite itself says how it would answer every question there is.
    #[test]
    fn every_list_walks_an_index_in_its_order() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&TABLES.replace('@', "v")).unwrap();
        for bits in 0..1_u32 << 17 {
            // The seven bits of plain conditions count in each combination with every other one only now and then.
            if bits % 7 != 0 && bits.count_ones() > 4 {
                continue;
            }
            let filter = asked(bits);
            let question = Question::of(&filter);
            let sql = format!("EXPLAIN QUERY PLAN {}", question.sql().replace('@', "v"));
            let mut statement = connection.prepare(&sql).unwrap();
            let steps = statement.query_map(params_from_iter(question.values), |row| row.get::<_, String>(3)).unwrap();
            for step in steps {
                let step = step.unwrap();
                let is_bad = step.contains("TEMP B-TREE") || step.starts_with("SCAN") && !step.contains("INDEX");
                assert!(!is_bad, "{filter:?}: {step}: {sql}");
            }
        }
    }
}
