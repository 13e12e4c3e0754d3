//! Recovery: finds executions that nobody brings to their end any more, and does. One code path for the command and for the
//! sweeper that every engine runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use testledger_schemas::event::{CancelReason, InterruptReason};
use testledger_schemas::plan::Case;
use testledger_schemas::{ExecutionId, ExecutionStatus, Hash, Plan, WorkerId};

use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::fate::Fates;
use crate::engine::follow::{self, Followed};
use crate::engine::journal::SharedJournal;
use crate::engine::past::Past;
use crate::engine::request::RequestOptions;
use crate::engine::stop::Stop;
use crate::engine::suite::READS_AT_ONCE;
use crate::engine::{Engine, MAX_TURNS};
use crate::event_store::StoreError;
use crate::steps::capture::teach;

/// Where open work is found: the stored views, and the tail of the log that they do not have yet.
#[async_trait]
pub trait OpenWork: Send + Sync + 'static {
    /// At first the root executions that are open, or have open cases; then those that something has happened to since
    /// the call before. It may name more than there are, never fewer.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn news(&self) -> Result<BTreeSet<ExecutionId>, StoreError>;
}

/// What has become of an open execution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plight {
    /// Its engine is lost.
    Abandoned {
        /// The engine; none where only persons have written.
        worker: Option<WorkerId>,
        /// Why it counts as lost.
        reason: InterruptReason,
    },
    /// Its engine lives, or may still live.
    InHands(WorkerId),
    /// It is a case of this suite execution, with which it is recovered.
    PartOf(ExecutionId),
    /// It is over by now.
    Over,
}

/// An open execution as it was found.
pub struct Found {
    /// The execution.
    pub execution: Execution,
    /// What has become of it.
    pub plight: Plight,
}

/// Why an abandoned execution cannot be recovered here and now.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// The plan's directory is not on this machine.
    #[error(
        "its directory `{0}` is not on this machine: recover it where that is, or give it up with `executions cancel` first"
    )]
    NoDirectory(String),
    /// A secret is not in this environment.
    #[error(
        "the secret `{0}` is not in this environment: set it, or give the execution up with `executions cancel` first"
    )]
    NoSecret(String),
}

/// Looks at an execution that is, or was, open: whether it is abandoned. The engine of the journal, if there is one, lives.
///
/// # Errors
/// [`ExecutionError`] if log or leases cannot be read.
pub async fn look_at(journal: &SharedJournal, fates: &Fates, root: ExecutionId) -> Result<Found, ExecutionError> {
    let execution = Execution::load(Arc::clone(journal), root, root).await?;
    let state = execution.state();
    // A suite that was cancelled before anybody had it: its cases may be open.
    let is_over = state.status.is_none() || (state.is_final() && state.status != Some(ExecutionStatus::Cancelled));
    let parent = state.request.as_ref().and_then(|request| request.parent_id);
    let plight = match execution.owner() {
        _ if parent.is_some() => Plight::PartOf(parent.unwrap_or(root)),
        _ if is_over => Plight::Over,
        Some(worker) if Some(worker) == journal.worker => Plight::InHands(worker),
        Some(worker) => match fates.of(&*journal.log, worker).await? {
            Some(reason) => Plight::Abandoned { worker: Some(worker), reason },
            None => Plight::InHands(worker),
        },
        None => Plight::Abandoned { worker: None, reason: InterruptReason::WorkerDied },
    };
    Ok(Found { execution, plight })
}

/// The plan of an execution, as it was asked for.
///
/// # Errors
/// [`ExecutionError::PlanMissing`] if it was erased, or cannot be read.
pub async fn plan_of(journal: &SharedJournal, execution: &Execution) -> Result<Arc<Plan>, ExecutionError> {
    let hash = execution.state().request.as_ref().map_or(Hash::ZERO, |request| request.plan);
    let missing = || ExecutionError::PlanMissing(hash);
    let bytes = journal.log.get_artifact(hash).await?.ok_or_else(missing)?;
    serde_json::from_slice(&bytes).map(Arc::new).map_err(|_| missing())
}

