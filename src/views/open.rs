//! Open work: what the stored views hold as open, and what the log has of which they do not know yet.

use std::collections::BTreeSet;

use testledger_schemas::ids::ExecutionId;
use testledger_schemas::{ExecutionStatus, Hash};
use tokio::sync::Mutex;

use crate::event_store::StoreError;
use crate::event_store::subscription::{COMMITS_AT_ONCE, Subscription, read_each};
use crate::views::query::{ExecutionFilter, MAX_LIMIT, Order};
use crate::views::{ViewError, Views};

/// The open work of one log, call by call.
pub struct OpenWork {
    views: Views,
    /// The place in the log up to which everything was named; none before the first call.
    place: Mutex<Option<Subscription>>,
}

impl OpenWork {
    /// The open work of these views' log.
    #[must_use]
    pub fn of(views: Views) -> Self {
        Self { views, place: Mutex::new(None) }
    }

    /// At first the root executions that are open or have open cases: by the stored views at their checkpoint, and every one
    /// that the log mentions after it. Then those that it has mentioned since the call before. Nothing is folded and nothing
    /// written: whoever acts on one loads its stream first.
    ///
    /// # Errors
    /// [`ViewError`]; the next call names everything that this one would have.
    pub async fn news(&self) -> Result<BTreeSet<ExecutionId>, ViewError> {
        let mut place = self.place.lock().await;
        let mut roots = BTreeSet::new();
        let mut pages = match place.take() {
            Some(pages) => pages,
            None => self.views.open_at_checkpoint(&mut roots).await?,
        };
        self.views.mentioned(&mut pages, &mut roots).await?;
        *place = Some(pages);
        Ok(roots)
    }
}

impl Views {
    /// What the stored views hold as open, and where the log goes on after them.
    async fn open_at_checkpoint(&self, roots: &mut BTreeSet<ExecutionId>) -> Result<Subscription, ViewError> {
        // The checkpoint first: what the views have come to know since is there twice, rather than never.
        let checkpoint = self.store.checkpoint().await?;
        let is_of_this_log = self.page_hash(checkpoint.page).await? == Some(checkpoint.page_hash);
        if checkpoint.position == 0 || !is_of_this_log {
            return Ok(Subscription::from_page(&*self.log, 0));
        }
        self.open_in_views(roots).await?;
        Ok(Subscription::from_page(&*self.log, checkpoint.page + 1))
    }

    async fn page_hash(&self, page: u64) -> Result<Option<Hash>, StoreError> {
        let pages = self.log.read_pages(page, 1).await?;
        Ok(pages.first().filter(|found| found.number == page).map(|found| found.hash))
    }

    async fn open_in_views(&self, roots: &mut BTreeSet<ExecutionId>) -> Result<(), ViewError> {
        let mut filter = ExecutionFilter {
            statuses: vec![ExecutionStatus::Pending, ExecutionStatus::Running, ExecutionStatus::Retrying],
            order: Order::Oldest,
            limit: MAX_LIMIT,
            ..ExecutionFilter::default()
        };
        loop {
            let page = self.store.list(&filter).await?;
            roots.extend(page.executions.iter().map(|view| view.parent_id.unwrap_or(view.id)));
            if page.next.is_none() {
                return Ok(());
            }
            filter.after = page.next;
        }
    }

    async fn mentioned(&self, pages: &mut Subscription, roots: &mut BTreeSet<ExecutionId>) -> Result<(), StoreError> {
        while let Some(page) = pages.next(&*self.log).await? {
            let of_executions = page.entries.iter().map(|entry| entry.commit);
            let ids: Vec<_> = of_executions.filter(|commit| commit.stream.execution().is_some()).collect();
            for chunk in ids.chunks(COMMITS_AT_ONCE) {
                for (id, commit) in chunk.iter().zip(read_each(&*self.log, chunk).await?) {
                    // What cannot be read is at least looked at by itself.
                    let root = commit.ok().flatten().and_then(|commit| commit.correlation_id);
                    roots.extend(root.or(id.stream.execution()));
                }
            }
        }
        Ok(())
    }
}
