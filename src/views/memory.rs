//! Questions about views in memory: a walk over all of them.

use async_trait::async_trait;
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::ViewStoreError;
use testledger_schemas::ids::ExecutionId;

use crate::views::query::{Cursor, ExecutionFilter, ExecutionPage, ExecutionQueries, MAX_LIMIT};

#[async_trait]
impl ExecutionQueries for MemoryViews<Executions> {
    async fn list(&self, filter: &ExecutionFilter) -> Result<ExecutionPage, ViewStoreError> {
        let limit = filter.limit.min(MAX_LIMIT);
        Ok(self.with(|views| {
            let is_after = |view: &&ExecutionView| filter.before.is_none_or(|before| Cursor::of(view) < before);
            let mut found: Vec<&ExecutionView> =
                views.values().filter(|view| filter.accepts(view)).filter(is_after).collect();
            found.sort_unstable_by_key(|view| std::cmp::Reverse(Cursor::of(view)));
            ExecutionPage::cut(found.into_iter().take(limit + 1).cloned().collect(), limit)
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