/// Whether a suite has cases that are open.
///
/// # Errors
/// [`ExecutionError`] if its plan or one of its cases cannot be read.
pub async fn has_open_cases(journal: &SharedJournal, suite: &Execution) -> Result<bool, ExecutionError> {
    for case in &plan_of(journal, suite).await?.cases {
        let id = ExecutionId::child_of(suite.id(), &case.id, &case.matrix);
        let case = Execution::load(Arc::clone(journal), id, suite.id()).await?;
        if case.state().status.is_some() && !case.state().is_final() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Engine {
    /// As [`look_at`], with what this engine knows of others.
    ///
    /// # Errors
    /// [`ExecutionError`] if log or leases cannot be read.
    pub async fn look_at(&self, root: ExecutionId) -> Result<Found, ExecutionError> {
        let mut found = look_at(&self.journal, &self.fates, root).await?;
        let own = self.worker();
        let was_taken = found.execution.state().last_epoch > 0;
        if found.plight == Plight::InHands(own) && was_taken && !self.has(root) {
            // It has dropped it: the store was away for too long, say.
            found.plight = Plight::Abandoned { worker: Some(own), reason: InterruptReason::WorkerDied };
        }
        Ok(found)
    }

    /// Whether another engine is lost.
    ///
    /// # Errors
    /// [`ExecutionError`] if log or leases cannot be read.
    pub async fn is_lost(&self, worker: WorkerId) -> Result<bool, ExecutionError> {
        Ok(self.fates.of(&*self.journal.log, worker).await?.is_some())
    }

    /// Whether this engine has an execution in its own hands.
    #[must_use]
    pub fn has(&self, root: ExecutionId) -> bool {
        self.watched.has(root)
    }

    /// The plan of an execution, as it was asked for.
    ///
    /// # Errors
    /// [`ExecutionError::PlanMissing`] if it was erased, or cannot be read.
    pub async fn plan_of(&self, execution: &Execution) -> Result<Arc<Plan>, ExecutionError> {
        plan_of(&self.journal, execution).await
    }

    /// Learns what was captured as secret by whoever had an execution before, in any case and attempt: a step that is run now
    /// may print it.
    pub(super) async fn learn_captures(&self, execution: &Execution, plan: &Plan) -> Result<(), ExecutionError> {
        let is_secret = |case: &Case| case.steps.iter().flat_map(|step| step.capture.values()).any(|it| it.secret);
        let is_first = execution.state().last_epoch == 0;
        if is_first || (plan.secrets.is_empty() && !plan.cases.iter().any(is_secret)) {
            return Ok(());
        }
        let cases = plan.cases.iter().map(|case| self.child(execution.id(), case).id());
        let ids: Vec<ExecutionId> = if plan.is_suite { cases.collect() } else { vec![execution.id()] };
        let log = &*self.journal.log;
        let pasts = ids.into_iter().map(|id| async move { Past::read(log, id).await.map(|past| (id, past)) });
        let pasts: Vec<(ExecutionId, Past)> = stream::iter(pasts).buffered(READS_AT_ONCE).try_collect().await?;
        let sealed = pasts.iter().flat_map(|(id, past)| past.ever_sealed.iter().map(move |(name, it)| (id, name, it)));
        let opened: Vec<Value> = sealed.filter_map(|(id, name, it)| self.vault.open(*id, name, it)).collect();
        teach(&self.redactor, &opened);
        Ok(())
    }

    /// What keeps an abandoned execution from being recovered by this engine, if something does. What only has to end needs
    /// nothing.
    #[must_use]
    pub fn obstacle(&self, execution: &Execution, plan: &Plan) -> Option<Obstacle> {
        if execution.state().cancellation.is_some() {
            return None;
        }
        if !Path::new(&plan.directory).is_dir() {
            return Some(Obstacle::NoDirectory(plan.directory.clone()));
        }
        let missing = plan.secrets.iter().find(|name| !self.environment.contains_key(*name));
        missing.map(|name| Obstacle::NoSecret(name.clone()))
    }

    /// Brings an abandoned execution to its end: ends the lost claims, completes what was not yet asked for, goes on from the
    /// first step that is not finished. Where another engine is quicker, it is left to that one.
    ///
    /// # Errors
    /// [`ExecutionError`]; what was acknowledged until then stays, and can be recovered again.
    pub async fn recover(
        self: &Arc<Self>,
        execution: &mut Execution,
        plan: &Arc<Plan>,
        stop: &Stop,
    ) -> Result<(), ExecutionError> {
        let stop = &stop.narrower();
        let _watch = self.watched.watch(execution.id(), stop.clone());
        let is_asked_for = execution.state().ready || execution.state().is_final();
        if !is_asked_for {
            self.complete_request(execution, plan).await?;
        }
        for _ in 0..MAX_TURNS {
            match self.lost_claim_ended(execution).await? {
                Followed::GivenUp => return Ok(()),
                Followed::Over | Followed::Free => self.carry_out(execution, plan, stop).await?,
            }
            if execution.state().is_final() || stop.leaves() {
                return Ok(());
            }
            // Somebody had it, or wanted it to stop, in that very moment.
            execution.refresh().await?;
        }
        Err(ExecutionError::Internal(format!("execution {} changed hands {MAX_TURNS} times", execution.id())))
    }

    /// Ends the claim of whoever is lost; another engine that lives keeps its own.
    async fn lost_claim_ended(self: &Arc<Self>, execution: &mut Execution) -> Result<Followed, ExecutionError> {
        // A stop that has fired: nobody waits here.
        let now = Stop::default();
        now.fire(CancelReason::Signal);
        follow::until_released(self, execution, &now).await
    }

    /// The cases that were not yet asked for when the worker was lost.
    async fn complete_request(self: &Arc<Self>, execution: &mut Execution, plan: &Plan) -> Result<(), ExecutionError> {
        let Some(request) = execution.state().request.clone() else { return Ok(()) };
        if plan.is_suite {
            let options = RequestOptions {
                idempotency_key: None,
                revision: request.revision.clone(),
                retry_of: request.retry_of,
            };
            self.request_children(plan, (request.plan, request.body), &options, execution.id()).await?;
        }
        Ok(())
    }
}
