//! Leases of engines in memory, for tests and simulations: counted like those in MongoDB, on tokio's clock.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use testledger_schemas::event::WorkerStarted;
use testledger_schemas::ids::WorkerId;

use crate::event_store::StoreError;
use crate::event_store::leases::{Lease, Leases};

/// The leases of all engines of one simulated world.
#[derive(Default)]
pub struct MemoryLeases(Mutex<HashMap<WorkerId, Lease>>);

impl MemoryLeases {
    /// No leases.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<WorkerId, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody sees at once that an engine is dead, as on the same machine.
    pub fn prove_dead(&self, worker: WorkerId) {
        self.all().insert(worker, Lease::Over);
    }
}

#[async_trait]
impl Leases for MemoryLeases {
    async fn take(&self, worker: WorkerId, _: &WorkerStarted, lasts: Duration) -> Result<Option<OwnedFd>, StoreError> {
        self.all().insert(worker, Lease::Counted { renewals: 0, lasts });
        Ok(None)
    }

    async fn renew(&self, worker: WorkerId) -> Result<bool, StoreError> {
        match self.all().get_mut(&worker) {
            Some(Lease::Counted { renewals, .. }) => {
                *renewals += 1;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn runs_out(&self) -> bool {
        true
    }

    async fn look(&self, worker: WorkerId) -> Result<Lease, StoreError> {
        Ok(self.all().get(&worker).copied().unwrap_or(Lease::Unknown))
    }

    async fn declare_over(&self, worker: WorkerId, renewals: u64) -> Result<bool, StoreError> {
        let mut all = self.all();
        match all.get(&worker) {
            Some(Lease::Counted { renewals: now, .. }) if *now == renewals => {
                all.insert(worker, Lease::Over);
                Ok(true)
            }
            found => Ok(found == Some(&Lease::Over)),
        }
    }

    async fn end_left_over(&self, _: WorkerId) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn give_up(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.all().remove(&worker);
        Ok(())
    }
}
