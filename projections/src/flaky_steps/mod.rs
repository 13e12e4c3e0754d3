//! The projection `flaky_steps`: how reliable each step is, by its `step_key`, which survives renaming of files and
//! reordering of steps.
//!
//! For each step and day there is a *bucket* ([`Bucket`]): its runs in order, counts, durations. A *window* ([`Window`])
//! is the sum of some days' buckets; it is read, never stored, and [`reliability`] judges it by [named rules](rules). What the
//! fold itself decides (what one run is, into which bin a duration falls, which runs the guard counts apart) are named
//! rules as well, and [`FlakySteps::VERSION`] is made of their versions: a new one folds history anew. The rules over
//! windows need no new fold.
//!
//! No text that could be erased is in these documents: the name that a tool gives a test stays in the event.

mod bucket;
mod day;
mod fold;
mod guard;
mod key;
mod report;
pub mod rules;
mod run;
mod sample;
mod sketch;
mod state;
mod sums;
#[cfg(test)]
mod testing;
mod versions;
mod window;

use crate::projection::{Projection, Recorded};

pub use bucket::{Bucket, Counts, MAX_LISTED_RUNS, RUNS, StepRunRecord};
pub use day::{Day, Days};
pub use fold::{FlakyEcho, FlakyView};
pub use guard::{
    GUARD_DAYS, GUARD_LEAST, GUARD_THOUSANDTHS, Judged, MASS_FAILURE, MAX_LISTED_MASS_FAILURES, MassFailure,
    MassFailures, RunTally,
};
pub use key::FlakyKey;
pub use report::{ErrorCluster, MAX_CLUSTERS, RuleVerdict, StepReliability, reliability};
pub use run::{OpenStepKey, RunContext};
pub use sample::{Judgement, RowRef, Sample, SampleOrigin, StepLabel};
pub use sketch::{DURATIONS, DurationBin, DurationSketch};
pub use state::StepState;
pub use sums::{WindowSums, left_out};
pub use window::{MAX_WINDOW_DAYS, WINDOW_DAYS, Window};

/// The fold of statistics of steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlakySteps;

/// The version of the documents' shape. 2: their keys begin with the day.
const SHAPE: u32 = 2;

impl Projection for FlakySteps {
    const NAME: &'static str = "flaky_steps";
    const VERSION: u32 = SHAPE + rules::sum_of_versions(rules::FOLD_RULES);

    type Key = FlakyKey;
    type View = FlakyView;
    type Echo = FlakyEcho;

    fn keys(&self, recorded: &Recorded) -> Vec<FlakyKey> {
        recorded.stream.execution().map(FlakyKey::Run).into_iter().collect()
    }

    fn initial(&self, key: &FlakyKey) -> FlakyView {
        FlakyView::initial(key)
    }

    fn weight(&self, view: &FlakyView) -> usize {
        view.weight()
    }

    fn apply(&self, _key: &FlakyKey, view: &mut FlakyView, recorded: &Recorded) -> fold::Echoes {
        match view {
            FlakyView::Run(run) => fold::apply(run, recorded),
            FlakyView::Bucket(_) | FlakyView::MassFailures(_) => vec![],
        }
    }

    fn hear(&self, view: &mut FlakyView, echo: &FlakyEcho, position: u64) -> fold::Echoes {
        view.hear(echo, position);
        vec![]
    }
}
