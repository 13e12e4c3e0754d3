//! The change stream of the commits: read by a task of its own, told change by change, with the token after each.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{RawDocument, RawDocumentBuf, deserialize_from_document, doc, serialize_to_bson};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, ResumeToken};
use mongodb::error::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::event_store::mongodb::documents::{commit_in, key_of};
use crate::event_store::mongodb::shared::Shared;
use crate::event_store::queue::{room, room_for};
use crate::event_store::sequencer::Candidate;

/// So many changes may be read ahead of the sequencer, and no more than fit into the room of a queue.
const AHEAD: usize = 1024;
/// How long the server waits for a change before it says that there is none: also how long the end of following takes.
const AWAIT: Duration = Duration::from_millis(200);
/// So many changes come in one batch at the most: large ones first have to be read whole.
const BATCH: u32 = 1000;
/// How often a fresh stream is opened anew because changes came with its first batch.
const MAX_OPENINGS: usize = 100;

/// The part of a token that says where it is.
const TOKEN: &str = "_data";

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
    let resume: ResumeToken = deserialize_from_document(doc! { TOKEN: token })?;
    let mut stream = open(shared, Some(resume)).await?;
    let room = room();
    let first = token_of(&stream)?.filter(|first| first != token);
    if let Some(first) = first
        && tell.send(Change::Idle(first)).await.is_err()
    {
        return Ok(());
    }
    while !tell.is_closed() {
        let change = match stream.next_if_any().await? {
            Some(event) => {
                let room = Arc::clone(&room).acquire_many_owned(room_for(event.as_bytes().len())).await;
                // The room is never closed.
                let Ok(room) = room else { return Ok(()) };
                change_in(shared, &event, room)
            }
            None if !stream.is_alive() => Some(Change::Invalidated),
            None => token_of(&stream)?.map(Change::Idle),
        };
        let is_end = matches!(change, Some(Change::Invalidated));
        let Some(change) = change else { continue };
        if tell.send(change).await.is_err() || is_end {
            return Ok(());
        }
    }
    Ok(())
}

async fn open(shared: &Shared, resume: Option<ResumeToken>) -> Result<ChangeStream<RawDocumentBuf>> {
    // Drops and renames have to come through: they end what was promised.
    let wanted =
        doc! { "$match": { "operationType": { "$in": ["insert", "drop", "rename", "dropDatabase", "invalidate"] } } };
    let watch = shared.commits.watch().pipeline([wanted]).batch_size(BATCH).max_await_time(AWAIT);
    let stream: ChangeStream<ChangeStreamEvent<RawDocumentBuf>> = match resume {
        Some(token) => watch.resume_after(token).await?,
        None => watch.await?,
    };
    Ok(stream.with_type())
}

/// The token of a fresh stream: everything that becomes durable from now on comes after it.
pub(super) async fn token_of_now(shared: &Shared) -> Result<String> {
    for _ in 0..MAX_OPENINGS {
        // None where changes came with the first batch: that token would be after them.
        if let Some(token) = token_of(&open(shared, None).await?)? {
            return Ok(token);
        }
    }
    Err(Error::custom("the change stream is never without changes"))
}

fn token_of(stream: &ChangeStream<RawDocumentBuf>) -> Result<Option<String>> {
    let Some(token) = stream.resume_token() else { return Ok(None) };
    let token = serialize_to_bson(&token)?;
    Ok(token.as_document().and_then(|token| token.get_str(TOKEN).ok()).map(ToOwned::to_owned))
}

fn change_in(shared: &Shared, event: &RawDocument, room: OwnedSemaphorePermit) -> Option<Change> {
    if event.get_str("operationType").ok() != Some("insert") {
        return Some(Change::Invalidated);
    }
    let document = event.get_document("fullDocument").ok()?;
    let token = event.get_document("_id").ok()?.get_str(TOKEN).ok()?.to_owned();
    let own = shared.unplaced.candidate_in(document);
    match own.map_or_else(|| commit_in(document).map(|commit| Candidate::checked(&commit)), Ok) {
        Ok(commit) => Some(Change::Commit(Box::new(Arrived { commit, token, _room: room }))),
        Err(error) => {
            tracing::warn!(key = key_of(document), error, "a document among the commits is none: it gets no place");
            Some(Change::Foreign(token))
        }
    }
}
