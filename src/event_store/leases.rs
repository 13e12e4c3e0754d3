//! The leases of engines: what tells others that an engine may still be at work. They live in the log's own store.
//!
//! An engine takes a lease before its first append and renews it as long as it works. It must have ended everything it
//! has started before the lease runs out; so whoever sees it run out may go on with its executions.

pub mod file;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use testledger_schemas::event::WorkerStarted;
use testledger_schemas::ids::WorkerId;

use crate::event_store::StoreError;

/// Leases that are shared by everything in this process.
pub type SharedLeases = Arc<dyn Leases>;

/// What is known of an engine's lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lease {
    /// Nothing: it has none here.
    Unknown,
    /// It is over: nothing that this engine has started is alive.
    Over,
    /// A lock of this machine is held by the engine, or by what ends its processes. It has no end of its own.
    Locked,
    /// It runs as long as its count of renewals goes up within this time.
    Counted {
        /// How often it was renewed.
        renewals: u64,
        /// How long it runs from a renewal on.
        lasts: Duration,
    },
}

/// Where engines keep their leases.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes the lease of a new engine. The descriptor, where there is one, is to be kept open by whatever ends the
    /// engine's processes, until nothing is left of them.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn take(
        &self,
        worker: WorkerId,
        process: &WorkerStarted,
        lasts: Duration,
    ) -> Result<Option<OwnedFd>, StoreError>;

    /// Renews it. False: somebody has declared it over.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn renew(&self, worker: WorkerId) -> Result<bool, StoreError>;

    /// Whether a lease runs out unless it is renewed.
    fn runs_out(&self) -> bool;

    /// What is known of a lease.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn look(&self, worker: WorkerId) -> Result<Lease, StoreError>;

    /// Declares a lease over that was seen to run out, unless it was renewed since it had this count. Whether it is over.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn declare_over(&self, worker: WorkerId, renewals: u64) -> Result<bool, StoreError>;

    /// Ends what a dead engine may have left running on this machine, although everything that was to end it is dead,
    /// too. How many processes that were.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn end_left_over(&self, worker: WorkerId) -> Result<usize, StoreError>;

    /// Gives a lease up: of an engine that has ended in good order, or whose executions were all taken over.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn give_up(&self, worker: WorkerId) -> Result<(), StoreError>;
}
