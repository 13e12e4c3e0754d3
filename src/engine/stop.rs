//! The wish that an execution stops, with its reason; the first reason stands.

use std::sync::{Arc, OnceLock};

use testledger_schemas::command::Command;
use testledger_schemas::event::CancelReason;
use tokio_util::sync::CancellationToken;

/// A wish to stop that can be passed around. A child's stop fires when its parent's does.
#[derive(Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    reason: Arc<OnceLock<CancelReason>>,
    parent: Option<Arc<Stop>>,
    /// Whether it fires for the parent's very reason.
    is_same: bool,
}

impl Stop {
    /// A stop of its own that also fires, as cancelled by the parent, when this one does.
    #[must_use]
    pub fn child(&self) -> Self {
        let parent = Some(Arc::new(self.clone()));
        Self { token: self.token.child_token(), reason: Arc::default(), parent, is_same: false }
    }

    /// A stop of its own that also fires, for the same reason, when this one does.
    #[must_use]
    pub fn narrower(&self) -> Self {
        Self { is_same: true, ..self.child() }
    }

    /// Fires. The first reason stands.
    pub fn fire(&self, reason: CancelReason) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Why it fired; none if it has not.
    #[must_use]
    pub fn reason(&self) -> Option<CancelReason> {
        if !self.token.is_cancelled() {
            return None;
        }
        let of_parent = || self.parent.as_ref().and_then(|parent| parent.reason());
        let translate = |reason| if self.is_same { reason } else { inherited(reason) };
        self.reason.get().copied().or_else(|| of_parent().map(translate))
    }

    /// Why it fired, if that is to stand in the log before anything is done about it. A deadline is no wish of anybody,
    /// and a store that is away cannot be told.
    #[must_use]
    pub fn wish(&self) -> Option<Command> {
        match self.reason()? {
            CancelReason::Deadline | CancelReason::StoreUnavailable => None,
            reason @ (CancelReason::User
            | CancelReason::Signal
            | CancelReason::ParentCancelled
            | CancelReason::FailFast
            | CancelReason::DependencyFailed
            | CancelReason::SetupFailed) => Some(Command::RequestCancellation(reason)),
        }
    }

    /// Whether this engine gives up rather than the execution: nothing more is to be said of it, and a recovery goes on.
    #[must_use]
    pub fn leaves(&self) -> bool {
        self.reason() == Some(CancelReason::StoreUnavailable)
    }

    /// What fires with it.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}

/// What a parent's reason is for its children: a user who stops the suite has not asked for this case.
fn inherited(reason: CancelReason) -> CancelReason {
    match reason {
        CancelReason::User | CancelReason::Signal | CancelReason::ParentCancelled => CancelReason::ParentCancelled,
        CancelReason::FailFast
        | CancelReason::DependencyFailed
        | CancelReason::SetupFailed
        | CancelReason::Deadline
        | CancelReason::StoreUnavailable => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stops_with_its_parent_and_the_first_reason_stands() {
        let parent = Stop::default();
        let (one, two) = (parent.child(), parent.child());
        one.fire(CancelReason::FailFast);
        assert_eq!((one.reason(), two.reason(), parent.reason()), (Some(CancelReason::FailFast), None, None));
        parent.fire(CancelReason::Signal);
        parent.fire(CancelReason::User);
        assert_eq!(parent.reason(), Some(CancelReason::Signal));
        assert_eq!((one.reason(), two.reason()), (Some(CancelReason::FailFast), Some(CancelReason::ParentCancelled)));
    }
}
