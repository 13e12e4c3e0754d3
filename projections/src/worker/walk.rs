//! A walk through the log, batch by batch, from the checkpoint on. While a batch is folded and written, the next one is
//! read.

use crate::ports::{Batch, Checkpoint, Feed, FeedError, Saved, ViewStore};
use crate::projection::Projection;
use crate::worker::fold::{Length, fold};
use crate::worker::{CatchUpError, MAX_OVERTAKEN, Progress};

/// A walk of one projection.
pub(super) struct Walk<'a, P: Projection> {
    projection: &'a P,
    feed: &'a dyn Feed,
    store: &'a dyn ViewStore<P>,
    checkpoint: Checkpoint,
    length: Length,
    /// What was read after the batch before.
    ahead: Option<Batch>,
    folded: u64,
    /// How many batches in a row another worker was faster with.
    overtaken: u32,
}

impl<'a, P: Projection> Walk<'a, P> {
    /// A walk from where the views are, in batches of about so many events at the most.
    pub(super) async fn begin(
        projection: &'a P,
        feed: &'a dyn Feed,
        store: &'a dyn ViewStore<P>,
        batch_events: usize,
    ) -> Result<Self, CatchUpError> {
        let (checkpoint, length) = (store.checkpoint().await?, Length::of(batch_events));
        Ok(Self { projection, feed, store, checkpoint, length, ahead: None, folded: 0, overtaken: 0 })
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> Progress {
        Progress::at(self.checkpoint.clone(), self.folded)
    }

    /// Where the views are.
    pub(super) fn position(&self) -> u64 {
        self.checkpoint.position
    }

    /// Goes on by one batch, of whichever length. False once the position `until` is reached, or there is nothing to fold,
    /// or it may not be.
    pub(super) async fn batch(&mut self, until: u64) -> Result<bool, CatchUpError> {
        if self.checkpoint.held.is_some() {
            return Ok(false);
        }
        let Some(batch) = self.read().await? else { return Ok(true) };
        if batch.events.is_empty() && batch.reached.paused == self.checkpoint.paused {
            return Ok(false);
        }
        let is_last = batch.reached.position >= until || batch.reached.paused.is_some();
        let (feed, events) = (self.feed, self.length.events());
        let ahead = async { if is_last { None } else { Some(feed.read(&batch.reached, events).await) } };
        let (written, ahead) = tokio::join!(self.write(&batch), ahead);
        if written? {
            // What could not be read is read again, and says why.
            self.ahead = ahead.and_then(Result::ok);
        }
        Ok(self.checkpoint.position < until && self.checkpoint.paused.is_none())
    }

    /// The next batch. None where the views are of another history, which throws them away.
    async fn read(&mut self) -> Result<Option<Batch>, CatchUpError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        match self.feed.read(&self.checkpoint, self.length.events()).await {
            Ok(batch) => Ok(Some(batch)),
            Err(FeedError::OtherHistory) if self.checkpoint.position > 0 => {
                tracing::warn!(projection = P::NAME, "the log has another history: its views are folded anew");
                self.store.reset().await?;
                self.checkpoint = self.store.checkpoint().await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Folds and writes a batch. False where that came to nothing: it touches too much, or another worker was faster.
    async fn write(&mut self, batch: &Batch) -> Result<bool, CatchUpError> {
        let views = fold(self.projection, self.store, &batch.events, &mut self.length).await?;
        let Some(views) = views else { return Ok(false) };
        match self.store.save(&self.checkpoint, views, &batch.reached).await? {
            Saved::Yes => {
                self.folded += batch.events.len() as u64;
                self.overtaken = 0;
                self.checkpoint = batch.reached.clone();
                Ok(true)
            }
            Saved::Overtaken => {
                self.overtaken += 1;
                if self.overtaken > MAX_OVERTAKEN {
                    return Err(CatchUpError::Contended);
                }
                self.checkpoint = self.store.checkpoint().await?;
                Ok(false)
            }
        }
    }
}
