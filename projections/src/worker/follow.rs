//! Follows the log for one projection, as long as the lease lasts: reads what comes, and commits it when the router says so.
//!
//! Leases share the projections among workers; they are not what keeps a second one from doing harm. That is the epoch in
//! the checkpoint: a worker begins by moving it on, and what another one folded before is overtaken then, as is whoever
//! read the checkpoint before somebody held the projection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ports::{Checkpoint, Feed, FeedError, Leases, ManagedStore, Saved};
use crate::projection::{Projection, Recorded};
use crate::router::{Decision, Pending, Priorities, Route, Routing, Urgency};
use crate::worker::CatchUpError;
use crate::worker::fold::{Length, fold};

/// How long a lease lasts without renewal: how long a projection may wait for another worker when one is killed.
pub const LEASE: Duration = Duration::from_secs(4);
/// How often it is renewed.
const RENEW: Duration = Duration::from_millis(1200);
/// How often a worker looks whether a lease that somebody else has is free.
const STAND_BY: Duration = Duration::from_millis(500);
/// How often a worker looks whether a projection is still held, or an event still not readable.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The pause after a first failure; each further one is twice as long, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause after a failure.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// One worker of one projection.
pub struct Follower<'a, P: Projection> {
    /// The fold.
    pub projection: &'a P,
    /// Where events come from.
    pub feed: &'a dyn Feed,
    /// Where views go.
    pub store: &'a dyn ManagedStore<P>,
    /// Who may fold for now.
    pub leases: &'a dyn Leases,
    /// The name of this worker: no other one has it.
    pub holder: &'a str,
    /// When what was read is committed.
    pub routing: Routing,
    /// What it did.
    pub done: &'a Done,
}

/// What a worker did so far.
#[derive(Default)]
pub struct Done {
    routes: [AtomicU64; Route::ALL.len()],
    folded: AtomicU64,
    turns: AtomicU64,
    failures: AtomicU64,
}

impl Done {
    /// How many commits went this way.
    #[must_use]
    pub fn commits(&self, route: Route) -> u64 {
        self.routes[route as usize].load(Ordering::Relaxed)
    }

    /// How many events are folded in.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded.load(Ordering::Relaxed)
    }

    /// How often it took the projection over.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// How often the log or the store failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl<P: Projection> Follower<'_, P> {
    /// Works until it is stopped; commits what was read by then, and gives the lease up. Failures of the log and of the
    /// store are waited out: nothing is lost by them, as the checkpoint stands.
    pub async fn work(&self, stop: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            match self.turn(stop).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    self.done.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(projection = P::NAME, %error, "the projection is stopped for a moment");
                    stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
        if let Err(error) = self.leases.give_up(P::NAME, self.holder).await {
            tracing::debug!(projection = P::NAME, %error, "the lease ends by itself");
        }
    }

    /// One turn: from the lease taken until it is lost, the projection held or released, or the worker stopped.
    async fn turn(&self, stop: &CancellationToken) -> Result<(), CatchUpError> {
        while !self.leases.take(P::NAME, self.holder, LEASE).await? {
            if stop.run_until_cancelled(tokio::time::sleep(STAND_BY)).await.is_none() {
                return Ok(());
            }
        }
        let renewed = Instant::now();
        let mut checkpoint = self.store.fence().await?;
        let projection = checkpoint.settle(self.projection);
        self.done.turns.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(projection = P::NAME, epoch = checkpoint.epoch, position = checkpoint.position, "taken over");
        let turn = Turn {
            worker: self,
            projection,
            gathered: Gathered::after(&checkpoint),
            checkpoint,
            length: Length::of(self.routing.batch_events),
            priorities: Priorities::default(),
            renewed,
            last_commit: Duration::ZERO,
            committed: Instant::now(),
        };
        turn.run(stop).await
    }
}

/// What was read and is not committed yet.
struct Gathered {
    events: Vec<Recorded>,
    reached: Checkpoint,
    urgency: Urgency,
    since: Instant,
}

impl Gathered {
    fn after(checkpoint: &Checkpoint) -> Self {
        Self { events: vec![], reached: checkpoint.clone(), urgency: Urgency::Routine, since: Instant::now() }
    }
}

/// What became of the attempt to go on.
#[derive(PartialEq, Eq)]
enum Step {
    On,
    /// The projection is another worker's now, or held, or thrown away.
    Over,
}

struct Turn<'a, P: Projection> {
    worker: &'a Follower<'a, P>,
    /// As the views were begun.
    projection: P,
    checkpoint: Checkpoint,
    gathered: Gathered,
    /// How many events one commit may have.
    length: Length,
    priorities: Priorities,
    renewed: Instant,
    last_commit: Duration,
    committed: Instant,
}

