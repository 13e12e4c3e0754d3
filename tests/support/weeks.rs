//! Weeks in which the steps of one suite pass, fail, waver, are lost and cancelled, at random: for what windows add up to.
#![allow(dead_code, reason = "each test and bench uses its part of it")]

#[path = "../../projections/tests/support/story.rs"]
mod story;

use async_trait::async_trait;
use story::{DAY_MS, Story, execution, step_run};
use testledger_projections::flaky_steps::{Day, Days, FlakyKey, FlakySteps, FlakyView};
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{Batch, Checkpoint, Feed, FeedError};
use testledger_projections::projection::Recorded;
use testledger_projections::worker::catch_up;
use testledger_schemas::event::{OutcomeTally, Revision};
use testledger_schemas::{ExecutionId, Hash, StepOutcome};

use StepOutcome::{Cancelled, Error, Failed, Interrupted, Passed, Skipped, Timeout};

/// More runs than a bucket lists.
const BUSY_RUNS: u64 = 215;
/// So many results make a run whose failures say something of it.
const RESULTS: u64 = 12;

/// Draws weeks from a seed.
pub struct Weeks {
    state: u64,
    story: Story,
    executions: u128,
    /// How many samples of a hundred fail at the moment.
    failing: u64,
}

impl Weeks {
    /// The events of this seed.
    pub fn of(seed: u64) -> Vec<Recorded> {
        let mut weeks = Self { state: seed, story: Story::default(), executions: 0, failing: 0 };
        for _ in 0..5 + weeks.below(30) {
            weeks.story.now += weeks.below(2 * DAY_MS as u64) as i64;
            weeks.failing = [0, 10, 50, 100][weeks.below(4) as usize];
            let commit = format!("c{}", weeks.below(3));
            weeks.story.revision = (weeks.below(4) > 0).then_some(Revision { commit, dirty: false });
            match weeks.below(40) {
                0 => (0..BUSY_RUNS).for_each(|_| weeks.case(None, 1)),
                1..10 => weeks.suite(),
                _ => weeks.case(None, 3),
            }
        }
        weeks.story.events
    }

    /// A number below `below` (SplitMix64).
    fn below(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn next(&mut self) -> ExecutionId {
        self.executions += 1;
        execution(self.executions)
    }

    fn outcome(&mut self) -> StepOutcome {
        match (self.below(100), self.below(8)) {
            (at, which) if at < self.failing => [Failed, Failed, Failed, Error, Timeout][which as usize % 5],
            (_, 0) => [Interrupted, Cancelled, Skipped][self.below(3) as usize],
            _ => Passed,
        }
    }

    fn suite(&mut self) {
        let suite = self.next();
        self.story.requested(suite, None, None);
        self.story.started(suite, 1);
        for _ in 0..1 + self.below(3) {
            self.case(Some(suite), 2);
        }
        self.story.passed(suite, 1, OutcomeTally::new());
    }

    /// A case of so many steps at the most, which may go on over midnight.
    fn case(&mut self, parent: Option<ExecutionId>, steps: u64) {
        let of = self.next();
        self.story.requested(of, Some("case"), parent);
        for attempt in 1..=3 {
            self.story.started(of, attempt);
            let (mut tally, mut failed) = (OutcomeTally::new(), false);
            for step in 0..1 + self.below(steps) {
                let outcome = self.outcome();
                self.story.step(of, &step_run(attempt, &format!("step-{step}"), 1), outcome);
                *tally.entry(outcome).or_default() += 1;
                failed |= !outcome.lets_the_case_go_on();
                if self.below(12) == 0 {
                    self.story.now += DAY_MS / 2;
                }
            }
            if steps > 1 && self.below(2) == 0 {
                let outcomes: Vec<_> = (0..RESULTS).map(|_| self.outcome()).collect();
                self.story.reported(of, &step_run(attempt, "step-0", 1), &outcomes);
            }
            let goes_on = failed && attempt < 3 && self.below(2) == 0;
            match failed {
                true => self.story.failed(of, attempt, goes_on, tally),
                false => self.story.passed(of, attempt, tally),
            };
            if !goes_on {
                return;
            }
        }
    }
}

/// A window over these weeks, of another length and place for each seed.
pub fn days_of(events: &[Recorded], seed: u64) -> Days {
    let last = Day::of(events.last().unwrap().recorded_at);
    let (back, count) = ([0, 0, 3, 11][seed as usize % 4], [30, 30, 7, 1, 366][seed as usize % 5]);
    Days::up_to(last.before(back), count)
}

struct List(Vec<Recorded>);

#[async_trait]
impl Feed for List {
    async fn head(&self) -> Result<u64, FeedError> {
        Ok(self.0.len() as u64)
    }

    async fn read(&self, after: &Checkpoint, limit: usize) -> Result<Batch, FeedError> {
        let events: Vec<_> = self.0.iter().skip(after.position as usize).take(limit).cloned().collect();
        let position = after.position + events.len() as u64;
        let page_hash = Hash::of(&position.to_be_bytes());
        Ok(Batch { events, reached: Checkpoint { position, page: position, page_hash, ..after.clone() } })
    }

    async fn more(&self, _position: u64) {}
}

/// The statistics that these events lead to.
pub async fn folded(events: &[Recorded]) -> Vec<(FlakyKey, FlakyView)> {
    let views = MemoryViews::<FlakySteps>::default();
    catch_up(&FlakySteps, &List(events.to_vec()), &views, None).await.unwrap();
    views.all().into_iter().collect()
}
