//! Questions about views in memory: a walk over all of them.

use async_trait::async_trait;
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::ViewStoreError;
use testledger_schemas::ids::ExecutionId;

use crate::views::query::{Cursor, ExecutionFilter, ExecutionPage, ExecutionQueries};

#[async_trait]
impl ExecutionQueries for MemoryViews<Executions> {
    async fn list(&self, filter: &ExecutionFilter) -> Result<ExecutionPage, ViewStoreError> {
        let order = filter.order;
        Ok(self.with(|views| {
            let is_after =
                |view: &&ExecutionView| filter.after.is_none_or(|place| Cursor::of(view, order).is_after(place, order));
            let mut found: Vec<&ExecutionView> =
                views.values().filter(|view| filter.accepts(view)).filter(is_after).collect();
            found.sort_unstable_by_key(|view| Cursor::of(view, order));
            if order.is_descending() {
                found.reverse();
            }
            ExecutionPage::cut(found.into_iter().take(filter.wanted()).cloned().collect(), filter)
        }))
    }

    async fn get(&self, id: ExecutionId) -> Result<Option<ExecutionView>, ViewStoreError> {
        Ok(self.with(|views| views.get(&id).cloned()))
    }

    async fn children(&self, id: ExecutionId, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        Ok(self.with(|views| {
            let mut found: Vec<&ExecutionView> = views.values().filter(|view| view.parent_id == Some(id)).collect();
            found.sort_unstable_by_key(|view| (view.first_position, view.id));
            found.into_iter().take(limit).cloned().collect()
        }))
    }

    async fn by_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<ExecutionView>, ViewStoreError> {
        let begins = |view: &&ExecutionView| view.id.to_string().starts_with(prefix);
        Ok(self.with(|views| views.values().filter(begins).take(limit).cloned().collect()))
    }
}
