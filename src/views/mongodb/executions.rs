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
use crate::views::query::{Cursor, ExecutionFilter, ExecutionPage, ExecutionQueries, MAX_LIMIT, kind_text};

/// The field that lists are ordered by: a [`Cursor`].
const PLACE: &str = "_place";

impl Listed for Executions {
    fn beside(view: &ExecutionView) -> Document {
        doc! { PLACE: place(&Cursor::of(view)) }
    }

    fn indexes() -> Vec<IndexModel> {
        let (all, roots) = (Document::new(), doc! { "parent_id": null });
        // Any text comes after the empty one: an index without those that have no parent.
        let children = doc! { "parent_id": { "$gt": "" } };
        vec![
            index("by_time", doc! { PLACE: -1 }, all.clone()),
            index("by_status", doc! { "status": 1, PLACE: -1 }, all.clone()),
            index("by_suite", doc! { "suite": 1, PLACE: -1 }, all.clone()),
            index("by_tag", doc! { "tags": 1, PLACE: -1 }, all),
            index("roots", doc! { "parent_id": 1, PLACE: -1 }, roots),
            index("children", doc! { "parent_id": 1, "first_position": 1, "_id": 1 }, children),
        ]
    }
}

/// A place in the list as one value: MongoDB compares documents field by field, so one index holds time and id.
fn place(cursor: &Cursor) -> Bson {
    Bson::Document(doc! { "at": DateTime::from_millis(cursor.requested_at.unix_ms()), "id": cursor.id.to_string() })
}

/// The conditions of a filter.
fn conditions(filter: &ExecutionFilter) -> Document {
    let mut all = Document::new();
    if !filter.statuses.is_empty() {
        let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
        all.insert("status", doc! { "$in": statuses });
    }
    if let Some(kind) = filter.kind {
        all.insert("kind", kind_text(kind));
    }
    if let Some(tag) = &filter.tag {
        all.insert("tags", tag);
    }
    if let Some(suite) = &filter.suite {
        all.insert("suite", suite);
    }
    if filter.roots_only {
        all.insert("parent_id", Bson::Null);
    }
    if let Some(before) = &filter.before {
        all.insert(PLACE, doc! { "$lt": place(before) });
    }
    all
}

#[async_trait]
impl ExecutionQueries for MongoViews<Executions> {
    async fn list(&self, filter: &ExecutionFilter) -> Result<ExecutionPage, ViewStoreError> {
        let limit = filter.limit.min(MAX_LIMIT);
        let question = Question { filter: conditions(filter), sort: doc! { PLACE: -1 }, limit: limit + 1 };
        Ok(ExecutionPage::cut(self.ask(question).await?, limit))
    }

    async fn get(&self, id: ExecutionId) -> Result<Option<ExecutionView>, ViewStoreError> {
        let question = Question { filter: doc! { "_id": id.to_string() }, sort: Document::new(), limit: 1 };
        Ok(self.ask(question).await?.pop())
    }

    async fn children(&self, id: ExecutionId, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        if limit == 0 {
            return Ok(vec![]);
        }
        let (filter, sort) = (doc! { "parent_id": id.to_string() }, doc! { "first_position": 1, "_id": 1 });
        self.ask(Question { filter, sort, limit }).await
    }

    async fn by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        if limit == 0 {
            return Ok(vec![]);
        }
        // `g` comes after every character of an id.
        let filter = doc! { "_id": { "$gte": prefix, "$lt": format!("{prefix}g") } };
        self.ask(Question { filter, sort: doc! { "_id": 1 }, limit }).await
    }
}
