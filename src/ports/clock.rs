//! What time it is. Waiting goes through `tokio::time`, whose clock a simulation pauses.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use testledger_schemas::Timestamp;
use tokio::time::Instant;

/// A clock that is shared by everything in this process.
pub type SharedClock = Arc<dyn Clock>;

/// The wall clock. Durations are measured on [`Instant`], never as the difference of two wall-clock times.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, for people and for deadlines.
    fn now(&self) -> Timestamp;
}

/// The clock of this machine.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that starts at a given time and goes on with tokio's clock: virtual where that is paused.
pub struct VirtualClock {
    start: Timestamp,
    began: Instant,
}

impl VirtualClock {
    /// A clock that shows `start` now.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, began: Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.start.plus_ms(ms(self.began.elapsed()))
    }
}

/// A duration in whole milliseconds, as events keep it.
#[must_use]
pub fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
