//! This engine's own lease: taken before its first append, renewed while it works. Whatever it has started ends before the
//! lease does; that is seen to by what starts it, because an engine that is stopped could not.

use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::event::WorkerStarted;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::engine::error::ExecutionError;
use crate::event_store::leases::SharedLeases;
use crate::ports::fault::{self, Bug, Point};
use crate::steps::launcher::SharedLauncher;

/// How often a lease is renewed within its time.
const RENEWALS: u32 = 4;
/// The wait before a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// The part of a lease (1/n) that is left for processes to die in.
const MARGIN: u32 = 5;

/// Takes the engine's lease and renews it until the engine is gone.
///
/// # Errors
/// [`ExecutionError`] if it cannot be taken.
pub(super) async fn keep(
    engine: &Arc<Engine>,
    leases: SharedLeases,
    process: &WorkerStarted,
) -> Result<(), ExecutionError> {
    let lasts = engine.settings.lease;
    let launcher = Arc::clone(&engine.launcher);
    let taken_at = launcher.uptime();
    if let Some(descriptor) = leases.take(engine.worker, process, lasts).await? {
        launcher.hold(descriptor).await?;
    }
    if !leases.runs_out() {
        return Ok(());
    }
    if fault::is_planted(Bug::LeaseNotEnforced) {
        return Ok(());
    }
    launcher.end_at(taken_at + usable(lasts)).await?;
    let lost = engine.journal.lost.clone();
    let alive = Arc::downgrade(engine);
    let worker = engine.worker;
    tokio::spawn(async move {
        let mut ends_at = taken_at + usable(lasts);
        let mut wait = lasts / RENEWALS;
        loop {
            tokio::select! {
                biased;
                () = lost.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            if alive.strong_count() == 0 {
                return;
            }
            fault::reached(Point::LeaseRenewal, Some(worker)).await;
            let sent_at = launcher.uptime();
            let answer = tokio::time::timeout(lasts / RENEWALS, leases.renew(worker)).await;
            match answer {
                Ok(Ok(true)) => {
                    ends_at = sent_at + usable(lasts);
                    wait = lasts / RENEWALS;
                    if let Err(error) = launcher.end_at(ends_at).await {
                        tracing::warn!(%error, "the lease was renewed, but its processes will end with the old one");
                    }
                }
                Ok(Ok(false)) => return lose(&launcher, &lost).await,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the lease could not be renewed; trying again");
                    wait = AGAIN;
                }
                Err(_) => wait = AGAIN,
            }
            if launcher.uptime() >= ends_at {
                return lose(&launcher, &lost).await;
            }
        }
    });
    Ok(())
}

/// How long processes may run after a renewal was sent.
fn usable(lasts: Duration) -> Duration {
    lasts - lasts / MARGIN
}

async fn lose(launcher: &SharedLauncher, lost: &CancellationToken) {
    // First of all nothing is recorded any more; the processes end at once.
    lost.cancel();
    if let Err(error) = launcher.end_at(launcher.uptime()).await {
        tracing::debug!(%error, "there is nobody left to end processes");
    }
}
