//! Folds a batch of events on what is stored.

use std::collections::BTreeSet;

use crate::ports::{ViewStore, ViewStoreError};
use crate::projection::{Projection, Recorded};
use crate::worker::CatchUpError;
use crate::worker::batch::{self, Folded, Known, Most, Refused};

/// How many views are loaded at once: between two loads it is seen whether they are too much.
const LOADED_AT_ONCE: usize = 1_000;

/// How long batches are: shorter where they touch too much, longer again where that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Length {
    most: usize,
    now: usize,
}

impl Length {
    /// About so many events at the most.
    pub(super) fn of(events: usize) -> Self {
        Self { most: events, now: events }
    }

    /// About how many events the next batch has.
    pub(super) fn events(self) -> usize {
        self.now
    }

    /// A batch of so many events touched too much.
    fn shorten(&mut self, events: usize) {
        self.now = (self.now.min(events) / 2).max(1);
    }

    /// A batch touched so much.
    fn adapt<P: Projection>(&mut self, folded: &Folded<P>) {
        if folded.views.len() < P::BATCH_VIEWS / 4 && folded.bytes < P::BATCH_BYTES / 4 {
            self.now = self.now.saturating_mul(2).min(self.most);
        }
    }

    /// How much a batch of these events may touch: anything, where it cannot be shorter.
    fn allows<P: Projection>(self, events: &[Recorded]) -> Most {
        let is_one_commit = events.first().map(|first| first.commit) == events.last().map(|last| last.commit);
        let bound = |bound: usize| if self.now == 1 || is_one_commit { usize::MAX } else { bound };
        Most { views: bound(P::BATCH_VIEWS), bytes: bound(P::BATCH_BYTES) }
    }
}

/// The views that a batch leads to, from those that are stored. None if it touches too much: then the next one is
/// shorter.
pub(super) async fn fold<P: Projection>(
    projection: &P,
    store: &dyn ViewStore<P>,
    events: &[Recorded],
    length: &mut Length,
) -> Result<Option<Vec<(P::Key, P::View)>>, CatchUpError> {
    let folded = fold_within(projection, store, events, length.allows::<P>(events)).await?;
    match &folded {
        Some(folded) => length.adapt::<P>(folded),
        None => length.shorten(events.len()),
    }
    Ok(folded.map(|folded| folded.views))
}

/// What a batch comes to; none if that is more than `most`.
///
/// Every round looks up what the one before has guessed. The guesses of the last round are all right, and each round
/// before it has found a view that is stored: so it ends, mostly with the first or the second.
async fn fold_within<P: Projection>(
    projection: &P,
    store: &dyn ViewStore<P>,
    events: &[Recorded],
    most: Most,
) -> Result<Option<Folded<P>>, CatchUpError> {
    let named: BTreeSet<P::Key> = events.iter().flat_map(|recorded| projection.keys(recorded)).collect();
    if named.len() > most.views {
        return Ok(None);
    }
    let mut known = Known::<P>::new();
    let mut unknown: Vec<P::Key> = named.into_iter().collect();
    let mut folded = None;
    loop {
        match look_up(projection, store, unknown, most, &mut known).await? {
            Found::Nothing if folded.is_some() => return Ok(folded),
            Found::TooMuch => return Ok(None),
            Found::Nothing | Found::Views => {}
        }
        match batch::fold(projection, events, &known, most) {
            Ok(mut now) => {
                unknown = std::mem::take(&mut now.guessed);
                folded = Some(now);
            }
            Err(Refused::TooMuch) => return Ok(None),
            Err(Refused::EndlessEcho(position)) => return Err(CatchUpError::EndlessEcho { position }),
        }
    }
}

/// What the store has under some keys.
enum Found {
    /// None of them is stored.
    Nothing,
    Views,
    /// Views of more bytes than a batch may touch.
    TooMuch,
}

/// Learns what is stored under these keys.
async fn look_up<P: Projection>(
    projection: &P,
    store: &dyn ViewStore<P>,
    keys: Vec<P::Key>,
    most: Most,
    known: &mut Known<P>,
) -> Result<Found, ViewStoreError> {
    let (mut bytes, mut is_nothing) = (0, true);
    for keys in keys.chunks(LOADED_AT_ONCE) {
        let views = store.load(keys).await?;
        for (key, view) in keys.iter().zip(views) {
            bytes += view.as_ref().map_or(0, |view| projection.weight(view));
            is_nothing &= view.is_none();
            known.insert(key.clone(), view);
        }
        if bytes > most.bytes {
            return Ok(Found::TooMuch);
        }
    }
    Ok(if is_nothing { Found::Nothing } else { Found::Views })
}
