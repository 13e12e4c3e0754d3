//! How long a step takes: a sketch of many durations in few whole numbers, which merges without loss.
//!
//! A DDSketch (Masson, Rim, Lee: "DDSketch: A fast and fully-mergeable quantile sketch with relative-error guarantees",
//! PVLDB 12(12), 2019), by the library `sketches-ddsketch`: its `Config` says into which bin a value falls, its `DDSketch`
//! answers the quantiles. Only the bins are kept here, as pairs of whole numbers: the library would write its own fields
//! as floating-point numbers, which a document of ours has not, and a database can add up pairs by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};

use super::rules::Rule;

/// The rule by which durations are put into bins: of a relative accuracy of 1 %.
pub const DURATIONS: Rule = Rule { name: "durations", version: 1 };

const ACCURACY: f64 = 0.01;
/// More bins than there are: 2^53 falls into the 1837th, so none are ever joined.
const MAX_BINS: u32 = 2048;
/// Half a millisecond: what is below is no time at all.
const LEAST_MS: f64 = 0.5;
/// The longest duration: the largest number that our documents hold.
const LONGEST_MS: u64 = 1 << 53;

/// How many durations fell into a bin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DurationBin {
    /// The bin: the whole part of the duration's logarithm to the base 1.01/0.99.
    pub bin: i32,
    /// How many.
    pub count: u64,
}

/// Many durations, to a relative accuracy of 1 %.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct DurationSketch {
    /// How many took no time.
    pub zeros: u64,
    /// The others, by bin.
    pub bins: Vec<DurationBin>,
    /// All of them together, in milliseconds.
    pub total_ms: u64,
    /// The longest, in milliseconds.
    pub longest_ms: u64,
}

impl DurationSketch {
    /// Adds one duration.
    pub fn add(&mut self, duration_ms: u64) {
        let duration_ms = duration_ms.min(LONGEST_MS);
        self.total_ms = self.total_ms.saturating_add(duration_ms).min(LONGEST_MS);
        self.longest_ms = self.longest_ms.max(duration_ms);
        if duration_ms == 0 {
            self.zeros += 1;
        } else {
            self.count(DurationBin { bin: config().key(duration_ms as f64), count: 1 });
        }
    }

    /// Adds all durations of another sketch. In whatever order sketches are merged, the result is the same.
    pub fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        self.total_ms = self.total_ms.saturating_add(other.total_ms).min(LONGEST_MS);
        self.longest_ms = self.longest_ms.max(other.longest_ms);
        other.bins.iter().for_each(|bin| self.count(*bin));
    }

    fn count(&mut self, added: DurationBin) {
        match self.bins.binary_search_by_key(&added.bin, |known| known.bin) {
            Ok(at) => self.bins[at].count += added.count,
            Err(at) => self.bins.insert(at, added),
        }
    }

    /// How many durations there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bins.iter().map(|bin| bin.count).sum::<u64>() + self.zeros
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The duration in milliseconds that so many thousandths of all do not exceed: 500 is the median. None if there are
    /// none.
    #[must_use]
    pub fn quantile_ms(&self, thousandths: u32) -> Option<u64> {
        let config = config();
        let mut sketch = DDSketch::new(config);
        sketch.add_with_count(0.0, self.zeros);
        self.bins.iter().for_each(|bin| sketch.add_with_count(config.value(bin.bin), bin.count));
        let found = sketch.quantile(f64::from(thousandths.min(1000)) / 1000.0).ok().flatten()?;
        Some((found.round() as u64).min(self.longest_ms))
    }
}

fn config() -> Config {
    Config::new(ACCURACY, MAX_BINS, LEAST_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(durations: &[u64]) -> DurationSketch {
        let mut sketch = DurationSketch::default();
        durations.iter().for_each(|duration| sketch.add(*duration));
        sketch
    }

    #[test]
    fn the_median_and_the_longest_are_found() {
        let sketch = sketch(&(1..=100).collect::<Vec<_>>());
        assert_eq!((sketch.len(), sketch.total_ms, sketch.longest_ms), (100, 5050, 100));
        // The exact ones: whatever the bins do, they are off by less than 1 %.
        assert_eq!((sketch.quantile_ms(500), sketch.quantile_ms(950)), (Some(50), Some(95)));
        assert_eq!(sketch.quantile_ms(1000), Some(100));
        assert_eq!(DurationSketch::default().quantile_ms(500), None);
    }

    #[test]
    fn the_longest_duration_has_a_bin_of_its_own() {
        let sketch = sketch(&[u64::MAX, 1 << 53, 1, 0]);
        assert_eq!(sketch.bins.len(), 2);
        assert_eq!(sketch.bins[1], DurationBin { bin: 1836, count: 2 });
        assert_eq!((sketch.zeros, sketch.longest_ms), (1, 1 << 53));
    }

    #[test]
    fn a_value_of_a_bin_falls_into_that_bin() {
        for bin in 0..1900 {
            assert_eq!(config().key(config().value(bin)), bin);
        }
    }

    proptest! {
        #[test]
        fn merged_sketches_are_the_sketch_of_all(
            parts in prop::collection::vec(prop::collection::vec(0u64..10_000_000, 0..30), 0..6),
        ) {
            let all: Vec<u64> = parts.concat();
            let mut forwards = DurationSketch::default();
            parts.iter().for_each(|part| forwards.merge(&sketch(part)));
            let mut backwards = DurationSketch::default();
            parts.iter().rev().for_each(|part| backwards.merge(&sketch(part)));
            prop_assert_eq!(&forwards, &sketch(&all));
            prop_assert_eq!(&backwards, &forwards);
        }

        #[test]
        fn quantiles_are_within_one_percent(mut all in prop::collection::vec(0u64..10_000_000, 1..200), thousandths in 0u32..=1000) {
            let found = sketch(&all).quantile_ms(thousandths).unwrap();
            all.sort_unstable();
            let rank = (f64::from(thousandths) / 1000.0 * (all.len() - 1) as f64) as usize;
            let exact = all[rank];
            prop_assert!(found.abs_diff(exact) as f64 <= exact as f64 * 0.0101 + 0.5, "{found} for {exact}");
        }

        #[test]
        fn the_library_fed_with_the_durations_themselves_says_the_same(all in prop::collection::vec(0u64..10_000_000, 1..200)) {
            let mut direct = DDSketch::new(config());
            all.iter().for_each(|duration| direct.add(*duration as f64));
            let longest = *all.iter().max().unwrap();
            for thousandths in [100, 500, 950] {
                let expected = direct.quantile(f64::from(thousandths) / 1000.0).unwrap().unwrap().round() as u64;
                prop_assert_eq!(sketch(&all).quantile_ms(thousandths), Some(expected.min(longest)));
            }
        }
    }
}
