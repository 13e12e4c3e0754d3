//! Sends an HTTP request and holds the response against what was expected.
//!
//! The running time counts from the request's begin until the whole body is there. A body is read to its end however
//! long it is, as a command's output is: what is beyond the cap is counted and hashed, never kept in memory, and the
//! step's timeout bounds an endless one. Of a body that was cut nothing is expected or captured: see `judge`. Only a
//! body from which a secret is captured is in memory twice for a moment (each up to the cap): it is recorded after the
//! secret is known, and is not seen live.

mod body;
mod client;
mod exchange;
mod failure;
mod judge;
mod request;

use std::time::Duration;

use testledger_schemas::StepOutcome;
use testledger_schemas::event::ErrorKind;
use tokio::time::Instant;

pub use client::{HttpClient, MAX_REDIRECTS, install_tls};
pub(crate) use failure::{place, reasons};
pub(crate) use request::url as asked_url;

use crate::ports::clock::ms;
use crate::steps::{PreparedHttp, StepContext, StepEnd, StepError};
use exchange::{Exchange, Failure};

/// How the exchange came to its end.
enum Ended {
    Answered,
    Failed(Failure),
    TimedOut,
    Cancelled,
}

/// Sends a request and reads the response. Whatever goes wrong is in the [`StepEnd`], and all texts of it are
/// redacted; so are the values of secret captures, where the body is recorded.
pub async fn send(http: &PreparedHttp, context: &StepContext) -> StepEnd {
    let began = Instant::now();
    let mut exchange = Exchange::new(http, context);
    let ended = tokio::select! {
        biased;
        () = context.cancel.cancelled() => Ended::Cancelled,
        () = elapsed(context.timeout) => Ended::TimedOut,
        end = exchange.run() => end.map_or_else(Ended::Failed, |()| Ended::Answered),
    };
    let duration_ms = ms(began.elapsed());
    match ended {
        Ended::Answered => judge::judge(exchange, duration_ms).await,
        Ended::Failed(failure) => broken_off(exchange, StepOutcome::Error, failure, duration_ms).await,
        Ended::TimedOut => {
            let message = format!("timed out after {duration_ms} ms, {}", exchange.progress());
            broken_off(exchange, StepOutcome::Timeout, Failure { kind: ErrorKind::Timeout, message }, duration_ms).await
        }
        Ended::Cancelled => cancelled(exchange, duration_ms).await,
    }
}

/// Never, where there is no bound.
async fn elapsed(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// The end without a whole response; what there is of it is recorded.
async fn broken_off(exchange: Exchange<'_>, outcome: StepOutcome, failure: Failure, duration_ms: u64) -> StepEnd {
    let message = exchange.redactor().text(&failure.message);
    let error = Some(StepError { kind: failure.kind, message });
    StepEnd { outcome, error, ..unfinished(exchange, duration_ms).await }
}

async fn cancelled(exchange: Exchange<'_>, duration_ms: u64) -> StepEnd {
    StepEnd { outcome: StepOutcome::Cancelled, ..unfinished(exchange, duration_ms).await }
}

async fn unfinished(exchange: Exchange<'_>, duration_ms: u64) -> StepEnd {
    let http_status = exchange.status();
    let recorded = exchange.record_partial().await;
    let end = StepEnd { http_status, ..StepEnd::passed(duration_ms) };
    match recorded {
        Some(recorded) => StepEnd { outputs: vec![recorded.facts], excerpts: vec![recorded.excerpt], ..end },
        None => end,
    }
}

#[cfg(test)]
mod tests;
