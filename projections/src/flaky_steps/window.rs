//! A window: the buckets of some days, added up. Pure; whoever reads them from wherever gets the same figures.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::{ExecutionId, StepKey};

use super::bucket::{Bucket, Counts, StepRunRecord};
use super::day::Day;
use super::guard::{GUARD_DAYS, MassFailures};
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

/// The days of a window that ends with `to`.
fn first_day(to: Day, days: u32) -> Day {
    to.before(days.clamp(1, MAX_WINDOW_DAYS) - 1)
}

impl Window {
    /// The documents that a window of `days` days up to `to` is made of: a bucket for each day, and the registers of the
    /// guard. Most of them are not there, and that is as good as empty.
    #[must_use]
    pub fn keys(step_key: StepKey, to: Day, days: u32) -> Vec<FlakyKey> {
        let from = first_day(to, days);
        let buckets = from.to(to).map(|day| FlakyKey::Bucket(step_key, day));
        buckets.chain(Self::registers(to, days)).collect()
    }

    /// The registers of the guard for such a window, of whichever step.
    pub fn registers(to: Day, days: u32) -> impl Iterator<Item = FlakyKey> {
        first_day(to, days).to(to.after(GUARD_DAYS)).map(FlakyKey::MassFailures)
    }

    /// Adds up the buckets of a step (in any order; those of other steps and days are passed over), and leaves out the
    /// runs that the registers name.
    #[must_use]
    pub fn of(step_key: StepKey, to: Day, days: u32, buckets: &[Bucket], registers: &[MassFailures]) -> Self {
        let mut window = Self::empty(step_key, first_day(to, days), to);
        let days = window.from..=to;
        let mut within: Vec<&Bucket> =
            buckets.iter().filter(|it| it.step_key == step_key && days.contains(&it.day)).collect();
        within.sort_unstable_by_key(|bucket| bucket.day);
        within.iter().for_each(|bucket| window.add(bucket));
        window.join_runs(within.iter().flat_map(|bucket| &bucket.runs));
        window.leave_out(&registers.iter().flat_map(|register| &register.runs).map(|run| run.root_id).collect());
        window
    }

    fn empty(step_key: StepKey, from: Day, to: Day) -> Self {
        Self {
            step_key,
            label: StepLabel::default(),
            from,
            to,
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
