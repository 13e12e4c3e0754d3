//! Why a service is not ready, in words.

use std::time::Duration;

use testledger_schemas::event::ServiceEnd;

use super::ServiceReport;
use crate::ports::clock::ms;
use crate::steps::launcher::Exit;

/// A service that could not be started, or did not become ready. Nothing is left of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .report.message)]
pub struct ServiceFailure {
    /// How it ended.
    pub report: Box<ServiceReport>,
    /// Whether it was given up because the suite is to be stopped: no fault of its own.
    pub cancelled: bool,
}

impl ServiceFailure {
    /// A service that was never started; the reason is redacted.
    pub(super) fn not_started(id: &str, reason: &str) -> Self {
        let report = ServiceReport {
            id: id.to_owned(),
            end: ServiceEnd::NotStarted,
            exit_code: None,
            signal: None,
            outputs: vec![],
            excerpts: vec![],
            message: format!("service {id} was not started: {reason}"),
        };
        Self { report: Box::new(report), cancelled: false }
    }
}

/// Why the waiting for readiness ended without it.
pub enum NotReady {
    Cancelled,
    Exited,
    TimedOut { patience: Duration, last: String },
}

impl NotReady {
    pub fn end(&self) -> ServiceEnd {
        match self {
            Self::Cancelled => ServiceEnd::Stopped,
            Self::Exited => ServiceEnd::Exited,
            Self::TimedOut { .. } => ServiceEnd::NotReady,
        }
    }

    pub fn is_cancel(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    pub fn message(&self, id: &str, exit: Option<&Exit>) -> String {
        match self {
            Self::Cancelled => format!("service {id} was stopped before it was ready"),
            Self::Exited => format!("service {id} ended before it was ready: {}", describe(exit)),
            Self::TimedOut { patience, last } => {
                format!("service {id} was not ready within {} ms: {last}", ms(*patience))
            }
        }
    }
}

/// How a process ended.
pub fn describe(exit: Option<&Exit>) -> String {
    match exit.map(|exit| (exit.code, exit.signal)) {
        Some((Some(code), _)) => format!("exit code {code}"),
        Some((None, Some(signal))) => format!("signal {signal}"),
        Some((None, None)) | None => "nobody knows how (the spawner is gone)".to_owned(),
    }
}