impl<P: Projection> Turn<'_, P> {
    async fn run(mut self, stop: &CancellationToken) -> Result<(), CatchUpError> {
        loop {
            if self.renewed.elapsed() >= RENEW {
                self.renewed = Instant::now();
                if !self.worker.leases.take(P::NAME, self.worker.holder, LEASE).await? {
                    return Ok(());
                }
            }
            if stop.is_cancelled() {
                if !self.gathered.events.is_empty() {
                    self.commit(Route::Stop).await?;
                }
                return Ok(());
            }
            let step = match self.checkpoint.held.is_some() {
                true => self.look_again(stop).await?,
                false => self.go_on(stop).await?,
            };
            if step == Step::Over {
                return Ok(());
            }
        }
    }

    /// While somebody holds the projection nothing is folded; released, it has another epoch.
    async fn look_again(&mut self, stop: &CancellationToken) -> Result<Step, CatchUpError> {
        stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
        let now = self.worker.store.checkpoint().await?;
        Ok(if now.epoch == self.checkpoint.epoch { Step::On } else { Step::Over })
    }

    async fn go_on(&mut self, stop: &CancellationToken) -> Result<Step, CatchUpError> {
        let Some(behind) = self.read().await? else { return Ok(Step::Over) };
        if self.gathered.events.is_empty() {
            return self.idle(stop).await;
        }
        let pending = Pending {
            events: self.gathered.events.len(),
            waited: self.gathered.since.elapsed(),
            urgency: self.gathered.urgency,
            behind,
            last_commit: self.last_commit,
            since_commit: self.committed.elapsed(),
        };
        let routing = Routing { batch_events: self.length.events(), ..self.worker.routing.clone() };
        match routing.decide(&pending) {
            Decision::Commit(route) => self.commit(route).await,
            Decision::Gather => Ok(Step::On),
            Decision::Wait(time) => {
                self.wait(time, stop).await;
                Ok(Step::On)
            }
        }
    }

    /// Reads as much as one commit may have. Returns how many events the log has after that; none where the views are of
    /// another history, which throws them away.
    async fn read(&mut self) -> Result<Option<u64>, CatchUpError> {
        let room = self.length.events().saturating_sub(self.gathered.events.len());
        if room == 0 {
            return self.behind().await.map(Some);
        }
        let batch = match self.worker.feed.read(&self.gathered.reached, room).await {
            Ok(batch) => batch,
            Err(FeedError::OtherHistory) if self.checkpoint.position > 0 => {
                tracing::warn!(projection = P::NAME, "the log has another history: its views are folded anew");
                self.worker.store.reset().await?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if self.gathered.events.is_empty() {
            self.gathered.since = Instant::now();
            self.gathered.urgency = Urgency::Routine;
        }
        let is_all = batch.events.len() < room;
        for recorded in &batch.events {
            self.gathered.urgency = self.gathered.urgency.max(self.priorities.urgency(recorded));
        }
        self.gathered.events.extend(batch.events);
        self.gathered.reached = batch.reached;
        if is_all { Ok(Some(0)) } else { self.behind().await.map(Some) }
    }

    async fn behind(&self) -> Result<u64, CatchUpError> {
        Ok(self.worker.feed.head().await?.saturating_sub(self.gathered.reached.position))
    }

    /// There is nothing to fold. An event that cannot be read is recorded as the one that is waited at.
    async fn idle(&mut self, stop: &CancellationToken) -> Result<Step, CatchUpError> {
        if self.gathered.reached.paused != self.checkpoint.paused {
            return self.save(vec![], 0).await;
        }
        if self.checkpoint.paused.is_some() {
            stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
        } else {
            self.wait(RENEW, stop).await;
        }
        Ok(Step::On)
    }

    /// Waits for more events, so long at the most, and no longer than until the lease is due.
    async fn wait(&self, time: Duration, stop: &CancellationToken) {
        let time = time.min(RENEW.saturating_sub(self.renewed.elapsed()));
        let more = self.worker.feed.more(self.gathered.reached.position);
        let _ = stop.run_until_cancelled(tokio::time::timeout(time, more)).await;
    }

    /// Folds and writes what was gathered.
    async fn commit(&mut self, route: Route) -> Result<Step, CatchUpError> {
        let (worker, events) = (self.worker, &self.gathered.events);
        let Some(views) = fold(&self.projection, worker.store, events, &[], &mut self.length).await? else {
            // Too much for one transaction: read again, and less.
            self.gathered = Gathered::after(&self.checkpoint);
            return Ok(Step::On);
        };
        let count = events.len() as u64;
        let step = self.save(views, count).await?;
        if self.gathered.events.is_empty() && step == Step::On {
            worker.done.routes[route as usize].fetch_add(1, Ordering::Relaxed);
        }
        Ok(step)
    }

    async fn save(&mut self, views: Vec<(P::Key, P::View)>, folded: u64) -> Result<Step, CatchUpError> {
        let began = Instant::now();
        let saved = self.worker.store.save(&self.checkpoint, views, &self.gathered.reached).await?;
        self.last_commit = began.elapsed();
        self.committed = Instant::now();
        match saved {
            Saved::Yes => {
                self.worker.done.folded.fetch_add(folded, Ordering::Relaxed);
                self.checkpoint = self.gathered.reached.clone();
            }
            Saved::Overtaken => {
                let now = self.worker.store.checkpoint().await?;
                if now.epoch != self.checkpoint.epoch {
                    return Ok(Step::Over);
                }
                // A reader brought the views up to date by itself.
                self.checkpoint = now;
                self.projection = self.checkpoint.settle(self.worker.projection);
            }
        }
        self.gathered = Gathered::after(&self.checkpoint);
        Ok(Step::On)
    }
}
