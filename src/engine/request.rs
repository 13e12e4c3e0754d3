//! Asking for an execution: the plan durable first, then the fact that it was asked for; of a suite, its children, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, StreamExt, TryStreamExt};
use testledger_schemas::command::Command;
use testledger_schemas::event::{ExecutionKind, ExecutionRequested, Limits, RequestContent, Revision};
use testledger_schemas::plan::{Case, Priority};
use testledger_schemas::{ExecutionId, Hash, Plan};

use crate::engine::Engine;
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::execution::Refusal;
use crate::ports::fault::{self, Point};

/// How many requests of children wait for their acknowledgement at once: they share commits to the disk.
const REQUESTS_AT_ONCE: usize = 512;

/// What is asked for besides the plan.
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    /// The same key means the same execution.
    pub idempotency_key: Option<String>,
    /// The tested revision.
    pub revision: Option<Revision>,
    /// The execution that this one repeats by hand.
    pub retry_of: Option<ExecutionId>,
}

/// What a request has led to.
pub struct Requested {
    /// The execution.
    pub execution: Execution,
    /// Whether it was there before.
    pub existed: bool,
}

/// The children this engine has asked for and not yet run: it need not read again what it has just written. If somebody
/// else has appended since, the first append conflicts, and is decided anew. At most as many as a plan may have cases.
#[derive(Default)]
pub(crate) struct Requests(Mutex<HashMap<ExecutionId, Execution>>);

impl Requests {
    fn keep(&self, child: Execution) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(child.id(), child);
    }

    fn take(&self, child: ExecutionId) -> Option<Execution> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&child)
    }

    /// Forgets what was not run after all.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Engine {
    /// Asks for the execution of a plan. When this returns, the request and those of all cases are durable.
    ///
    /// # Errors
    /// [`ExecutionError::Refused`] if the idempotency key was used for something else; or if the log cannot be written.
    pub async fn request(self: &Arc<Self>, plan: &Plan, options: &RequestOptions) -> Result<Requested, ExecutionError> {
        let plan_hash = self.journal.log.put_artifact(plan.to_bytes()).await?;
        fault::reached(Point::PlanKept, self.journal.worker).await;
        let body = body_of(plan);
        let id = match &options.idempotency_key {
            Some(key) => ExecutionId::for_key(key),
            None => self.journal.ids.execution_id(),
        };
        let mut root = Execution::unread(Arc::clone(&self.journal), id, id);
        let request = if plan.is_suite {
            suite_request(plan, plan_hash, body, options)
        } else {
            let case = plan.cases.first().ok_or_else(|| ExecutionError::Internal("a plan without cases".to_owned()))?;
            case_request(plan, case, (plan_hash, body), options, None, self.settings.max_interruptions)
        };
        let events = root.act(&[Command::Request(Box::new(request))]).await?;
        if plan.is_suite && !root.state().is_final() {
            fault::reached(Point::SuiteRequested, self.journal.worker).await;
            self.request_children(plan, (plan_hash, body), options, id).await?;
        }
        match root.act(&[Command::MakeReady(None)]).await {
            // Somebody may have cancelled it meanwhile.
            Ok(_) | Err(ExecutionError::Refused { refusal: Refusal::Final(_), .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(Requested { execution: root, existed: events.is_empty() })
    }

    /// Asks for the children, again and again until all are there: a child with the same request counts as asked for.
    pub(crate) async fn request_children(
        self: &Arc<Self>,
        plan: &Plan,
        hashes: (Hash, Hash),
        options: &RequestOptions,
        parent: ExecutionId,
    ) -> Result<(), ExecutionError> {
        let max_interruptions = self.settings.max_interruptions;
        let of_child = RequestOptions { idempotency_key: None, ..options.clone() };
        let requests: Vec<(Execution, ExecutionRequested)> = plan
            .cases
            .iter()
            .map(|case| {
                let request = case_request(plan, case, hashes, &of_child, Some(parent), max_interruptions);
                (self.child(parent, case), request)
            })
            .collect();
        let requests = requests.into_iter().map(|(mut child, request)| async move {
            child.act(&[Command::Request(Box::new(request))]).await?;
            self.requested.keep(child);
            Ok(())
        });
        stream::iter(requests).buffer_unordered(REQUESTS_AT_ONCE).try_collect().await
    }

    /// The child execution of a case: as this engine knows it since it asked for it, else unread.
    pub(crate) fn requested_child(&self, parent: ExecutionId, case: &Case) -> Execution {
        let known = self.requested.take(ExecutionId::child_of(parent, &case.id, &case.matrix));
        known.unwrap_or_else(|| self.child(parent, case))
    }

    /// The child execution of a case, unread.
    pub(crate) fn child(&self, parent: ExecutionId, case: &Case) -> Execution {
        let id = ExecutionId::child_of(parent, &case.id, &case.matrix);
        Execution::unread(Arc::clone(&self.journal), id, parent)
    }
}

/// The hash of what a request means: the plan, whatever path it was read from.
fn body_of(plan: &Plan) -> Hash {
    Plan { source: String::new(), ..plan.clone() }.hash()
}

fn suite_request(plan: &Plan, plan_hash: Hash, body: Hash, options: &RequestOptions) -> ExecutionRequested {
    ExecutionRequested {
        kind: ExecutionKind::Suite,
        plan: plan_hash,
        suite: plan.suite.clone(),
        case: None,
        matrix: String::new(),
        case_type: None,
        parent_id: None,
        tags: vec![],
        priority: plan.cases.iter().map(|case| case.priority).max().unwrap_or(Priority::Normal),
        steps: 0,
        cases: u32::try_from(plan.cases.len()).unwrap_or(u32::MAX),
        limits: Limits {
            max_attempts: 1,
            backoff_ms: 0,
            backoff_factor: 1,
            timeout_ms: plan.deadline_ms,
            max_interruptions: u32::MAX,
        },
        revision: options.revision.clone(),
        idempotency_key: options.idempotency_key.clone(),
        body,
        retry_of: options.retry_of,
        content: RequestContent { name: plan.name.clone(), source: plan.source.clone(), params: plan.params.clone() }
            .into(),
    }
}

fn case_request(
    plan: &Plan,
    case: &Case,
    (plan_hash, body): (Hash, Hash),
    options: &RequestOptions,
    parent_id: Option<ExecutionId>,
    max_interruptions: u32,
) -> ExecutionRequested {
    ExecutionRequested {
        kind: ExecutionKind::Case,
        plan: plan_hash,
        suite: plan.suite.clone(),
        case: Some(case.id.clone()),
        matrix: case.matrix.clone(),
        case_type: Some(case.case_type),
        parent_id,
        tags: case.tags.clone(),
        priority: case.priority,
        steps: u32::try_from(case.steps.len()).unwrap_or(u32::MAX),
        cases: 0,
        limits: case.limits(max_interruptions),
        revision: options.revision.clone(),
        idempotency_key: options.idempotency_key.clone(),
        body,
        retry_of: options.retry_of,
        content: RequestContent { name: case.name.clone(), source: plan.source.clone(), params: Default::default() }
            .into(),
    }
}
