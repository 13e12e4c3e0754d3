//! Folds a projection anew beside the views that are read, and then puts the new ones in their place (blue and green).

use std::time::Duration;

use tokio::time::Instant;

use crate::ports::{Feed, Leases, ManagedStore, Poison, Switched};
use crate::projection::Projection;
use crate::worker::walk::Walk;
use crate::worker::{CatchUpError, Progress};

/// About so many events are folded in one transaction: nobody waits for them, and an execution whose events stand close
/// together is written once for all of them.
const BATCH_EVENTS: usize = 20_000;
/// How long the lease on a rebuild lasts without renewal.
const LEASE: Duration = Duration::from_secs(60);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(2);
/// How often the new views may turn out to be behind those that are read.
const MAX_BEHIND: u32 = 100;

/// How a rebuild ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rebuilt {
    /// The new views are the ones that are read.
    Done {
        /// How far they have come.
        position: u64,
        /// How many events were folded now; those of an earlier attempt that was broken off aside.
        folded: u64,
    },
    /// Somebody else rebuilds this projection at this moment.
    Elsewhere,
    /// An event cannot be read: the old views stay.
    Poisoned(Poison),
    /// The views that are read ran ahead of the new ones, again and again.
    Behind,
}

/// What is rebuilt, from where to where.
pub struct Rebuild<'a, P: Projection> {
    /// The fold.
    pub projection: &'a P,
    /// Where events come from.
    pub feed: &'a dyn Feed,
    /// Where views go.
    pub store: &'a dyn ManagedStore<P>,
    /// So that one at a time does it.
    pub leases: &'a dyn Leases,
    /// The name of this worker.
    pub holder: &'a str,
}

impl<P: Projection> Rebuild<'_, P> {
    /// Rebuilds, and goes on where an attempt was broken off; with `afresh`, from the first event. `progress` is told
    /// positions: that of the new views, and the last one.
    ///
    /// # Errors
    /// [`CatchUpError`]; the views that are read stay as they are, and the next attempt goes on from here.
    pub async fn run(&self, afresh: bool, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Rebuilt, CatchUpError> {
        let lease = format!("{}.rebuild", P::NAME);
        if !self.leases.take(&lease, self.holder, LEASE).await? {
            return Ok(Rebuilt::Elsewhere);
        }
        let ended = self.fold(&lease, afresh, progress).await;
        if let Err(error) = self.leases.give_up(&lease, self.holder).await {
            tracing::debug!(%error, "the lease on the rebuild ends by itself");
        }
        ended
    }

    async fn fold(
        &self,
        lease: &str,
        afresh: bool,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Rebuilt, CatchUpError> {
        let beside = self.store.beside();
        if afresh {
            beside.reset().await?;
        }
        let (mut walk, mut renewed) =
            (Walk::begin(self.projection, self.feed, &*beside, BATCH_EVENTS).await?, Instant::now());
        for _ in 0..MAX_BEHIND {
            let head = self.feed.head().await?;
            progress(walk.position(), head);
            while walk.position() < head {
                if renewed.elapsed() >= RENEW {
                    renewed = Instant::now();
                    if !self.leases.take(lease, self.holder, LEASE).await? {
                        return Ok(Rebuilt::Elsewhere);
                    }
                }
                let goes_on = walk.batch(head).await?;
                progress(walk.position(), head);
                if !goes_on {
                    break;
                }
            }
            let Progress { position, folded, paused, .. } = walk.progress();
            if let Some(poison) = paused {
                return Ok(Rebuilt::Poisoned(poison));
            }
            match self.store.switch().await? {
                Switched::Yes => return Ok(Rebuilt::Done { position, folded }),
                Switched::Behind => {}
                Switched::Nothing if head == 0 => return Ok(Rebuilt::Done { position, folded }),
                Switched::Nothing => return Ok(Rebuilt::Elsewhere),
            }
        }
        Ok(Rebuilt::Behind)
    }
}
