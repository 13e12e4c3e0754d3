//! Open work: what the stored views hold as open, and what the log has of which they do not know yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    place: Mutex<Place>,
}

/// How far the log was gone through.
#[derive(Default)]
struct Place {
    /// Where it goes on; none before the first call.
    pages: Option<Subscription>,
    /// The root of each execution that was met: of each, one commit is read.
    roots: HashMap<ExecutionId, ExecutionId>,
}

impl OpenWork {
    /// The open work of these views' log.
    #[must_use]
    pub fn of(views: Views) -> Self {
        Self { views, place: Mutex::default() }
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
        let mut pages = match place.pages.take() {
            Some(pages) => pages,
            None => self.views.open_at_checkpoint(&mut roots).await?,
        };
        self.views.mentioned(&mut pages, &mut place.roots, &mut roots).await?;
        place.pages = Some(pages);
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

    async fn mentioned(
        &self,
        pages: &mut Subscription,
        known: &mut HashMap<ExecutionId, ExecutionId>,
        roots: &mut BTreeSet<ExecutionId>,
    ) -> Result<(), StoreError> {
        while let Some(page) = pages.next(&*self.log).await? {
            let commits = page.entries.iter().map(|entry| entry.commit);
            let executions = commits.filter_map(|commit| Some((commit.stream.execution()?, commit)));
            let mut unknown = BTreeMap::new();
            for (execution, commit) in executions {
                match known.get(&execution) {
                    Some(root) => drop(roots.insert(*root)),
                    None => drop(unknown.insert(execution, commit)),
                }
            }
            let (executions, ids): (Vec<_>, Vec<_>) = unknown.into_iter().unzip();
            for (executions, ids) in executions.chunks(COMMITS_AT_ONCE).zip(ids.chunks(COMMITS_AT_ONCE)) {
                for (execution, commit) in executions.iter().zip(read_each(&*self.log, ids).await?) {
                    // What cannot be read is at least looked at by itself.
                    let root = commit.ok().flatten().and_then(|commit| commit.correlation_id).unwrap_or(*execution);
                    known.insert(*execution, root);
                    roots.insert(root);
                }
            }
        }
        Ok(())
    }
}
