//! The commits were dropped or renamed by another hand: nothing is appended until all that the pages name is there again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mongodb::bson::doc;
use testledger_schemas::commit::CommitId;
use testledger_schemas::page::Page;

use crate::event_store::StoreError;
use crate::event_store::mongodb::sequence::{FIRST_PAUSE, rest};
use crate::event_store::mongodb::shared::Shared;

/// So many pages are compared with the commits at once.
const COMPARED_AT_ONCE: u64 = 64;
/// Of so many of the last pages, and of so many commits in them, one at least is expected to be there.
const LOOKED_BACK: u64 = 8;
const LOOKED_FOR: usize = 100;

/// Notices that of all that the last pages name nothing is there: who comes after the commits were dropped, and after the
/// change stream has forgotten it, sees no more than that. One commit that is missing is for an audit to find.
pub(super) async fn notice(shared: &Arc<Shared>) {
    match is_bare(shared).await {
        Ok(false) => {}
        Ok(true) => {
            tracing::error!(
                "the commits that the last pages name are gone; nothing is appended until they are restored"
            );
            shared.gone.store(true, Ordering::Release);
        }
        Err(error) => tracing::debug!(%error, "it cannot be seen whether the commits are there"),
    }
}

async fn is_bare(shared: &Arc<Shared>) -> Result<bool, StoreError> {
    let last = shared.last_page().await?.number;
    let pages = shared.pages((last + 1).saturating_sub(LOOKED_BACK), usize::MAX).await?;
    let mut named = named(&pages);
    named.drain(..named.len().saturating_sub(LOOKED_FOR));
    Ok(!named.is_empty() && shared.count_stored(&named).await? == 0)
}

/// Waits until everything that the pages name is there again, and only then lets others append: what is restored last
/// must not find its place taken.
pub(super) async fn until_restored(shared: &Arc<Shared>) {
    let (mut pause, mut whole) = (FIRST_PAUSE, 0);
    while !shared.closed.is_cancelled() {
        match is_restored(shared, &mut whole).await {
            Ok(true) => {
                if let Err(error) = shared.make_indexes().await {
                    tracing::debug!(%error, "the indexes of the pages are not made anew");
                }
                tracing::warn!("the commits are restored");
                return shared.gone.store(false, Ordering::Release);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "it cannot be seen whether the commits are restored"),
        }
        rest(shared, &mut pause).await;
    }
}

/// Whether all pages are there, and all commits that they name. The first `whole` pages were seen to be.
async fn is_restored(shared: &Arc<Shared>, whole: &mut u64) -> Result<bool, StoreError> {
    loop {
        let limit = usize::try_from(COMPARED_AT_ONCE).unwrap_or(usize::MAX);
        let pages = shared.pages(*whole, limit).await?;
        if pages.is_empty() {
            return Ok(*whole > 0);
        }
        let is_dense = (*whole..).zip(&pages).all(|(number, page)| page.number == number);
        let named = named(&pages);
        if !is_dense || shared.count_stored(&named).await? < named.len() {
            return Ok(false);
        }
        *whole += pages.len() as u64;
    }
}

fn named(pages: &[Page]) -> Vec<CommitId> {
    pages.iter().flat_map(|page| &page.entries).map(|entry| entry.commit).collect()
}

impl Shared {
    /// How many of these commits are there, whatever they hold.
    async fn count_stored(&self, ids: &[CommitId]) -> Result<usize, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let keys: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let commits = self.commits.clone();
        let counting = async move { commits.count_documents(doc! { "_id": { "$in": keys } }).await };
        Ok(usize::try_from(self.ask(counting).await?).unwrap_or(usize::MAX))
    }
}
