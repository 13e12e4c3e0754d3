//! A change stream, reply by reply: with the token after each, and at a pace of its reader's choosing.
//!
//! The driver's own `ChangeStream` hands out event by event, copies each, and asks for the next reply as soon as it can;
//! then a server answers each commit by itself, to everybody who listens. Whoever reads here lets what comes within some
//! milliseconds come together. It resumes nothing by itself: all that follow a stream here have a place to go on from.

use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::{Bson, Document, RawDocument, doc};
use mongodb::error::Result;
use mongodb::options::ReadConcern;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use mongodb::{Collection, Database};

/// The part of a token that says where it is.
const TOKEN: &str = "_data";
/// So many changes come in one reply at the most.
const MOST: u32 = 1000;

/// What is followed.
pub(super) enum Source<T: Send + Sync> {
    Collection(Collection<T>),
    Database(Database),
}

/// An open change stream.
pub(super) struct Stream {
    replies: RawBatchCursor,
}

/// One reply: some changes, or none.
pub(super) struct Reply(RawBatch);

impl Stream {
    /// Follows a source from a token on, or from now; `stages` filter and shape what comes. The server waits up to `wait`
    /// for changes before it replies without any.
    pub(super) async fn open<T: Send + Sync>(
        source: &Source<T>,
        token: Option<&str>,
        stages: impl IntoIterator<Item = Document>,
        wait: Duration,
    ) -> Result<Self> {
        let mut options = Document::new();
        if let Some(token) = token {
            options.insert("resumeAfter", doc! { TOKEN: token });
        }
        let pipeline: Vec<Document> = [doc! { "$changeStream": options }].into_iter().chain(stages).collect();
        let majority = ReadConcern::majority();
        let replies = match source {
            Source::Collection(collection) => {
                let opening = collection.aggregate(pipeline).read_concern(majority);
                opening.batch_size(MOST).max_await_time(wait).batch().await?
            }
            Source::Database(database) => {
                let opening = database.aggregate(pipeline).read_concern(majority);
                opening.batch_size(MOST).max_await_time(wait).batch().await?
            }
        };
        Ok(Self { replies })
    }

    /// The next reply; none once the server has closed the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Reply>> {
        Ok(self.replies.try_next().await?.map(Reply))
    }
}

impl Reply {
    /// The changes, in order.
    pub(super) fn changes(&self) -> Result<Vec<&RawDocument>> {
        let changes = self.0.doc_slices()?.into_iter();
        Ok(changes.filter_map(|change| change.ok()?.as_document()).collect())
    }

    /// The token after everything that was looked at until this reply.
    pub(super) fn token(&self) -> Option<String> {
        let cursor = self.0.as_raw_document().get_document("cursor").ok()?;
        token_in(cursor.get_document("postBatchResumeToken").ok()?)
    }
}

/// The token of one change.
pub(super) fn token_of(change: &RawDocument) -> Option<String> {
    token_in(change.get_document("_id").ok()?)
}

fn token_in(token: &RawDocument) -> Option<String> {
    token.get_str(TOKEN).ok().map(ToOwned::to_owned)
}

/// The kinds of changes that end what a collection was relied on for.
pub(super) fn ends() -> Vec<Bson> {
    ["drop", "rename", "dropDatabase", "invalidate"].into_iter().map(Bson::from).collect()
}
