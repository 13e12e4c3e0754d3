//! A window: the buckets of some days, added up. Pure; whoever reads them from wherever gets the same figures.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::{ExecutionId, StepKey};

use super::bucket::{Bucket, Counts, StepRunRecord};
use super::day::{Day, Days};
use super::guard::GUARD_DAYS;
use super::key::FlakyKey;
use super::sample::StepLabel;
use super::sketch::DurationSketch;

/// How many days a window has, unless somebody asks for others.
pub const WINDOW_DAYS: u32 = 30;
/// The most days a window may have.
pub const MAX_WINDOW_DAYS: u32 = 366;

/// What some days said of one step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// The step.
    pub step_key: StepKey,
    /// Which step, for people; as the latest day has it.
    pub label: StepLabel,
    /// The first day.
    pub from: Day,
    /// The last day.
    pub to: Day,
    /// The runs that are listed, in order, without those in which nearly everything failed.
    pub runs: Vec<StepRunRecord>,
    /// Runs that are only counted.
    pub older: Counts,
    /// How many runs were left out because nearly everything failed in them.
    pub mass_failures: u64,
    /// Samples that were lost with the infrastructure.
    pub lost: u64,
    /// Samples that were cancelled, skipped or blocked.
    pub not_judged: u64,
    /// How long those that passed took.
    pub durations: DurationSketch,
}

impl Window {
    /// The buckets that a window is made of. Most of them are not there, and that is as good as empty.
    pub fn buckets(step_key: StepKey, days: Days) -> impl Iterator<Item = FlakyKey> {
        days.each().map(move |day| FlakyKey::Bucket(step_key, day))
    }

    /// The registers of the guard for such a window, of whichever step.
    pub fn registers(days: Days) -> impl Iterator<Item = FlakyKey> {
        days.first.to(days.last.after(GUARD_DAYS)).map(FlakyKey::MassFailures)
    }

    /// Adds up the buckets of a step (in any order; those of other steps and days are passed over), without the runs
    /// that are [left out](super::left_out).
    #[must_use]
    pub fn of(step_key: StepKey, days: Days, buckets: &[Bucket], left_out: &BTreeSet<ExecutionId>) -> Self {
        let mut window = Self::empty(step_key, days);
        let mut within: Vec<&Bucket> =
            buckets.iter().filter(|it| it.step_key == step_key && days.contains(it.day)).collect();
        within.sort_unstable_by_key(|bucket| bucket.day);
        within.iter().for_each(|bucket| window.add(bucket));
        window.join_runs(within.iter().flat_map(|bucket| &bucket.runs));
        window.leave_out(left_out);
        window
    }

    fn empty(step_key: StepKey, days: Days) -> Self {
        Self {
            step_key,
            label: StepLabel::default(),
            from: days.first,
            to: days.last,
            runs: vec![],
            older: Counts::default(),
            mass_failures: 0,
            lost: 0,
            not_judged: 0,
            durations: DurationSketch::default(),
        }
    }

    fn add(&mut self, bucket: &Bucket) {
        self.label.clone_from(&bucket.label);
        self.older.add(&bucket.older);
        self.lost += bucket.lost;
        self.not_judged += bucket.not_judged;
        self.durations.merge(&bucket.durations);
    }

    /// A run that went on over midnight stands in two buckets, and is one run.
    fn join_runs<'a>(&mut self, runs: impl Iterator<Item = &'a StepRunRecord>) {
        let mut joined: BTreeMap<ExecutionId, StepRunRecord> = BTreeMap::new();
        for run in runs {
            joined.entry(run.execution_id).and_modify(|known| known.go_on(run)).or_insert_with(|| run.clone());
        }
        self.runs = joined.into_values().collect();
        self.runs.sort_unstable_by_key(|run| run.position);
    }

    fn leave_out(&mut self, roots: &BTreeSet<ExecutionId>) {
        let before = self.runs.len();
        self.runs.retain(|run| !roots.contains(&run.root_id));
        self.mass_failures = (before - self.runs.len()) as u64;
    }

    /// How often what happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::of(&self.runs);
        counts.add(&self.older);
        counts
    }
}
