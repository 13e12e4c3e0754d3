//! Whether another engine is lost: it said that it ended, is proven dead, or its lease has run out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testledger_schemas::event::{InterruptReason, WorkerStarted};
use testledger_schemas::{Event, StreamId, WorkerId};
use tokio::time::Instant;

use crate::event_store::leases::{Lease, SharedLeases};
use crate::event_store::{EventLog, StoreError};
use crate::ports::fault::{self, Bug};
use crate::ports::process::started_ticks;

/// How many commits the stream of an engine has at the most: its start and its end.
const WORKER_COMMITS: usize = 16;
/// How long the lease of an engine that has none here is waited for: that of an older program, or a removed one.
const UNKNOWN_LASTS: Duration = Duration::from_secs(60);
/// How long the processes of a dead engine are waited for, which its spawner ends at once, and the pause between two looks.
const ENDING_PATIENCE: Duration = Duration::from_secs(2);
const ENDING_PAUSE: Duration = Duration::from_millis(10);
/// How much longer than it lasts a lease is watched, as a part of it (1/n): clocks do not run equally fast.
const DRIFT: u32 = 20;

/// What is known of other engines.
pub struct Fates {
    leases: SharedLeases,
    /// This process.
    here: WorkerStarted,
    /// Whether anything may be done about what is found.
    only_looks: bool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Nobody comes back from there.
    lost: BTreeMap<WorkerId, InterruptReason>,
    /// The count of renewals of a lease that runs, and since when it has not changed.
    counted: BTreeMap<WorkerId, (u64, Instant)>,
    /// Dead engines whose processes were given the time to end.
    awaited: BTreeSet<WorkerId>,
}

impl Fates {
    /// Knows nothing of anybody yet. `here` is this process.
    #[must_use]
    pub fn new(leases: SharedLeases, here: WorkerStarted) -> Self {
        Self { leases, here, only_looks: false, seen: Mutex::default() }
    }

