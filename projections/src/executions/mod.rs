//! The projection `executions`: what one execution looks like now, for lists, for open work and for its suite.

mod fold;
mod view;

use testledger_schemas::ExecutionId;

use crate::projection::{Projection, Recorded};

pub use view::{Anomaly, Children, ExecutionView, Failure, MAX_ANOMALIES, MAX_MESSAGE_CHARS, StepProgress};

/// The fold of executions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executions;

/// A case tells its suite that its status changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChildChanged {
    /// What it was, and whether that was final; none if it was not there.
    pub from: Option<(testledger_schemas::ExecutionStatus, bool)>,
    /// What it is, and whether that is final.
    pub to: (testledger_schemas::ExecutionStatus, bool),
}

impl Projection for Executions {
    const NAME: &'static str = "executions";
    /// 2: lists ask for more than the stores kept beside the views of 1.
    const VERSION: u32 = 2;

    type Key = ExecutionId;
    type View = ExecutionView;
    type Echo = ChildChanged;

    fn keys(&self, recorded: &Recorded) -> Vec<ExecutionId> {
        recorded.stream.execution().into_iter().collect()
    }

    fn initial(&self, key: &ExecutionId) -> ExecutionView {
        ExecutionView::initial(*key)
    }

    fn apply(
        &self,
        _key: &ExecutionId,
        view: &mut ExecutionView,
        recorded: &Recorded,
    ) -> Vec<(ExecutionId, ChildChanged)> {
        let from = view.requested_at.map(|_| (view.status, view.is_final));
        fold::apply(view, recorded);
        let to = (view.status, view.is_final);
        match view.parent_id {
            Some(parent) if from != Some(to) => vec![(parent, ChildChanged { from, to })],
            Some(_) | None => vec![],
        }
    }

    fn hear(&self, view: &mut ExecutionView, echo: &ChildChanged, position: u64) -> Vec<(ExecutionId, ChildChanged)> {
        view.children.change(echo.from, echo.to);
        view.last_position = position;
        vec![]
    }
}
