//! Transactions: begun and ended with majority concern, repeated within bounds, written to by few large commands.

use std::collections::HashSet;
use std::time::Duration;

use bson::raw::{RawArrayBuf, RawDocumentBuf};
use bson::{doc, rawdoc};
use mongodb::ClientSession;
use mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT;
use mongodb::options::{ReadConcern, WriteConcern};
use tokio::time::Instant;

use crate::views::mongodb::errors::{Fault, refusal};
use crate::views::mongodb::server::{Question, Server};
use crate::views::slot::Slot;

/// How long a transaction is repeated that another one is in the way of, or whose end is not known.
const REPEAT_FOR: Duration = Duration::from_secs(20);
/// The wait before the second try; each further one is twice as long, up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(4);
/// A transaction that is in the way for so long is one whose worker was killed, most likely: it is ended.
const HINDERED_FOR: Duration = Duration::from_millis(1500);
/// The longest wait between two tries.
const LAST_WAIT: Duration = Duration::from_millis(250);
/// How long a commit may take on the server, and how long it may take to reach the majority.
const COMMIT: Duration = Duration::from_secs(10);
/// How often a commit with an unknown result is sent, each time twice by the driver.
const COMMITS: usize = 2;
/// From so many documents on it is asked which of them are there.
const MANY: usize = 100;
/// How many documents one command writes. The server's own bound is 100,000.
const MAX_STATEMENTS: usize = 10_000;
/// How many bytes of documents one command writes, a larger document aside. The server takes a command of 16 MiB.
const MAX_COMMAND_BYTES: usize = 8 * 1024 * 1024;

/// Waits between the tries of one piece of work, up to [`REPEAT_FOR`].
///
/// All tries use one session: its next transaction ends the one before on the server, should that still be open because
/// a commit never arrived. Nobody else can end it but the server, after a minute.
pub(super) struct Patience {
    begun: Instant,
    wait: Duration,
    /// When the sessions of others were ended last, or the work was begun.
    ended: Instant,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), wait: FIRST_WAIT, ended: Instant::now() }
    }

    /// Waits before the next try, if that makes sense. What is in the way of `session` for long is ended.
    pub(super) async fn pause(&mut self, server: &Server, session: &ClientSession, fault: Fault) -> Result<(), Fault> {
        match fault {
            Fault::Again(why) if self.begun.elapsed() < REPEAT_FOR => {
                tracing::debug!(why, "a transaction is repeated");
                if self.ended.elapsed() >= HINDERED_FOR {
                    self.ended = Instant::now();
                    if let Err(fault) = server.end_others(session).await {
                        tracing::debug!(?fault, "the sessions of other workers are not ended");
                    }
                }
                tokio::time::sleep(self.wait).await;
                self.wait = (self.wait * 2).min(LAST_WAIT);
                Ok(())
            }
            Fault::Again(why) => Err(Fault::Failed(format!("still so after {} s: {why}", REPEAT_FOR.as_secs()))),
            Fault::Failed(_) | Fault::Unreadable(_) => Err(fault),
        }
    }
}

/// Begins a transaction that sees one state of the database, acknowledged by the majority.
pub(super) async fn begin(session: &mut ClientSession) -> Result<(), Fault> {
    begin_with(session, WriteConcern::majority()).await
}

/// The same, acknowledged as views of a slot have to be. Those beside are shown to nobody before the switch, which is the
/// majority's with all that was written before it; until then they may be lost, together with their checkpoint, and
/// waiting for the disk is most of what they cost.
pub(super) async fn begin_in(session: &mut ClientSession, slot: Slot) -> Result<(), Fault> {
    match slot {
        Slot::Shown => begin(session).await,
        Slot::Beside => begin_with(session, WriteConcern::nodes(1)).await,
    }
}

async fn begin_with(session: &mut ClientSession, mut concern: WriteConcern) -> Result<(), Fault> {
    concern.w_timeout = Some(COMMIT);
    let begun = session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(concern);
    Ok(begun.max_commit_time(COMMIT).await?)
}

/// Ends it: commits what went well (what was only read, too: then it is the majority's), and takes back the rest.
pub(super) async fn end<T>(session: &mut ClientSession, worked: Result<T, Fault>) -> Result<T, Fault> {
    match worked {
        Ok(value) => commit(session).await.map(|()| value),
        Err(fault) => {
            // The server takes it back by itself later: nothing hangs on the answer.
            session.abort_transaction().await.ok();
            Err(fault)
        }
    }
}

