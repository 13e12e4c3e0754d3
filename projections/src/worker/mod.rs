//! The worker, the only async room: takes a projection from its checkpoint to a position, every event exactly once.
//! [`follow`] does so as long as it may, [`rebuild`] beside the views that are read.
//!
//! One round loads the views a batch touches, folds in memory, and writes views and checkpoint in one transaction that
//! compares the stored checkpoint first. So it may be killed anywhere, and several may run at once: whoever comes
//! second writes nothing and goes on from where the other one came to.
//!
//! A batch that touches more views than [`Projection::BATCH_VIEWS`] is read again at half its length, before anything is
//! written: what a transaction holds is bounded, whatever the events are.

pub mod follow;
pub mod rebuild;

use std::collections::{BTreeMap, BTreeSet};

use crate::ports::{Checkpoint, Feed, FeedError, Hold, Poison, Saved, ViewStore, ViewStoreError};
use crate::projection::{MAX_ECHO_ROUNDS, Projection, Recorded};

/// About how many events are folded in one transaction.
pub const BATCH_EVENTS: usize = 1000;
/// How often in a row a batch may come second before it is an error (something else than a worker moves the checkpoint).
pub const MAX_OVERTAKEN: u32 = 1000;

/// How far a projection was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The last position that is folded in.
    pub position: u64,
    /// How many events this worker folded.
    pub folded: u64,
    /// The event that the projection waits at, because it cannot be read.
    pub paused: Option<Poison>,
    /// Who holds the projection, if somebody does: then nothing was folded since.
    pub held: Option<Hold>,
}

impl Progress {
    fn at(checkpoint: Checkpoint, folded: u64) -> Self {
        Self { position: checkpoint.position, folded, paused: checkpoint.paused, held: checkpoint.held }
    }
}

/// Why a projection could not be taken further.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// The log gave no events.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The views could not be read or written.
    #[error(transparent)]
    Store(#[from] ViewStoreError),
    /// The checkpoint moved under every attempt.
    #[error("the checkpoint of the views moved {MAX_OVERTAKEN} times in a row while a batch was folded")]
    Contended,
    /// A mistake in the projection: its views tell each other things without end.
    #[error("the views echo the event at position {position} for more than {MAX_ECHO_ROUNDS} rounds")]
    EndlessEcho {
        /// The position of the event.
        position: u64,
    },
}

/// Folds all events up to position `until` (at least; without it, up to the log's head of now) into the views.
/// Stops before an event that cannot be read, and says so in [`Progress::paused`]. Views that were folded from
/// another history are thrown away first.
///
/// # Errors
/// [`CatchUpError`]; what was written before stays, and the next call goes on from there.
pub async fn catch_up<P: Projection>(
    projection: &P,
    feed: &dyn Feed,
    store: &dyn ViewStore<P>,
    until: Option<u64>,
) -> Result<Progress, CatchUpError> {
    catch_up_by(projection, feed, store, until, BATCH_EVENTS).await
}

