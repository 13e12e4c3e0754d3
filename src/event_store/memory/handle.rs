//! One process's side of the log in memory: what may happen to a call on its way to the store.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use testledger_schemas::commit::Commit;
use tokio::sync::{Notify, OnceCell};
use tokio_util::sync::CancellationToken;

use crate::event_store::faults::{CrashPoint, Dice, Faults};
use crate::event_store::memory::follow;
use crate::event_store::memory::store::{Durable, News};
use crate::event_store::{AppendError, StoreError};

/// Keeps the sequencer's chance apart from that of the calls.
const SEQUENCER_SEED: u64 = 0x5e9e_4ce2;

/// What one process has of the log: its faults, its crash, its sequencer.
pub(super) struct Handle {
    pub(super) durable: Arc<Durable>,
    pub(super) news: Arc<News>,
    dice: Dice,
    seed: u64,
    pub(super) appends: AtomicU64,
    crash: OnceLock<(u64, CrashPoint)>,
    /// Whether the network between this process and the store is cut.
    cut: AtomicBool,
    /// Who waits for it to be mended, in their order.
    mended: Notify,
    /// Fires when this process dies.
    pub(super) dead: CancellationToken,
    /// Fires when the log is closed.
    pub(super) closed: CancellationToken,
    /// Fires when the sequencer of this handle has to end.
    pub(super) stop: CancellationToken,
    sequencing: OnceCell<()>,
}

/// Why a call has no answer of the store.
pub(super) enum NoAnswer {
    /// The process is dead: nobody is there to be answered.
    Dead,
    /// The store was not reached.
    Store(StoreError),
}

impl Handle {
    pub(super) fn new(durable: Arc<Durable>, faults: Faults) -> Self {
        Self {
            news: durable.listen(),
            durable,
            dice: Dice::new(faults),
            seed: faults.seed,
            appends: AtomicU64::new(0),
            crash: OnceLock::new(),
            cut: AtomicBool::new(false),
            mended: Notify::new(),
            dead: CancellationToken::new(),
            closed: CancellationToken::new(),
            stop: CancellationToken::new(),
            sequencing: OnceCell::new(),
        }
    }

    pub(super) fn crash_at(&self, append_number: u64, point: CrashPoint) {
        let first = self.crash.set((append_number, point)).is_ok();
        debug_assert!(first, "a handle crashes once");
    }

    /// Cuts the network to the store, or mends it: what is sent meanwhile arrives afterwards.
    pub(super) fn cut(&self, is_cut: bool) {
        self.cut.store(is_cut, Ordering::SeqCst);
        self.mended.notify_waiters();
    }

    /// Brings a call to the store: it takes its time, and may not arrive.
    pub(super) async fn reach(&self) -> Result<(), NoAnswer> {
        self.start_sequencer().await;
        let delay = self.dice.delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        while self.cut.load(Ordering::SeqCst) && !self.dead.is_cancelled() {
            tokio::select! {
                biased;
                () = self.mended.notified() => {}
                () = self.dead.cancelled() => {}
            }
        }
        if self.dead.is_cancelled() {
            return Err(NoAnswer::Dead);
        }
        if self.closed.is_cancelled() {
            return Err(NoAnswer::Store(StoreError::Unavailable("the log was closed by this process".to_owned())));
        }
        if self.dice.is_unavailable() {
            return Err(NoAnswer::Store(StoreError::Unavailable("a seeded fault: not reached".to_owned())));
        }
        Ok(())
    }

    /// With the first call, because a handle may be made where no runtime is.
    pub(super) async fn start_sequencer(&self) {
        let start = || async {
            let dice = self.dice.sibling(SEQUENCER_SEED ^ self.seed);
            drop(tokio::spawn(follow::follow(
                Arc::clone(&self.durable),
                Arc::clone(&self.news),
                dice,
                self.stop.clone(),
            )));
        };
        self.sequencing.get_or_init(start).await;
    }

    /// Brings a commit to the store, unless the process dies on the way; the answer may be lost.
    pub(super) async fn append(&self, commit: Commit) -> Result<Result<(), AppendError>, NoAnswer> {
        self.reach().await?;
        let number = self.appends.fetch_add(1, Ordering::SeqCst) + 1;
        let crash = self.crash.get().filter(|(at, _)| *at == number).map(|(_, point)| *point);
        if crash == Some(CrashPoint::Before) {
            return Err(self.die());
        }
        let appended = self.durable.with(|store| store.append(commit));
        if crash == Some(CrashPoint::After) {
            return Err(self.die());
        }
        if self.dice.loses_ack() {
            let error = StoreError::Unavailable("a seeded fault: the answer was lost".to_owned());
            return Err(NoAnswer::Store(error));
        }
        Ok(appended)
    }

    pub(super) fn kill(&self) {
        self.dead.cancel();
        self.stop.cancel();
    }

    fn die(&self) -> NoAnswer {
        self.kill();
        NoAnswer::Dead
    }
}
