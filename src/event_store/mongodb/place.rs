//! A page gets its number, or does not: what the unique keys of the pages tell.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::commit::CommitId;
use testledger_schemas::page::Page;

use crate::event_store::StoreError;
use crate::event_store::mongodb::documents::encode;
use crate::event_store::mongodb::errors::is_duplicate;
use crate::event_store::mongodb::shared::Shared;

/// How often a majority is asked for what stands in the way of a page.
const LOOKS: usize = 250;
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of a page.
pub(super) enum Placed {
    /// It is the next page of the log.
    Here,
    /// Another sequencer's page has its number.
    Overtaken,
    /// These of its commits have their places in earlier pages.
    Before(HashSet<CommitId>),
}

/// Inserts a page under its number. Anything but an acknowledgement is an error: then only the last page tells.
pub(super) async fn insert(shared: &Arc<Shared>, page: &Page) -> Result<Placed, StoreError> {
    let document = encode(page).map_err(|why| shared.store.errors.damaged(&why))?;
    let pages = shared.pages.clone();
    match shared.store.attempt(async move { pages.insert_one(document).await }).await? {
        Ok(_) => {
            shared.unplaced.forget(page.entries.iter().map(|entry| &entry.commit));
            shared.head.advance(page.last_position());
            Ok(Placed::Here)
        }
        Err(error) if is_duplicate(&error) => in_the_way(shared, page).await,
        Err(error) => Err(shared.store.errors.store(&error)),
    }
}

/// What has the number or a commit of this page, once a majority has it.
async fn in_the_way(shared: &Shared, page: &Page) -> Result<Placed, StoreError> {
    let ids: Vec<CommitId> = page.entries.iter().map(|entry| entry.commit).collect();
    for _ in 0..LOOKS {
        if shared.last_page().await?.number >= page.number {
            return Ok(Placed::Overtaken);
        }
        let placed = shared.placed(&ids).await?;
        if !placed.is_empty() {
            return Ok(Placed::Before(placed));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(shared.store.errors.unavailable(&format!("what has the place of page {} does not appear", page.number)))
}
