//! Where new ids and nonces come from.

use std::sync::{Arc, Mutex, PoisonError};

use testledger_schemas::ids::{EventId, ExecutionId, WorkerId};
use uuid::Uuid;

/// A source of ids that is shared by everything in this process.
pub type SharedIds = Arc<dyn Ids>;

/// A source of new ids.
pub trait Ids: Send + Sync + 'static {
    /// An id that sorts by the time it was drawn (UUIDv7).
    fn time_ordered(&self) -> Uuid;

    /// 128 random bits.
    fn random(&self) -> u128;

    /// A new execution's id.
    fn execution_id(&self) -> ExecutionId {
        ExecutionId(self.time_ordered())
    }

    /// A new engine's id.
    fn worker_id(&self) -> WorkerId {
        WorkerId(self.time_ordered())
    }

    /// A new event's id.
    fn event_id(&self) -> EventId {
        EventId(self.time_ordered())
    }

    /// What keeps the hash of an event's content from being guessed: 32 hexadecimal digits.
    fn nonce(&self) -> String {
        format!("{:032x}", self.random())
    }
}

/// Ids from this machine's clock and its source of randomness.
pub struct RandomIds;

impl Ids for RandomIds {
    fn time_ordered(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn random(&self) -> u128 {
        // 122 random bits and 6 fixed ones, twice, so that all 128 are random.
        Uuid::new_v4().as_u128() ^ Uuid::new_v4().as_u128().rotate_left(64)
    }
}

/// Ids that follow from a seed: the same seed, the same ids.
pub struct SeededIds {
    state: Mutex<(u64, u64)>,
}

impl SeededIds {
    /// The ids of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new((seed, 0)) }
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    fn next(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Ids for SeededIds {
    fn time_ordered(&self) -> Uuid {
        let count = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.1 += 1;
            state.1
        };
        let random = (u128::from(self.next()) << 64) | u128::from(self.next());
        let bytes = (random & ((1 << 80) - 1)).to_be_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&bytes[6..]);
        uuid::Builder::from_unix_timestamp_millis(count, &tail).into_uuid()
    }

    fn random(&self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_they_sort() {
        let draw = |seed| {
            (0..9).map(|_| ()).scan(SeededIds::new(seed), |ids, ()| Some(ids.time_ordered())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).is_sorted());
    }
}
