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

/// The views that a batch leads to, by key, from those that are stored and from `newer` ones (by key), which are about to
/// be. None if it touches too much: then the next one is shorter.
pub(super) async fn fold<P: Projection>(
    projection: &P,
    store: &dyn ViewStore<P>,
    events: &[Recorded],
    newer: &[(P::Key, P::View)],
    length: &mut Length,
) -> Result<Option<Vec<(P::Key, P::View)>>, CatchUpError> {
    let stored = Stored { projection, store, newer };
    let folded = fold_within(&stored, events, length.allows::<P>(events)).await?;
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
    stored: &Stored<'_, P>,
    events: &[Recorded],
    most: Most,
) -> Result<Option<Folded<P>>, CatchUpError> {
    let projection = stored.projection;
    let named: BTreeSet<P::Key> = events.iter().flat_map(|recorded| projection.keys(recorded)).collect();
    if named.len() > most.views {
        return Ok(None);
    }
    let mut known = Known::<P>::new();
    let mut unknown: Vec<P::Key> = named.into_iter().collect();
    let mut folded = None;
    loop {
        match stored.look_up(unknown, most, &mut known).await? {
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

/// What a batch is folded on.
struct Stored<'a, P: Projection> {
    projection: &'a P,
    store: &'a dyn ViewStore<P>,
    /// Views that are about to be stored, by key.
    newer: &'a [(P::Key, P::View)],
}

impl<P: Projection> Stored<'_, P> {
    /// Learns what is stored under these keys.
    async fn look_up(&self, keys: Vec<P::Key>, most: Most, known: &mut Known<P>) -> Result<Found, ViewStoreError> {
        let (mut bytes, mut is_nothing) = (0, true);
        let mut learn = |key: P::Key, view: Option<P::View>| {
            bytes += view.as_ref().map_or(0, |view| self.projection.weight(view));
            is_nothing &= view.is_none();
            known.insert(key, view);
            bytes
        };
        let mut older = vec![];
        for key in keys {
            match self.newer.binary_search_by(|(newer, _)| newer.cmp(&key)) {
                Ok(at) => {
                    learn(key, Some(self.newer[at].1.clone()));
                }
                Err(_) => older.push(key),
            }
        }
        for keys in older.chunks(LOADED_AT_ONCE) {
            let views = self.store.load(keys).await?;
            let learned = keys.iter().zip(views).map(|(key, view)| learn(key.clone(), view)).last();
            if learned.is_some_and(|bytes| bytes > most.bytes) {
                return Ok(Found::TooMuch);
            }
        }
        Ok(if is_nothing { Found::Nothing } else { Found::Views })
    }
}
