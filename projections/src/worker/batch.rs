//! Folds one batch, purely: what the views come to, if those that are known are what is stored.
//!
//! An echo goes to a view that only another view names, so nobody knows beforehand which views a batch touches. A view
//! that is not known counts as one that is not stored, and is named as *guessed*: whoever folds looks the guesses up, all
//! of them at once, and folds again where one of them was wrong.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::projection::{MAX_ECHO_ROUNDS, Projection, Recorded};

/// Views as they are stored; none for a key under which nothing is.
pub(super) type Known<P> = BTreeMap<<P as Projection>::Key, Option<<P as Projection>::View>>;

/// How much one batch may touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Most {
    pub(super) views: usize,
    pub(super) bytes: usize,
}

/// What a batch comes to.
pub(super) struct Folded<P: Projection> {
    /// All views that it touches.
    pub(super) views: Vec<(P::Key, P::View)>,
    /// How many bytes those have at the most.
    pub(super) bytes: usize,
    /// Those among them that were taken for not stored, and are not known to be.
    pub(super) guessed: Vec<P::Key>,
}

/// Why a batch comes to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// It touches more than it may.
    TooMuch,
    /// The views echo the event at this position without end.
    EndlessEcho(u64),
}

/// Folds some events.
pub(super) fn fold<P: Projection>(
    projection: &P,
    events: &[Recorded],
    known: &Known<P>,
    most: Most,
) -> Result<Folded<P>, Refused> {
    let mut batch = Batch { projection, known, views: BTreeMap::new(), bytes: 0 };
    for recorded in events {
        for key in projection.keys(recorded) {
            let echoes = batch.change(&key, |view| projection.apply(&key, view, recorded));
            batch.spread(echoes, recorded.position)?;
        }
        if batch.views.len() > most.views || batch.bytes > most.bytes {
            return Err(Refused::TooMuch);
        }
    }
    let guessed = batch.views.keys().filter(|key| !known.contains_key(*key)).cloned().collect();
    Ok(Folded { views: batch.views.into_iter().collect(), bytes: batch.bytes, guessed })
}

struct Batch<'a, P: Projection> {
    projection: &'a P,
    known: &'a Known<P>,
    views: BTreeMap<P::Key, P::View>,
    bytes: usize,
}

impl<P: Projection> Batch<'_, P> {
    /// Changes one view, which is begun where it is not stored.
    fn change<T>(&mut self, key: &P::Key, change: impl FnOnce(&mut P::View) -> T) -> T {
        let (view, before) = match self.views.entry(key.clone()) {
            Entry::Occupied(there) => {
                let view = there.into_mut();
                let weight = self.projection.weight(view);
                (view, weight)
            }
            Entry::Vacant(place) => {
                let stored = self.known.get(key).cloned().flatten();
                (place.insert(stored.unwrap_or_else(|| self.projection.initial(key))), 0)
            }
        };
        let changed = change(view);
        self.bytes = self.bytes.saturating_sub(before) + self.projection.weight(view);
        changed
    }

    /// Takes echoes to the views they are for, and what those answer further on, round by round.
    fn spread(&mut self, mut echoes: Vec<(P::Key, P::Echo)>, position: u64) -> Result<(), Refused> {
        for _ in 0..MAX_ECHO_ROUNDS {
            let mut further = vec![];
            for (key, echo) in &echoes {
                let projection = self.projection;
                further.extend(self.change(key, |view| projection.hear(view, echo, position)));
            }
            if further.is_empty() {
                return Ok(());
            }
            echoes = further;
        }
        Err(Refused::EndlessEcho(position))
    }
}
