//! The rules: each has a name and a version, and says where its definition was published.
//!
//! A rule that the fold follows is in [`FOLD_RULES`]: their versions make the version of the projection, so a changed one
//! folds history anew. A rule over a window is in [`WINDOW_RULES`]: it reads buckets as they are.

use schemars::JsonSchema;
use serde::Serialize;

use super::bucket::RUNS;
use super::guard::MASS_FAILURE;
use super::sketch::DURATIONS;

/// What a figure or a state was decided by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// Its version: goes up when it would decide otherwise.
    pub version: u32,
}

/// The step failed and then passed, in one execution: at the same revision, since an execution tests one. Once is enough.
///
/// Google defines a flaky result so: "a test that exhibits both a passing and a failing result with the same code"
/// (J. Micco: "Flaky Tests at Google and How We Mitigate Them", Google Testing Blog, May 2016).
pub const PASSED_ON_RETRY: Rule = Rule { name: "passed_on_retry", version: 1 };

/// The step passed and failed at one revision, in whatever executions: at a commit without changes of its own, or within
/// one execution. Once is enough.
///
/// An unmodified test "is expected to either always pass or always fail for the same code under test"; one with
/// non-deterministic outcomes is flaky (Q. Luo, F. Hariri, L. Eloussi, D. Marinov: "An Empirical Analysis of Flaky Tests",
/// FSE 2014). J. Micco's definition is the same (see [`PASSED_ON_RETRY`]).
pub const SAME_CODE: Rule = Rule { name: "same_code", version: 1 };

/// How often a run ended otherwise than the run before it, whatever was tested: transitions by pairs of runs, over the
/// window, of enough runs. The only sign of flakiness where neither revisions are known nor steps are tried again. A step
/// that breaks once and is mended once has two transitions in any number of runs.
///
/// The *flipRate* of E. Kowalczyk, K. Nair, Z. Gao, L. Silberstein, T. Long, A. Memon: "Modeling and Ranking Flaky Tests at
/// Apple" (ICSE-SEIP 2020), numFlips / numPossibleFlips, taken over runs in time instead of within one version.
pub const TRANSITIONS: Rule = Rule { name: "transitions", version: 1 };

/// How often a sample said otherwise than the one before it *at the same version of the code*, recent versions first.
///
/// The weighted model of Kowalczyk et al. (see [`TRANSITIONS`]), section 3: within a version flipRate = numFlips /
/// numPossibleFlips; over versions Z(t) = flipRate(t) + (1 - 0.1) Z(t - 1), divided by the sum of the weights.
pub const FLIP_RATE: Rule = Rule { name: "flip_rate", version: 1 };

/// How undecided the step is at the same version of the code, recent versions first. A figure; it decides no state.
///
/// The *entropy* of Kowalczyk et al. (see [`TRANSITIONS`]), section 3: within a version -p log2 p - (1-p) log2 (1-p), where
/// p is the share of failures; over versions weighted as [`FLIP_RATE`].
pub const ENTROPY: Rule = Rule { name: "entropy", version: 1 };

/// How many of the latest runs failed, of enough runs. Nearly all: the step is broken, not flaky.
///
/// What always fails for the same code is deterministic (Luo et al., see [`SAME_CODE`]); that a rate needs a minimum sample
/// is ours.
pub const FAILURE_RATE: Rule = Rule { name: "failure_rate", version: 1 };

/// The rules that the fold follows.
pub const FOLD_RULES: &[Rule] = &[RUNS, DURATIONS, MASS_FAILURE];

/// The rules over windows.
pub const WINDOW_RULES: &[Rule] = &[PASSED_ON_RETRY, SAME_CODE, TRANSITIONS, FLIP_RATE, ENTROPY, FAILURE_RATE];

/// The versions of rules, added up: it goes up with each of them.
pub(super) const fn sum_of_versions(rules: &[Rule]) -> u32 {
    let mut sum = 0;
    let mut at = 0;
    while at < rules.len() {
        sum += rules[at].version;
        at += 1;
    }
    sum
}

/// From where on a rule decides, and until where its decision stands: a figure that wavers does not make the state waver.
/// Rates are in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Thresholds {
    /// How many of the latest runs [`FAILURE_RATE`] looks at.
    pub recent_runs: usize,
    /// How many runs it needs at least, and [`FLIP_RATE`].
    pub least_runs: u64,
    /// From where on the step is BROKEN.
    pub broken_from: u32,
    /// BROKEN stands as long as this is not undercut.
    pub broken_until: u32,
    /// How many runs [`TRANSITIONS`] needs at least.
    pub least_runs_for_transitions: u64,
    /// From where on transitions make the step FLAKY.
    pub transitions_from: u32,
    /// FLAKY stands as long as this is not undercut.
    pub transitions_until: u32,
    /// From where on flips at the same version make the step FLAKY.
    pub flips_from: u32,
    /// FLAKY stands as long as this is not undercut.
    pub flips_until: u32,
    /// FLAKY stands for so many runs after both results were last seen at the same revision.
    pub calm_runs: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            recent_runs: 10,
            least_runs: 5,
            broken_from: 900,
            broken_until: 700,
            least_runs_for_transitions: 10,
            transitions_from: 300,
            transitions_until: 150,
            flips_from: 100,
            flips_until: 50,
            calm_runs: 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let mut names: Vec<&str> = FOLD_RULES.iter().chain(WINDOW_RULES).map(|rule| rule.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_new_version_of_a_rule_of_the_fold_is_a_new_version_of_the_projection() {
        let mut rules = FOLD_RULES.to_vec();
        let before = sum_of_versions(&rules);
        rules[1].version += 1;
        assert_eq!(sum_of_versions(&rules), before + 1);
    }
}
