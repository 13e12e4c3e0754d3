//! What the engine itself costs an execution: from the slot granted to the first step spawned, and from the last step
//! ended to the verdict acknowledged.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::time::Instant;

use crate::steps::launcher::{
    Exit, LaunchError, LaunchSpec, Launcher, Process, ProcessControl, SharedLauncher, TreeSignal,
};

/// How many measurements are kept; an engine that runs longer forgets the oldest half.
const KEPT: usize = 200_000;

/// Measurements of one kind.
#[derive(Default)]
pub struct Durations(Mutex<Vec<Duration>>);

/// What one engine costs the attempts of executions.
#[derive(Default)]
pub struct Overheads {
    whole: Durations,
    start: Durations,
    end: Durations,
}

/// Both parts of the overhead, each with its own distribution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct OverheadParts {
    /// From the slot granted to the first step spawned.
    pub start: OverheadSummary,
    /// From the last step ended to the verdict acknowledged.
    pub end: OverheadSummary,
}

/// A distribution of durations, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct OverheadSummary {
    /// How many were measured.
    pub count: u64,
    /// The median.
    pub p50_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
    /// The largest.
    pub max_us: u64,
}

impl Overheads {
    /// Adds the measurement of one attempt.
    pub fn add(&self, start: Duration, end: Duration) {
        self.whole.add(start + end);
        self.start.add(start);
        self.end.add(end);
    }

    /// The distribution of the whole so far.
    #[must_use]
    pub fn summary(&self) -> OverheadSummary {
        self.whole.summary()
    }

    /// The distributions of its parts so far.
    #[must_use]
    pub fn parts(&self) -> OverheadParts {
        OverheadParts { start: self.start.summary(), end: self.end.summary() }
    }
}

impl Durations {
    /// Adds one measurement.
    pub fn add(&self, overhead: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.drain(..KEPT / 2);
        }
        kept.push(overhead);
    }

    /// The latest measurement.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last().copied()
    }

    /// The distribution so far. A percentile is the smallest measurement that so many per cent do not exceed (nearest
    /// rank).
    #[must_use]
    pub fn summary(&self) -> OverheadSummary {
        let mut sorted = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(index).map_or(0, |overhead| u64::try_from(overhead.as_micros()).unwrap_or(u64::MAX))
        };
        OverheadSummary { count: sorted.len() as u64, p50_us: rank(50), p99_us: rank(99), max_us: rank(100) }
    }
}

/// The moments of one step's command: when it had been spawned, and when it ended.
#[derive(Clone, Default)]
pub struct Moments {
    spawned: Arc<OnceLock<Instant>>,
    ended: Arc<OnceLock<Instant>>,
}

impl Moments {
    /// When the command had been spawned; none for a step without one.
    #[must_use]
    pub fn spawned(&self) -> Option<Instant> {
        self.spawned.get().copied()
    }

    /// The step ends now, unless its command has ended before.
    pub fn end_now(&self) {
        let _ = self.ended.set(Instant::now());
    }

    /// When the command ended.
    #[must_use]
    pub fn ended(&self) -> Option<Instant> {
        self.ended.get().copied()
    }
}

/// A launcher that notes the moments of what it launches.
pub struct TimedLauncher {
    /// What really launches.
    pub inner: SharedLauncher,
    /// Where the moments go.
    pub moments: Moments,
}

#[async_trait]
impl Launcher for TimedLauncher {
    async fn launch(&self, spec: LaunchSpec) -> Result<Process, LaunchError> {
        let mut process = self.inner.launch(spec).await?;
        let _ = self.moments.spawned.set(Instant::now());
        process.control = Box::new(TimedControl { inner: process.control, moments: self.moments.clone() });
        Ok(process)
    }
}

struct TimedControl {
    inner: Box<dyn ProcessControl>,
    moments: Moments,
}

#[async_trait]
impl ProcessControl for TimedControl {
    fn signal(&self, signal: TreeSignal) {
        self.inner.signal(signal);
    }

    async fn exited(&mut self) -> Result<Exit, LaunchError> {
        let exit = self.inner.exited().await;
        let ago = exit.as_ref().map_or(Duration::ZERO, |exit| exit.ago);
        let now = Instant::now();
        let _ = self.moments.ended.set(now.checked_sub(ago).unwrap_or(now));
        exit
    }

    async fn tree_gone(&mut self) -> Result<(), LaunchError> {
        self.inner.tree_gone().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let durations = Durations::default();
        assert_eq!(durations.summary(), OverheadSummary::default());
        (1..=200).rev().for_each(|n| durations.add(Duration::from_micros(n)));
        let expected = OverheadSummary { count: 200, p50_us: 100, p99_us: 198, max_us: 200 };
        assert_eq!(durations.summary(), expected);
    }

    #[test]
    fn the_whole_is_the_sum_of_each_attempt_not_of_the_percentiles() {
        let overheads = Overheads::default();
        overheads.add(Duration::from_micros(10), Duration::from_micros(1));
        overheads.add(Duration::from_micros(2), Duration::from_micros(20));
        assert_eq!((overheads.summary().p50_us, overheads.summary().max_us), (11, 22));
        assert_eq!((overheads.parts().start.max_us, overheads.parts().end.max_us), (10, 20));
    }
}
