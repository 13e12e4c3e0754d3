//! The sweeper of an engine: looks for abandoned executions from time to time, and brings them to their end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use testledger_schemas::{ExecutionId, Plan, WorkerId};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::recovery::{Found, OpenWork, Plight};
use crate::engine::stop::Stop;
use crate::event_store::StoreError;
use crate::ports::fault::{self, Point};

/// How many open executions are looked at at once.
const LOOKS_AT_ONCE: usize = 64;

/// What a sweep tells.
#[derive(Debug)]
pub enum News {
    /// It goes on with this one.
    Recovering(ExecutionId, Arc<Plan>),
    /// It was brought to its end; or another engine has it now.
    Recovered(ExecutionId),
    /// It cannot be recovered here and now.
    Left(ExecutionId, String),
}

/// Who hears of it.
pub type Listener = Arc<dyn Fn(News) + Send + Sync>;

/// A sweeper at work.
pub struct Sweeper {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Sweeper {
    /// Starts sweeping: at once, and then every so often.
    #[must_use]
    pub fn start(engine: Arc<Engine>, work: Arc<dyn OpenWork>, every: Duration, tell: Listener) -> Self {
        let stop = CancellationToken::new();
        let (stopped, lost) = (stop.clone(), engine.journal.lost.clone());
        let task = tokio::spawn(async move {
            let mut sweep = Sweep::new(engine, work, tell);
            loop {
                sweep.once().await;
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => break,
                    // Who has lost its lease recovers nobody, not even itself.
                    () = lost.cancelled() => break,
                    () = tokio::time::sleep(every) => {}
                }
            }
            while sweep.tasks.join_next().await.is_some() {}
        });
        Self { stop, task }
    }

    /// Looks no more, and waits until what was begun is done.
    pub async fn end(self) {
        self.stop.cancel();
        drop(self.task.await);
    }

    /// Looks no more, and leaves what was begun: it can be recovered again.
    pub fn leave(self) {
        self.task.abort();
    }
}

struct Sweep {
    engine: Arc<Engine>,
    work: Arc<dyn OpenWork>,
    tell: Listener,
    /// What may be open, with whose business it is; none where that is to be looked up.
    open: BTreeMap<ExecutionId, Option<WorkerId>>,
    /// What cannot be recovered here, and was told: until something happens to it.
    left: BTreeSet<ExecutionId>,
    /// What was tried and failed: it would the next time.
    hopeless: BTreeSet<ExecutionId>,
    /// What is being recovered; each ends with what is to be left, if it cannot be helped.
    tasks: JoinSet<Option<ExecutionId>>,
}

impl Sweep {
    fn new(engine: Arc<Engine>, work: Arc<dyn OpenWork>, tell: Listener) -> Self {
        Self {
            engine,
            work,
            tell,
            open: BTreeMap::new(),
            left: BTreeSet::new(),
            hopeless: BTreeSet::new(),
            tasks: JoinSet::new(),
        }
    }

    async fn once(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            self.hopeless.extend(ended.ok().flatten());
        }
        fault::reached(Point::Sweep, self.engine.journal.worker).await;
        if let Err(error) = self.look().await {
            tracing::warn!(%error, "the look for abandoned executions failed; it is repeated");
        }
    }

    async fn look(&mut self) -> Result<(), ExecutionError> {
        for root in self.work.news().await? {
            self.left.remove(&root);
            self.open.insert(root, None);
        }
        let doubtful = self.doubtful().await?;
        let mut failed = Ok(());
        for chunk in doubtful.chunks(LOOKS_AT_ONCE) {
            let looks = chunk.iter().map(|root| self.engine.look_at(*root));
            for (root, found) in chunk.iter().zip(futures::future::join_all(looks).await) {
                let dealt_with = match found {
                    Ok(found) => self.deal_with(found).await,
                    Err(error) => Err(error),
                };
                match dealt_with {
                    Ok(()) => {}
                    Err(error @ ExecutionError::Store(StoreError::Unavailable(_))) => failed = Err(error),
                    // What cannot be read keeps nobody else from being recovered.
                    Err(error) => self.leave(*root, error.to_string()),
                }
            }
        }
        failed
    }

    async fn deal_with(&mut self, found: Found) -> Result<(), ExecutionError> {
        let id = found.execution.id();
        match found.plight {
            Plight::Over => drop(self.open.remove(&id)),
            // Looked at with the next sweep.
            Plight::PartOf(suite) => {
                self.open.remove(&id);
                self.open.entry(suite).or_insert(None);
            }
            Plight::InHands(worker) => drop(self.open.insert(id, Some(worker))),
            Plight::Abandoned { .. } => {
                self.take(found).await?;
                // Its own business from now on: looked at again if it drops it, because the store was away, say.
                self.open.insert(id, Some(self.engine.worker()));
            }
        }
        Ok(())
    }

    /// What is to be looked at: what something has happened to, and what is in the hands of a lost engine.
    async fn doubtful(&self) -> Result<Vec<ExecutionId>, ExecutionError> {
        let owners: BTreeSet<WorkerId> = self.open.values().flatten().copied().collect();
        let mut lost = BTreeSet::new();
        for owner in owners {
            // What is this engine's own and not in its hands was dropped.
            if owner == self.engine.worker() || self.engine.is_lost(owner).await? {
                lost.insert(owner);
            }
        }
        let is_doubtful = |owner: &Option<WorkerId>| owner.is_none_or(|owner| lost.contains(&owner));
        let is_given_up = |root: &ExecutionId| self.left.contains(root) || self.hopeless.contains(root);
        let doubtful = self
            .open
            .iter()
            .filter(|(root, owner)| is_doubtful(owner) && !self.engine.has(**root) && !is_given_up(root));
        Ok(doubtful.map(|(root, _)| *root).collect())
    }

    async fn take(&mut self, found: Found) -> Result<(), ExecutionError> {
        let Plight::Abandoned { .. } = found.plight else { return Ok(()) };
        let id = found.execution.id();
        let plan = self.engine.plan_of(&found.execution).await?;
        if let Some(obstacle) = self.engine.obstacle(&found.execution, &plan) {
            self.leave(id, obstacle.to_string());
            return Ok(());
        }
        if !found.execution.state().is_final() {
            (self.tell)(News::Recovering(id, Arc::clone(&plan)));
        }
        self.tasks.spawn(recover(Arc::clone(&self.engine), found.execution, plan, Arc::clone(&self.tell)));
        Ok(())
    }

    fn leave(&mut self, id: ExecutionId, why: String) {
        self.left.insert(id);
        (self.tell)(News::Left(id, why));
    }
}

async fn recover(
    engine: Arc<Engine>,
    mut execution: Execution,
    plan: Arc<Plan>,
    tell: Listener,
) -> Option<ExecutionId> {
    let id = execution.id();
    let was_over = execution.state().is_final();
    match engine.recover(&mut execution, &plan, &Stop::default()).await {
        Ok(()) if was_over => None,
        Ok(()) => {
            tell(News::Recovered(id));
            None
        }
        Err(error) => {
            tell(News::Left(id, error.to_string()));
            // A store comes back; anything else would be the same the next time.
            (!matches!(error, ExecutionError::Store(_))).then_some(id)
        }
    }
}
