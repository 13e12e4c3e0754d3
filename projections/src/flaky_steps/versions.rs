//! The runs of a step by the version of the code that they tested, as the models of Kowalczyk et al. want them.

use std::collections::BTreeMap;

use testledger_schemas::ExecutionId;

use super::bucket::StepRunRecord;

/// How much less a version counts than the one after it: the paper's lambda.
const LAMBDA: f64 = 0.1;
/// How many versions are weighted, the latest ones: an older one would count less than 0.6 % of the latest.
const WEIGHTED_VERSIONS: usize = 50;

/// What was tested: a commit; where it is not known, whatever one execution tested.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Code {
    Revision(String),
    Execution(ExecutionId),
}

/// All samples at one version of the code, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Version {
    passes: u64,
    failures: u64,
    flips: u64,
    last_passed: Option<bool>,
}

/// Versions in the order in which they were first seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    list: Vec<Version>,
    places: BTreeMap<Code, usize>,
}

impl Version {
    fn add(&mut self, run: &StepRunRecord) {
        self.passes += run.passes;
        self.failures += run.failures;
        self.flips += run.flips + u64::from(self.last_passed.is_some_and(|passed| passed != run.began_passed));
        self.last_passed = Some(run.passed);
    }

    /// numFlips / numPossibleFlips; 0 where none was possible.
    pub(super) fn flip_rate(&self) -> f64 {
        let possible = (self.passes + self.failures).saturating_sub(1);
        if possible == 0 { 0.0 } else { self.flips as f64 / possible as f64 }
    }

    /// -p log2 p - (1-p) log2 (1-p); 0 where all samples agree.
    pub(super) fn entropy(&self) -> f64 {
        if self.passes == 0 || self.failures == 0 {
            return 0.0;
        }
        let all = (self.passes + self.failures) as f64;
        let part = |count: u64| -(count as f64 / all) * (count as f64 / all).log2();
        part(self.passes) + part(self.failures)
    }
}

impl Versions {
    /// Takes in the next run. Returns whether it says otherwise than another sample at the same version, or than itself.
    pub(super) fn add(&mut self, run: &StepRunRecord) -> bool {
        let code = run.revision.clone().map_or(Code::Execution(run.execution_id), Code::Revision);
        let next = self.list.len();
        let place = *self.places.entry(code).or_insert(next);
        if place == next {
            self.list.push(Version::default());
        }
        let version = &mut self.list[place];
        let before = version.flips;
        version.add(run);
        version.flips > before
    }

    /// How many versions there are at which samples disagree.
    pub(super) fn mixed(&self) -> u64 {
        self.list.iter().filter(|version| version.passes > 0 && version.failures > 0).count() as u64
    }

    /// A figure of the versions, weighted: the latest counts most. In thousandths; none if there are no versions.
    pub(super) fn weighted(&self, figure: impl Fn(&Version) -> f64) -> Option<u32> {
        let latest = self.list.iter().rev().take(WEIGHTED_VERSIONS);
        let (mut sum, mut weights, mut weight) = (0.0, 0.0, 1.0);
        for version in latest {
            sum += weight * figure(version);
            weights += weight;
            weight *= 1.0 - LAMBDA;
        }
        (weights > 0.0).then(|| (sum / weights * 1000.0).round() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_revision, run};
    use super::*;

    /// The example of the paper, as far as it is known: 1 is a failure, one word for each version.
    fn example(versions: &[&str]) -> Versions {
        let mut all = Versions::default();
        let mut number = 0;
        for (revision, samples) in (1..).zip(versions) {
            for sample in samples.chars() {
                number += 1;
                all.add(&at_revision(run(number, sample == '0'), &format!("v{revision}")));
            }
        }
        all
    }

    fn figures(versions: &[&str]) -> (Option<u32>, Option<u32>) {
        let all = example(versions);
        (all.weighted(Version::flip_rate), all.weighted(Version::entropy))
    }

    #[test]
    fn the_example_of_kowalczyk_et_al_comes_out() {
        // By hand: (1 + 0.9 (1 + 0.9 (0 + 0.9/3))) / (1 + 0.9 + 0.81 + 0.729) = 2.143 / 3.439 = 0.623, and
        // (0.9183 + 0.9 (1 + 0.9 (0 + 0.9))) / 3.439 = 2.5473 / 3.439 = 0.741.
        assert_eq!(figures(&["0011", "0000", "1010", "101"]), (Some(623), Some(741)));
        // By hand: 0.729 / 3.439 = 0.212; every flip possible was made, and p is 1/2.
        assert_eq!(figures(&["0101", "0000", "0000", "111"]), (Some(212), Some(212)));
        // Always the same within a version: a step that changes with the code is not flaky.
        assert_eq!(figures(&["1111", "0000", "1111", "000"]), (Some(0), Some(0)));
        assert_eq!(figures(&[]), (None, None));
    }

    #[test]
    fn a_revision_is_one_version_however_its_runs_lie() {
        let mut all = Versions::default();
        for (number, revision, passed, is_flip) in
            [(1, "a", true, false), (2, "b", false, false), (3, "a", false, true), (4, "b", false, false)]
        {
            assert_eq!(all.add(&at_revision(run(number, passed), revision)), is_flip, "{number}");
        }
        assert_eq!(all.mixed(), 1);
    }

    #[test]
    fn without_a_revision_only_one_execution_is_the_same_code() {
        let mut all = Versions::default();
        assert!(!all.add(&run(1, true)) && !all.add(&run(2, false)));
        let mut retried = run(3, true);
        (retried.failures, retried.flips, retried.began_passed) = (1, 1, false);
        assert!(all.add(&retried));
        assert_eq!(all.mixed(), 1);
    }
}