async fn commit(session: &mut ClientSession) -> Result<(), Fault> {
    let mut unknown = None;
    for _ in 0..COMMITS {
        match session.commit_transaction().await {
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => unknown = Some(error),
            known => return Ok(known?),
        }
    }
    Err(unknown.map_or_else(|| Fault::Again("no commit was sent".to_owned()), Fault::from))
}

/// Puts documents in the place of those with the same `_id`, within the transaction of the session.
pub(super) async fn put(
    server: &Server,
    session: &mut ClientSession,
    collection: &str,
    documents: &[RawDocumentBuf],
) -> Result<(), Fault> {
    let documents: Vec<&RawDocumentBuf> = documents.iter().collect();
    // A document that is not there yet is cheaper inserted than looked for, and to ask which those are is worth it for many.
    let there = if documents.len() < MANY { None } else { Some(there(server, session, collection, &documents).await?) };
    let is_there = |document: &RawDocumentBuf| match (&there, id(document)) {
        (Some(there), Ok(id)) => there.contains(id),
        (None, _) | (Some(_), Err(_)) => true,
    };
    let (old, new): (Vec<_>, Vec<_>) = documents.into_iter().partition(|document| is_there(document));
    for part in parts(&old) {
        let mut statements = RawArrayBuf::new();
        for document in part {
            statements.push(upsert(document)?);
        }
        run(server, session, rawdoc! { "update": collection, "updates": statements }).await?;
    }
    for part in parts(&new) {
        let mut documents = RawArrayBuf::new();
        for document in part {
            documents.push((*document).clone());
        }
        run(server, session, rawdoc! { "insert": collection, "documents": documents }).await?;
    }
    Ok(())
}

/// The ids among those of these documents that are in the collection.
async fn there(
    server: &Server,
    session: &mut ClientSession,
    collection: &str,
    documents: &[&RawDocumentBuf],
) -> Result<HashSet<String>, Fault> {
    let ids = documents.iter().map(|document| Ok(id(document)?.to_owned())).collect::<Result<Vec<_>, Fault>>()?;
    let question = Question { filter: doc! { "_id": { "$in": ids } }, only: Some("_id"), ..Question::default() };
    let found = server.find(session, collection, &question).await?;
    found.iter().map(|document| Ok(id(document)?.to_owned())).collect()
}

async fn run(server: &Server, session: &mut ClientSession, command: RawDocumentBuf) -> Result<(), Fault> {
    let answer = server.database.run_raw_command(command).session(session).await?;
    match answer.get_array("writeErrors").ok().and_then(|errors| errors.first()?.as_document()) {
        Some(error) => Err(refusal(error)),
        None => Ok(()),
    }
}

fn id(document: &RawDocumentBuf) -> Result<&str, Fault> {
    document.get_str("_id").map_err(|error| Fault::Unreadable(error.to_string()))
}

fn upsert(document: &RawDocumentBuf) -> Result<RawDocumentBuf, Fault> {
    Ok(rawdoc! { "q": { "_id": id(document)? }, "u": document.clone(), "upsert": true })
}

/// The documents in parts that fit one command each.
fn parts<'a, 'b>(documents: &'a [&'b RawDocumentBuf]) -> Vec<&'a [&'b RawDocumentBuf]> {
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, document) in documents.iter().enumerate() {
        let size = document.as_bytes().len();
        if index > start && (bytes + size > MAX_COMMAND_BYTES || index - start == MAX_STATEMENTS) {
            parts.push(&documents[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < documents.len() {
        parts.push(&documents[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(bytes: usize) -> RawDocumentBuf {
        rawdoc! { "_id": "x", "text": "x".repeat(bytes) }
    }

    fn sizes(documents: &[RawDocumentBuf]) -> Vec<usize> {
        parts(&documents.iter().collect::<Vec<_>>()).iter().map(|part| part.len()).collect()
    }

    #[test]
    fn a_command_is_bounded_by_statements_and_by_bytes() {
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&vec![document(1); MAX_STATEMENTS + 1]), [MAX_STATEMENTS, 1]);
        assert_eq!(sizes(&vec![document(3 << 20); 5]), [2, 2, 1]);
        assert_eq!(sizes(&[document(1), document(15 << 20), document(1)]), [1, 1, 1], "a large one goes alone");
    }
}
