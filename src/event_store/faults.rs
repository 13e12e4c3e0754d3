//! Seeded faults of the log in memory: what a store in the network does to its callers, repeatable from a seed.

use std::time::Duration;

use crate::ports::ids::{Ids, SeededIds};

/// What goes wrong, and how often. Probabilities are in permille; [`Faults::none`] is a store that never fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    /// The same seed and the same calls give the same faults.
    pub seed: u64,
    /// An append became durable, and its answer was lost: the caller gets `Unavailable`.
    pub lost_ack: u32,
    /// A call did not reach the store: nothing was done, and the caller gets `Unavailable`.
    pub unavailable: u32,
    /// A call takes up to so many milliseconds of tokio's (perhaps virtual) time.
    pub slow_ms: u64,
    /// The change stream delivers a commit once more.
    pub duplicate_delivery: u32,
}

impl Faults {
    /// No fault at all.
    #[must_use]
    pub fn none() -> Self {
        Self { seed: 0, lost_ack: 0, unavailable: 0, slow_ms: 0, duplicate_delivery: 0 }
    }
}

/// On which side of becoming durable the process dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashPoint {
    /// The append is not there afterwards.
    Before,
    /// The append is durable; nobody was told.
    After,
}

/// Draws faults from the seed.
pub(super) struct Dice {
    faults: Faults,
    numbers: SeededIds,
}

impl Dice {
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, numbers: SeededIds::new(faults.seed) }
    }

    /// The same faults, drawn from another seed.
    pub(super) fn sibling(&self, seed: u64) -> Self {
        Self::new(Faults { seed, ..self.faults })
    }

    /// Whether the next answer to an append is lost.
    pub(super) fn loses_ack(&self) -> bool {
        self.happens(self.faults.lost_ack)
    }

    /// Whether the next call does not reach the store.
    pub(super) fn is_unavailable(&self) -> bool {
        self.happens(self.faults.unavailable)
    }

    /// Whether the change stream repeats itself now.
    pub(super) fn delivers_twice(&self) -> bool {
        self.happens(self.faults.duplicate_delivery)
    }

    /// How long the next call takes.
    pub(super) fn delay(&self) -> Duration {
        if self.faults.slow_ms == 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(self.below(self.faults.slow_ms.saturating_add(1)))
    }

    fn happens(&self, permille: u32) -> bool {
        permille > 0 && self.below(1000) < u64::from(permille)
    }

    /// A number below `bound`.
    pub(super) fn below(&self, bound: u64) -> u64 {
        let number = self.numbers.random();
        (number >> 64) as u64 % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let draw = |seed| {
            let dice = Dice::new(Faults { seed, lost_ack: 300, slow_ms: 9, ..Faults::none() });
            (0..50).map(|_| (dice.loses_ack(), dice.delay())).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().any(|(lost, _)| *lost) && draw(1).iter().any(|(lost, _)| !lost));
    }

    #[test]
    fn without_faults_nothing_happens() {
        let dice = Dice::new(Faults::none());
        assert!((0..1000).all(|_| !dice.loses_ack() && !dice.is_unavailable() && dice.delay().is_zero()));
    }
}
