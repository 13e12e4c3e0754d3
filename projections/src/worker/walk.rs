//! A walk through the log, batch by batch, from the checkpoint on: while one is written, the next is folded on it, and the
//! one after that is read. What was folded too early, because a batch was not written, is thrown away.

use crate::ports::{Batch, Checkpoint, Feed, FeedError, Saved, ViewStore};
use crate::projection::Projection;
use crate::worker::fold::{Length, fold};
use crate::worker::{CatchUpError, MAX_OVERTAKEN, Progress};

/// A walk of one projection.
pub(super) struct Walk<'a, P: Projection> {
    /// As this worker is set.
    own: &'a P,
    /// As the views were begun.
    projection: P,
    feed: &'a dyn Feed,
    store: &'a dyn ViewStore<P>,
    checkpoint: Checkpoint,
    length: Length,
    /// The batch after the checkpoint, if it is folded already.
    next: Option<Folded<P>>,
    /// The batch after that one, or after the checkpoint where there is none, if it was read already.
    ahead: Option<Batch>,
    folded: u64,
    /// How many batches in a row another worker was faster with.
    overtaken: u32,
}

/// A batch, and the views it leads to, by key.
struct Folded<P: Projection> {
    batch: Batch,
    views: Vec<(P::Key, P::View)>,
}

impl<'a, P: Projection> Walk<'a, P> {
    /// A walk from where the views are, in batches of about so many events at the most.
    pub(super) async fn begin(
        projection: &'a P,
        feed: &'a dyn Feed,
        store: &'a dyn ViewStore<P>,
        batch_events: usize,
    ) -> Result<Self, CatchUpError> {
        let (mut checkpoint, length) = (store.checkpoint().await?, Length::of(batch_events));
        let (own, projection) = (projection, checkpoint.settle(projection));
        Ok(Self { own, projection, feed, store, checkpoint, length, next: None, ahead: None, folded: 0, overtaken: 0 })
    }

    /// Goes on from where the views are by now.
    async fn begin_anew(&mut self) -> Result<(), CatchUpError> {
        (self.next, self.ahead) = (None, None);
        self.checkpoint = self.store.checkpoint().await?;
        self.projection = self.checkpoint.settle(self.own);
        Ok(())
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
        let now = match self.next.take() {
            Some(folded) => folded,
            None => {
                let Some(batch) = self.read().await? else { return Ok(true) };
                if batch.events.is_empty() && batch.reached.paused == self.checkpoint.paused {
                    return Ok(false);
                }
                let views = fold(&self.projection, self.store, &batch.events, &[], &mut self.length).await?;
                let Some(views) = views else { return Ok(true) };
                Folded { batch, views }
            }
        };
        let (before, ahead, reached) = (self.checkpoint.clone(), self.ahead.take(), now.batch.reached.clone());
        let saving = self.store.save(&before, now.views.clone(), &reached);
        let (saved, ()) = tokio::join!(saving, self.prepare(&now, ahead, until));
        self.conclude(saved?, &now.batch).await?;
        Ok(self.checkpoint.position < until && self.checkpoint.paused.is_none())
    }

    /// The batch after the checkpoint. None where the views are of another history, which throws them away.
    async fn read(&mut self) -> Result<Option<Batch>, CatchUpError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        match self.feed.read(&self.checkpoint, self.length.events()).await {
            Ok(batch) => Ok(Some(batch)),
            Err(FeedError::OtherHistory) if self.checkpoint.position > 0 => {
                tracing::warn!(projection = P::NAME, "the log has another history: its views are folded anew");
                self.store.reset().await?;
                self.begin_anew().await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Folds the batch after `now` on its views, and reads the one after that. What cannot be read or folded now is left:
    /// its turn comes, and then it says why.
    async fn prepare(&mut self, now: &Folded<P>, ahead: Option<Batch>, until: u64) {
        let is_last = |batch: &Batch| batch.reached.position >= until || batch.reached.paused.is_some();
        if is_last(&now.batch) {
            return;
        }
        let (feed, events) = (self.feed, self.length.events());
        let batch = match ahead {
            Some(batch) => batch,
            None => match feed.read(&now.batch.reached, events).await {
                Ok(batch) if !batch.events.is_empty() => batch,
                Ok(_) | Err(_) => return,
            },
        };
        let reading = async { if is_last(&batch) { None } else { feed.read(&batch.reached, events).await.ok() } };
        let folding = fold(&self.projection, self.store, &batch.events, &now.views, &mut self.length);
        let (views, ahead) = tokio::join!(folding, reading);
        if let Ok(Some(views)) = views {
            self.next = Some(Folded { batch, views });
            self.ahead = ahead.filter(|ahead| !ahead.events.is_empty());
        }
    }

    /// Draws the consequence of what became of a batch.
    async fn conclude(&mut self, saved: Saved, batch: &Batch) -> Result<(), CatchUpError> {
        match saved {
            Saved::Yes => {
                self.folded += batch.events.len() as u64;
                self.overtaken = 0;
                self.checkpoint = batch.reached.clone();
            }
            Saved::Overtaken => {
                self.overtaken += 1;
                if self.overtaken > MAX_OVERTAKEN {
                    return Err(CatchUpError::Contended);
                }
                self.begin_anew().await?;
            }
        }
        Ok(())
    }
}
