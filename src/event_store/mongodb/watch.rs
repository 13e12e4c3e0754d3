//! The change stream of the pages, filtered to what wakes readers: how far the log has come, and what has its place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mongodb::bson::{Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use testledger_schemas::commit::CommitId;

use crate::event_store::StoreError;
use crate::event_store::mongodb::shared::{COMMITS, PAGES, Shared};
use crate::event_store::mongodb::stream::{Source, Stream, ends};

/// How long the server waits for a page before it says that there is none.
const AWAIT: Duration = Duration::from_secs(1);
/// The pause after a reply with pages. While nobody waits for a reply, the server need not look at each commit for each
/// process: with eight processes that was most of its work.
const PACE: Duration = Duration::from_millis(25);
/// The pause after a failure. Meanwhile the last page is read by whoever wants to know.
const PAUSE: Duration = Duration::from_millis(100);
/// So many commits are asked for at once.
const ASKED_AT_ONCE: usize = 1000;

/// Watches until the log is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    while !shared.closed.is_cancelled() {
        if let Err(error) = watch(&shared).await {
            tracing::debug!(%error, "the pages cannot be watched; trying again");
            shared.closed.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
    }
}

async fn watch(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let source = Source::<RawDocumentBuf>::Database(shared.store.database());
    let mut stream = shared.ask(async move { Stream::open(&source, None, wanted(), AWAIT).await }).await?;
    // Looked at once the stream is open, so that nothing falls between the two.
    shared.head.advance(shared.last_page().await?.last_position());
    for ids in shared.unplaced.ids().chunks(ASKED_AT_ONCE) {
        shared.unplaced.forget(&shared.placed(ids).await?);
    }
    while !shared.closed.is_cancelled() {
        // Not raced against the end of the log: the driver's futures are not to be dropped half-way.
        let reply = stream.next().await.map_err(|error| shared.store.errors.store(&error))?;
        let Some(reply) = reply else { return Ok(()) };
        let changes = reply.changes().map_err(|error| shared.store.errors.store(&error))?;
        changes.iter().for_each(|change| hear(shared, change));
        if !changes.is_empty() {
            tokio::time::sleep(PACE).await;
        }
    }
    Ok(())
}

/// New pages, without all of their entries' fields; and what must not happen to the collections.
fn wanted() -> [Document; 2] {
    let page = doc! { "operationType": "insert", "ns.coll": PAGES };
    let end = doc! { "operationType": { "$in": ends() } };
    let position = doc! { "$add": ["$fullDocument.first_position", { "$sum": "$fullDocument.entries.events" }, -1] };
    [
        doc! { "$match": { "$or": [page, end] } },
        doc! { "$project": {
            "operationType": 1, "ns": 1, "position": position, "commits": "$fullDocument.entries.commit",
        } },
    ]
}

fn hear(shared: &Shared, event: &RawDocument) {
    if event.get_str("operationType").ok() == Some("insert") {
        if !shared.unplaced.is_empty() {
            shared.unplaced.forget(&commits_in(event));
        }
        let position = match event.get("position") {
            Ok(Some(RawBsonRef::Int64(position))) => u64::try_from(position).unwrap_or(0),
            Ok(Some(RawBsonRef::Int32(position))) => u64::try_from(position).unwrap_or(0),
            Ok(_) | Err(_) => 0,
        };
        return shared.head.advance(position);
    }
    let collection = event.get_document("ns").and_then(|ns| ns.get_str("coll"));
    if collection.is_ok_and(|collection| [COMMITS, PAGES].contains(&collection)) {
        shared.gone.store(true, Ordering::Release);
    }
}

fn commits_in(event: &RawDocument) -> Vec<CommitId> {
    let Ok(commits) = event.get_array("commits") else { return vec![] };
    let texts = commits.into_iter().filter_map(|commit| commit.ok()?.as_str()?.parse().ok());
    texts.collect()
}
