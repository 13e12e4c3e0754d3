//! The executions in MongoDB: what lists ask for, and the questions. Each walks an index in its order, so that nothing is
//! sorted, and a page begins where the last one ended.

use async_trait::async_trait;
use bson::{Bson, DateTime, Document, doc};
use mongodb::IndexModel;
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::ports::ViewStoreError;
use testledger_schemas::ids::ExecutionId;

use crate::views::mongodb::MongoViews;
use crate::views::mongodb::listed::{Listed, index};
use crate::views::mongodb::server::Question;
use crate::views::query::{
    Cursor, ExecutionFilter, ExecutionPage, ExecutionQueries, Order, kind_text, took, type_text, whole,
};
use crate::views::words;

/// The field that lists are ordered by in time: a [`Cursor`].
const PLACE: &str = "_place";
/// The same for an order by running time.
const TOOK: &str = "_took";
/// The words that a search looks for.
const WORDS: &str = "_words";
/// The tested revision.
const REVISION: &str = "revision.commit";

impl Listed for Executions {
    fn beside(view: &ExecutionView) -> Document {
        let words: Vec<String> = words::of(view).into_iter().collect();
        let requested = Cursor::of(view, Order::Newest);
        let took = place(Order::Slowest, took(view), &view.id.to_string());
        doc! { PLACE: place(Order::Newest, requested.ms, &view.id.to_string()), TOOK: took, WORDS: words }
    }

    fn indexes() -> Vec<IndexModel> {
        let (all, roots) = (Document::new(), doc! { "parent_id": null });
        // Any text comes after the empty one: an index without those that have no parent.
        let children = doc! { "parent_id": { "$gt": "" } };
        vec![
            index("by_time", doc! { PLACE: -1 }, all.clone()),
            index("by_duration", doc! { TOOK: -1 }, all.clone()),
            index("by_status", doc! { "status": 1, PLACE: -1 }, all.clone()),
            index("by_suite", doc! { "suite": 1, PLACE: -1 }, all.clone()),
            index("by_type", doc! { "case_type": 1, PLACE: -1 }, all.clone()),
            index("by_actor", doc! { "actor": 1, PLACE: -1 }, all.clone()),
            index("by_revision", doc! { REVISION: 1, PLACE: -1 }, all.clone()),
            index("by_tag", doc! { "tags": 1, PLACE: -1 }, all.clone()),
            index("by_word", doc! { WORDS: 1, PLACE: -1 }, all),
            index("roots", doc! { "parent_id": 1, PLACE: -1 }, roots),
            index("children", doc! { "parent_id": 1, "first_position": 1, "_id": 1 }, children),
        ]
    }
}

/// A place in a list as one value: MongoDB compares documents field by field, so one index holds time and id.
fn place(order: Order, ms: i64, id: &str) -> Bson {
    let first = if order.is_by_duration() { ("ms", Bson::Int64(ms)) } else { ("at", DateTime::from_millis(ms).into()) };
    Bson::Document([(first.0.to_owned(), first.1), ("id".to_owned(), Bson::from(id))].into_iter().collect())
}

/// The index that a list walks. Of several conditions the one that leaves fewest executions, as a rule; it is named,
/// because the planner would sort a few documents rather than walk many.
fn walked(filter: &ExecutionFilter) -> &'static str {
    if filter.order.is_by_duration() {
        "by_duration"
    } else if !filter.words.is_empty() {
        "by_word"
    } else if filter.tag.is_some() {
        "by_tag"
    } else if filter.revision.is_some() {
        "by_revision"
    } else if filter.suite.is_some() {
        "by_suite"
    } else if filter.roots_only {
        "roots"
    } else if filter.actor.is_some() {
        "by_actor"
    } else if filter.case_type.is_some() {
        "by_type"
    } else if !filter.statuses.is_empty() {
        "by_status"
    } else {
        "by_time"
    }
}

/// The conditions of a filter.
fn conditions(filter: &ExecutionFilter) -> Document {
    let mut all = Document::new();
    if !filter.statuses.is_empty() {
        let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
        all.insert("status", doc! { "$in": statuses });
    }
    let equal = [
        ("kind", filter.kind.map(kind_text)),
        ("case_type", filter.case_type.map(type_text)),
        ("tags", filter.tag.as_deref()),
        ("suite", filter.suite.as_deref()),
        (REVISION, filter.revision.as_deref()),
        ("actor", filter.actor.as_deref()),
    ];
    for (field, value) in equal {
        if let Some(value) = value {
            all.insert(field, value);
        }
    }
    if !filter.words.is_empty() {
        all.insert(WORDS, doc! { "$all": &filter.words });
    }
    if filter.roots_only {
        all.insert("parent_id", Bson::Null);
    }
    for (field, bounds) in bounds(filter) {
        if !bounds.is_empty() {
            all.insert(field, bounds);
        }
    }
    if let Some(after) = &filter.after {
        let sign = if filter.order.is_descending() { "$lt" } else { "$gt" };
        let place = place(filter.order, after.ms, &after.id.to_string());
        // Beside the bounds: a field has each sign once.
        all.insert("$and", vec![doc! { ordered_by(filter.order): { sign: place } }]);
    }
    all
}

/// The bounds of time and of running time. Any id comes after the empty one.
fn bounds(filter: &ExecutionFilter) -> [(&'static str, Document); 2] {
    let (mut at, mut took) = (Document::new(), Document::new());
    if let Some(since) = filter.since {
        at.insert("$gte", place(Order::Newest, since.unix_ms(), ""));
    }
    if let Some(until) = filter.until {
        at.insert("$lt", place(Order::Newest, until.unix_ms(), ""));
    }
    if let Some(least) = filter.min_duration_ms {
        took.insert("$gte", place(Order::Slowest, whole(least), ""));
    }
    if let Some(most) = filter.max_duration_ms {
        took.insert("$lt", place(Order::Slowest, whole(most).saturating_add(1), ""));
    }
    [(PLACE, at), (TOOK, took)]
}

/// The field that a list is ordered by.
fn ordered_by(order: Order) -> &'static str {
    if order.is_by_duration() { TOOK } else { PLACE }
}

#[async_trait]
impl ExecutionQueries for MongoViews<Executions> {
    async fn list(&self, filter: &ExecutionFilter) -> Result<ExecutionPage, ViewStoreError> {
        let direction = if filter.order.is_descending() { -1 } else { 1 };
        let question = Question {
            filter: conditions(filter),
            sort: doc! { ordered_by(filter.order): direction },
            limit: filter.wanted(),
            walk: Some(walked(filter)),
            ..Question::default()
        };
        Ok(ExecutionPage::cut(self.ask(question).await?, filter))
    }

    async fn get(&self, id: ExecutionId) -> Result<Option<ExecutionView>, ViewStoreError> {
        let question = Question { filter: doc! { "_id": id.to_string() }, limit: 1, ..Question::default() };
        Ok(self.ask(question).await?.pop())
    }

    async fn children(&self, id: ExecutionId, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        if limit == 0 {
            return Ok(vec![]);
        }
        let (filter, sort) = (doc! { "parent_id": id.to_string() }, doc! { "first_position": 1, "_id": 1 });
        self.ask(Question { filter, sort, limit, ..Question::default() }).await
    }

    async fn by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        if limit == 0 {
            return Ok(vec![]);
        }
        // `g` comes after every character of an id.
        let filter = doc! { "_id": { "$gte": prefix, "$lt": format!("{prefix}g") } };
        self.ask(Question { filter, sort: doc! { "_id": 1 }, limit, ..Question::default() }).await
    }
}