/// As [`catch_up`], in batches of about so many events at the most.
async fn catch_up_by<P: Projection>(
    projection: &P,
    feed: &dyn Feed,
    store: &dyn ViewStore<P>,
    until: Option<u64>,
    batch_events: usize,
) -> Result<Progress, CatchUpError> {
    let until = match until {
        Some(position) => position,
        None => feed.head().await?,
    };
    let mut checkpoint = store.checkpoint().await?;
    let mut folded = 0;
    let mut overtaken = 0;
    let mut limit = batch_events;
    loop {
        if checkpoint.held.is_some() {
            return Ok(Progress::at(checkpoint, folded));
        }
        let batch = match feed.read(&checkpoint, limit).await {
            Ok(batch) => batch,
            Err(FeedError::OtherHistory) if checkpoint.position > 0 => {
                tracing::warn!(projection = P::NAME, "the log has another history: its views are folded anew");
                store.reset().await?;
                checkpoint = store.checkpoint().await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if batch.events.is_empty() && batch.reached.paused == checkpoint.paused {
            return Ok(Progress::at(checkpoint, folded));
        }
        let Some(views) = fold(projection, store, &batch.events, most::<P>(&batch.events, limit)).await? else {
            limit = (limit.min(batch.events.len()) / 2).max(1);
            continue;
        };
        if views.len() < P::BATCH_VIEWS / 4 {
            limit = (limit * 2).min(batch_events);
        }
        match store.save(&checkpoint, views, &batch.reached).await? {
            Saved::Yes => {
                folded += batch.events.len() as u64;
                overtaken = 0;
                checkpoint = batch.reached;
            }
            Saved::Overtaken => {
                overtaken += 1;
                if overtaken > MAX_OVERTAKEN {
                    return Err(CatchUpError::Contended);
                }
                checkpoint = store.checkpoint().await?;
            }
        }
        if checkpoint.position >= until || checkpoint.paused.is_some() {
            return Ok(Progress::at(checkpoint, folded));
        }
    }
}

/// How many views a batch may touch: any number, where it cannot be shorter.
fn most<P: Projection>(events: &[Recorded], limit: usize) -> usize {
    let is_one_commit = events.first().map(|first| first.commit) == events.last().map(|last| last.commit);
    if limit == 1 || is_one_commit { usize::MAX } else { P::BATCH_VIEWS }
}

/// The views that a batch leads to, from those that are stored; none if they are more than `most`.
async fn fold<P: Projection>(
    projection: &P,
    store: &dyn ViewStore<P>,
    events: &[Recorded],
    most: usize,
) -> Result<Option<Vec<(P::Key, P::View)>>, CatchUpError> {
    let keys: Vec<Vec<P::Key>> = events.iter().map(|recorded| projection.keys(recorded)).collect();
    if keys.iter().flatten().collect::<BTreeSet<_>>().len() > most {
        return Ok(None);
    }
    let mut views = BTreeMap::new();
    load(projection, store, keys.iter().flatten(), &mut views).await?;
    for (recorded, keys) in events.iter().zip(&keys) {
        for key in keys {
            let Some(view) = views.get_mut(key) else { continue };
            let echoes = projection.apply(key, view, recorded);
            spread(projection, store, echoes, recorded.position, &mut views).await?;
        }
        if views.len() > most {
            return Ok(None);
        }
    }
    Ok(Some(views.into_iter().collect()))
}

/// Takes echoes to the views they are for, and what those answer further on, round by round.
async fn spread<P: Projection>(
    projection: &P,
    store: &dyn ViewStore<P>,
    mut echoes: Vec<(P::Key, P::Echo)>,
    position: u64,
    views: &mut BTreeMap<P::Key, P::View>,
) -> Result<(), CatchUpError> {
    for _ in 0..MAX_ECHO_ROUNDS {
        load(projection, store, echoes.iter().map(|(key, _)| key), views).await?;
        let mut further = vec![];
        for (key, echo) in &echoes {
            if let Some(view) = views.get_mut(key) {
                further.extend(projection.hear(view, echo, position));
            }
        }
        if further.is_empty() {
            return Ok(());
        }
        echoes = further;
    }
    Err(CatchUpError::EndlessEcho { position })
}

/// Loads the views of these keys that are not there yet, each begun where it is not stored.
async fn load<P: Projection>(
    projection: &P,
    store: &dyn ViewStore<P>,
    keys: impl Iterator<Item = &P::Key>,
    views: &mut BTreeMap<P::Key, P::View>,
) -> Result<(), ViewStoreError> {
    let mut missing: Vec<P::Key> = keys.filter(|key| !views.contains_key(key)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort_unstable();
    missing.dedup();
    let loaded = store.load(&missing).await?;
    for (key, view) in missing.into_iter().zip(loaded) {
        let view = view.unwrap_or_else(|| projection.initial(&key));
        views.insert(key, view);
    }
    Ok(())
}