    /// The same, for who only wants to know: it ends nothing and declares nothing.
    #[must_use]
    pub fn only_looking(leases: SharedLeases, here: WorkerStarted) -> Self {
        Self { only_looks: true, ..Self::new(leases, here) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why an engine is lost, if it is: nothing that it started is alive then, and nothing that it says counts any more
    /// once its claims are ended.
    ///
    /// # Errors
    /// [`StoreError`] if log or leases cannot be read. A lease that was being watched is then watched anew: while the
    /// store was away, its engine could not renew it.
    pub async fn of(&self, log: &dyn EventLog, worker: WorkerId) -> Result<Option<InterruptReason>, StoreError> {
        if let Some(reason) = self.seen().lost.get(&worker) {
            return Ok(Some(*reason));
        }
        if fault::is_planted(Bug::LivingTakenForDead) {
            return Ok(Some(InterruptReason::WorkerDied));
        }
        let looked = self.look(log, worker).await;
        let reason = match looked {
            Ok(reason) => reason,
            Err(error) => {
                self.seen().counted.clear();
                return Err(error);
            }
        };
        let Some(reason) = reason else { return Ok(None) };
        // Whoever asks meanwhile waits for their end, too.
        if !self.only_looks {
            let count = self.leases.end_left_over(worker).await?;
            if count > 0 {
                tracing::warn!(%worker, count, "processes of a lost engine were still running, and were ended");
            }
        }
        self.seen().lost.insert(worker, reason);
        Ok(Some(reason))
    }

    async fn look(&self, log: &dyn EventLog, worker: WorkerId) -> Result<Option<InterruptReason>, StoreError> {
        let (started, has_stopped) = life(log, worker).await?;
        if has_stopped {
            return Ok(Some(InterruptReason::WorkerDied));
        }
        let is_dead = || started.as_ref().is_some_and(|process| is_dead(process, &self.here));
        let mut lease = self.leases.look(worker).await?;
        if matches!(lease, Lease::Locked | Lease::Counted { .. }) && is_dead() && self.seen().awaited.insert(worker) {
            lease = self.after_its_end(worker).await?;
        }
        match lease {
            Lease::Over => Ok(Some(InterruptReason::WorkerDied)),
            Lease::Locked => Ok(None),
            Lease::Unknown if is_dead() => Ok(Some(InterruptReason::WorkerDied)),
            // Somebody has removed what tells of it.
            Lease::Unknown if started.as_ref().is_some_and(|process| is_alive(process, &self.here)) => Ok(None),
            Lease::Unknown => Ok(self.is_overdue(worker, 0, UNKNOWN_LASTS).then_some(InterruptReason::LeaseExpired)),
            Lease::Counted { renewals, lasts } => {
                let is_overdue = self.is_overdue(worker, renewals, lasts);
                let is_over = is_overdue && (self.only_looks || self.leases.declare_over(worker, renewals).await?);
                Ok(is_over.then_some(InterruptReason::LeaseExpired))
            }
        }
    }

    /// The lease of an engine that is dead, once its processes have ended, or as it is where that takes longer: what is
    /// asked just after a death finds it over.
    async fn after_its_end(&self, worker: WorkerId) -> Result<Lease, StoreError> {
        let began = Instant::now();
        loop {
            let lease = self.leases.look(worker).await?;
            if lease == Lease::Over || began.elapsed() >= ENDING_PATIENCE {
                return Ok(lease);
            }
            tokio::time::sleep(ENDING_PAUSE).await;
        }
    }

    /// Whether a lease was not renewed for so long while it was watched from here.
    fn is_overdue(&self, worker: WorkerId, renewals: u64, lasts: Duration) -> bool {
        let mut seen = self.seen();
        let entry = seen.counted.entry(worker).or_insert_with(|| (renewals, Instant::now()));
        if entry.0 != renewals {
            *entry = (renewals, Instant::now());
        }
        entry.1.elapsed() > lasts + lasts / DRIFT
    }

    /// Gives the lease of an engine up whose last append says that it has ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn give_up(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.leases.give_up(worker).await
    }
}

/// What an engine says of itself: its last start, and whether it has ended since.
async fn life(log: &dyn EventLog, worker: WorkerId) -> Result<(Option<WorkerStarted>, bool), StoreError> {
    let commits = log.read_stream(StreamId::from(worker), 0, WORKER_COMMITS).await?;
    let events = commits.iter().flat_map(|commit| &commit.events).filter_map(|recorded| recorded.read().ok());
    let mut life = (None, false);
    for event in events {
        if let Event::WorkerStarted(started) = event {
            life.0 = Some(started);
        } else if let Event::WorkerStopped(_) = event {
            life.1 = true;
        }
    }
    Ok(life)
}

/// Whether a process is proven dead: it ran on this host since its last start, and is gone. The host's name counts, too:
/// containers of one host share its boot, but not its processes.
fn is_dead(process: &WorkerStarted, here: &WorkerStarted) -> bool {
    is_of_here(process, here) && started_ticks(process.pid) != Some(process.started_ticks)
}

/// Whether a process is proven alive.
fn is_alive(process: &WorkerStarted, here: &WorkerStarted) -> bool {
    is_of_here(process, here) && started_ticks(process.pid) == Some(process.started_ticks)
}

fn is_of_here(process: &WorkerStarted, here: &WorkerStarted) -> bool {
    !here.boot_id.is_empty() && process.boot_id == here.boot_id && process.content == here.content
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::process::this_process;

    #[test]
    fn only_a_process_of_this_host_and_boot_is_proven_dead() {
        let here = this_process("host");
        assert!(!is_dead(&here, &here));
        let before_me = WorkerStarted { started_ticks: here.started_ticks - 1, ..here.clone() };
        assert!(is_dead(&before_me, &here));
        let elsewhere = WorkerStarted { content: this_process("other").content, ..before_me.clone() };
        assert!(!is_dead(&elsewhere, &here));
        let before_the_boot = WorkerStarted { boot_id: "another".to_owned(), ..before_me };
        assert!(!is_dead(&before_the_boot, &here));
    }
}
