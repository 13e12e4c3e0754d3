//! The sequencer's task: follows the change stream and writes pages, one sequencer of all processes at a time.
//!
//! Nobody is elected: the dense number of the next page lets one win. Who loses stands by, and takes over when commits
//! of its own wait too long for their place, or when no page has come for a while. [`Ended`] is the ladder of all
//! reasons why following ends, and [`run`] the one place that acts on them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use crate::event_store::StoreError;
use crate::event_store::mongodb::idle::Idle;
use crate::event_store::mongodb::shared::Shared;
use crate::event_store::mongodb::stretch::Stretch;
use crate::event_store::mongodb::{backfill, loss};

/// How long an acknowledged commit of this process waits, and no page comes at all, before its sequencer stops standing
/// by. One that is slow but at work is left alone: more readers of the change stream would make it slower.
const TAKE_OVER_AFTER: Duration = Duration::from_millis(100);
/// After so long without a new position every sequencer looks for itself.
const QUIET: Duration = Duration::from_secs(1);
/// How often a sequencer that stands by looks.
const STAND_BY_POLL: Duration = Duration::from_millis(20);
/// The pause after the first failure; each further one is twice as long, up to [`LAST_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two attempts.
pub(super) const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Why following the change stream ended: the ladder, from what is meant to what is worst.
#[derive(Debug)]
pub(super) enum Ended {
    /// The log is closed.
    Closed,
    /// Another sequencer was quicker.
    Overtaken,
    /// It may work the next time.
    Passing(StoreError),
    /// The token is refused: the history between it and now may be lost.
    TokenRefused(String),
    /// A backfill was begun and not ended.
    BackfillOpen,
    /// The commits were dropped or renamed.
    Invalidated,
    /// This user may not write pages.
    NotAllowed(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Damaged(_) => Self::Passing(error),
            StoreError::Refused(_) => Self::NotAllowed(error),
        }
    }
}

/// Sequences until the log is closed. `caught_up` turns true once everything durable before the start has its place.
pub(super) async fn run(shared: Arc<Shared>, caught_up: watch::Sender<bool>) {
    loss::notice(&shared).await;
    let mut follower = Follower { shared, caught_up, pause: FIRST_PAUSE, refused: None, after: 0 };
    while !follower.shared.closed.is_cancelled() {
        let ended = follower.follow().await;
        if follower.act_on(ended).await.is_break() {
            return;
        }
    }
}

/// The sequencer of this process.
struct Follower {
    shared: Arc<Shared>,
    caught_up: watch::Sender<bool>,
    pause: Duration,
    /// The token that was refused last.
    refused: Option<String>,
    /// The number of the page after which was followed last.
    after: u64,
}

impl Follower {
    async fn act_on(&mut self, ended: Ended) -> ControlFlow<()> {
        match ended {
            Ended::Closed => return ControlFlow::Break(()),
            Ended::Overtaken => {
                // Who was quicker does the work.
                self.caught_up.send_replace(true);
                stand_by(&self.shared).await;
            }
            Ended::Passing(error) => {
                tracing::warn!(%error, "the change stream of the commits ended; following it anew");
                self.rest().await;
            }
            // Once more from the last page: the one this token came from may be an old one.
            Ended::TokenRefused(token) if self.refused.as_ref() != Some(&token) => self.refused = Some(token),
            Ended::TokenRefused(_) => return self.fill().await,
            Ended::BackfillOpen => return self.fill_after_others().await,
            Ended::Invalidated => {
                tracing::error!("the commits were dropped or renamed; nothing is appended until they are restored");
                self.shared.gone.store(true, Ordering::Release);
                loss::until_restored(&self.shared).await;
                return self.fill().await;
            }
            Ended::NotAllowed(error) => return self.look_on(&error).await,
        }
        ControlFlow::Continue(())
    }

    /// Follows the change stream from the last page on, until something ends it.
    async fn follow(&mut self) -> Ended {
        let shared = Arc::clone(&self.shared);
        if shared.gone.load(Ordering::Acquire) {
            loss::until_restored(&shared).await;
        }
        let last = match shared.last_page().await {
            Ok(last) => last,
            Err(error) => return error.into(),
        };
        self.after = last.number;
        let Some(page_token) = last.token.clone() else { return Ended::BackfillOpen };
        let idle = Idle::new(last.anchor());
        let token = match idle.token(&shared).await {
            Ok(token) => token.unwrap_or(page_token),
            Err(error) => return error.into(),
        };
        shared.head.advance(last.last_position());
        let mut stretch = Stretch::begin(&shared, last, idle, token.clone());
        match stretch.run(&self.caught_up, &mut self.pause).await {
            Ended::TokenRefused(_) => Ended::TokenRefused(token),
            other => other,
        }
    }

    /// Fills the order up, unless another process does.
    async fn fill_after_others(&mut self) -> ControlFlow<()> {
        match backfill::stand_by(&self.shared).await {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => self.fill().await,
            Err(error) => {
                tracing::warn!(%error, "it cannot be seen whether the order is filled up");
                self.rest().await;
                ControlFlow::Continue(())
            }
        }
    }

    async fn fill(&mut self) -> ControlFlow<()> {
        tracing::warn!("the history of the change stream is lost; the order is filled up from the commits themselves");
        loss::notice(&self.shared).await;
        if self.shared.gone.load(Ordering::Acquire) {
            return ControlFlow::Continue(());
        }
        match backfill::run(&self.shared, self.after).await {
            Ok(()) => {}
            Err(error @ StoreError::Refused(_)) => return self.look_on(&error).await,
            Err(error) => {
                tracing::warn!(%error, "the order could not be filled up; trying again");
                self.rest().await;
            }
        }
        ControlFlow::Continue(())
    }

    /// A process that may not write pages only watches whether the commits are there.
    async fn look_on(&mut self, error: &StoreError) -> ControlFlow<()> {
        tracing::info!(%error, "this process gives no positions");
        self.caught_up.send_replace(true);
        while !self.shared.closed.is_cancelled() {
            if self.shared.gone.load(Ordering::Acquire) {
                loss::until_restored(&self.shared).await;
            }
            self.shared.closed.run_until_cancelled(tokio::time::sleep(LAST_PAUSE)).await;
        }
        ControlFlow::Break(())
    }

    async fn rest(&mut self) {
        rest(&self.shared, &mut self.pause).await;
    }
}

/// Waits a moment, and longer the next time.
pub(super) async fn rest(shared: &Shared, pause: &mut Duration) {
    shared.closed.run_until_cancelled(tokio::time::sleep(*pause)).await;
    *pause = (*pause * 2).min(LAST_PAUSE);
}

/// Waits while another sequencer does the work.
async fn stand_by(shared: &Shared) {
    let is_needed = || {
        let waits = shared.unplaced.longest_wait().is_some_and(|wait| wait >= TAKE_OVER_AFTER);
        let quiet = shared.head.quiet_for();
        (waits && quiet >= TAKE_OVER_AFTER) || quiet >= QUIET
    };
    let waiting = async {
        while !is_needed() {
            tokio::time::sleep(STAND_BY_POLL).await;
        }
    };
    shared.closed.run_until_cancelled(waiting).await;
}
