//! The change stream of the commits: read by a task of its own, told change by change, with the token after each.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocument, doc};
use mongodb::error::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::event_store::mongodb::documents::{commit_in, key_of};
use crate::event_store::mongodb::shared::Shared;
use crate::event_store::mongodb::stream::{Source, Stream, ends, token_of};
use crate::event_store::queue::{room, room_for};
use crate::event_store::sequencer::{Candidate, MAX_PAGE_ENTRIES};

/// So many changes may be read ahead of the sequencer, and no more than fit into the room of a queue.
const AHEAD: usize = 1024;
/// How long the server waits for a change before it says that there is none: also how long the end of following takes.
const AWAIT: Duration = Duration::from_millis(200);
/// The pause after a reply with less than a page of changes: what comes meanwhile shares the next page. A page is a
/// durable write that everybody who follows the log hears of, so a page for each commit would cost more than the commits.
const PACE: Duration = Duration::from_millis(8);
/// How often a fresh stream is opened anew because changes came with its first reply.
const MAX_OPENINGS: usize = 100;

/// What the change stream tells.
pub(super) enum Change {
    /// A commit became durable. Boxed, as it is far larger than the rest.
    Commit(Box<Arrived>),
    /// What is no commit was put among them, by another hand: it gets no place, and an audit names it.
    Foreign(String),
    /// Nothing more for now; nothing of interest before this token was left out.
    Idle(String),
    /// The collection was dropped or renamed.
    Invalidated,
    /// The stream failed.
    Failed(Error),
}

/// A commit, the token after it, and its room among those that were read ahead.
pub(super) struct Arrived {
    pub(super) commit: Candidate,
    pub(super) token: String,
    _room: OwnedSemaphorePermit,
}

/// Starts reading after a token; ends when nobody listens any more.
pub(super) fn follow(shared: &Arc<Shared>, token: String) -> mpsc::Receiver<Change> {
    let (tell, changes) = mpsc::channel(AHEAD);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if let Err(error) = read(&shared, &token, &tell).await {
            // Nobody may listen any more: then nobody has to know.
            drop(tell.send(Change::Failed(error)).await);
        }
    });
    changes
}

async fn read(shared: &Shared, token: &str, tell: &mpsc::Sender<Change>) -> Result<()> {
    let mut stream = open(shared, Some(token)).await?;
    let room = room();
    while !tell.is_closed() {
        let Some(reply) = stream.next().await? else {
            drop(tell.send(Change::Invalidated).await);
            return Ok(());
        };
        let events = reply.changes()?;
        for event in &events {
            // The room is never closed.
            let Ok(room) = Arc::clone(&room).acquire_many_owned(room_for(event.as_bytes().len())).await else {
                return Ok(());
            };
            let change = change_in(shared, event, room);
            let is_end = matches!(change, Some(Change::Invalidated));
            let Some(change) = change else { continue };
            if tell.send(change).await.is_err() || is_end {
                return Ok(());
            }
        }
        if events.is_empty() {
            let idle = reply.token().map(Change::Idle);
            if let Some(idle) = idle
                && tell.send(idle).await.is_err()
            {
                return Ok(());
            }
        } else if events.len() < MAX_PAGE_ENTRIES {
            tokio::time::sleep(PACE).await;
        }
    }
    Ok(())
}

async fn open(shared: &Shared, token: Option<&str>) -> Result<Stream> {
    // Drops and renames have to come through: they end what was promised.
    let kinds: Vec<Bson> = ends().into_iter().chain([Bson::from("insert")]).collect();
    let wanted: [Document; 1] = [doc! { "$match": { "operationType": { "$in": kinds } } }];
    Stream::open(&Source::Collection(shared.commits.clone()), token, wanted, AWAIT).await
}

/// The token of a fresh stream: everything that becomes durable from now on comes after it.
pub(super) async fn token_of_now(shared: &Shared) -> Result<String> {
    for _ in 0..MAX_OPENINGS {
        let Some(reply) = open(shared, None).await?.next().await? else { continue };
        // Where changes came with the first reply, its token is after them.
        if let Some(token) = reply.token().filter(|_| reply.changes().is_ok_and(|changes| changes.is_empty())) {
            return Ok(token);
        }
    }
    Err(Error::custom("the change stream is never without changes"))
}

fn change_in(shared: &Shared, event: &RawDocument, room: OwnedSemaphorePermit) -> Option<Change> {
    if event.get_str("operationType").ok() != Some("insert") {
        return Some(Change::Invalidated);
    }
    let document = event.get_document("fullDocument").ok()?;
    let token = token_of(event)?;
    let own = shared.unplaced.candidate_in(document);
    match own.map_or_else(|| commit_in(document).map(|commit| Candidate::checked(&commit)), Ok) {
        Ok(commit) => Some(Change::Commit(Box::new(Arrived { commit, token, _room: room }))),
        Err(error) => {
            tracing::warn!(key = key_of(document), error, "a document among the commits is none: it gets no place");
            Some(Change::Foreign(token))
        }
    }
}
