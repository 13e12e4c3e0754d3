//! The course of a running command: its own end, or being stopped; then the end of everything it left behind.

use std::time::Duration;

use testledger_schemas::event::ResourceUsage;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::streams::Streams;
use crate::ports::clock::ms;
use crate::steps::StepContext;
use crate::steps::launcher::{Exit, LaunchError, ProcessControl, TreeSignal};

/// How long SIGKILL may take to empty a tree. What outlasts this hangs in the kernel: its keeper goes on trying, the
/// step does not wait for it.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// Why a command was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Somebody wanted it.
    Cancelled,
    /// Its time was over.
    Timeout,
}

/// What may stop a command.
pub struct Stops<'a> {
    /// Somebody wants it.
    pub cancel: &'a CancellationToken,
    /// Its time is over; none: it has no bound.
    pub deadline: Option<Instant>,
}

impl Stops<'_> {
    /// Waits until the command is to be stopped.
    pub async fn wait(&self) -> Stop {
        let deadline = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Stop::Cancelled,
            () = deadline => Stop::Timeout,
        }
    }
}

/// How it went.
pub struct Course {
    /// The command's own end.
    pub exit: Result<Exit, LaunchError>,
    /// Why it was stopped, if it was.
    pub stopped: Option<Stop>,
    /// From the begin of the start to the command's own end.
    pub duration_ms: u64,
    /// A descendant had to be ended, or its output given up.
    pub leaked: bool,
    /// What was sent to its tree, in order.
    pub signals_sent: Vec<String>,
}

/// Follows a command until nothing is left of its tree, or nothing more can be done.
pub async fn follow(
    control: &mut dyn ProcessControl,
    streams: &mut Streams,
    context: &StepContext,
    stops: &Stops<'_>,
    began: Instant,
) -> Course {
    let mut signals_sent = vec![];
    let stopped = tokio::select! {
        biased;
        _ = control.exited() => None,
        stop = stops.wait() => Some(stop),
    };
    if stopped.is_some() {
        stop_tree(control, context.grace, &mut signals_sent).await;
    }
    let exit = exit_of(control, stopped).await;
    let duration_ms = ms(began.elapsed());
    let settled = stopped.is_none() && exit.is_ok() && settles(control, streams, context).await;
    if stopped.is_none() && exit.is_ok() && !settled {
        end_leak(control, context.grace, &mut signals_sent).await;
    }
    let open = !settled && !streams.end_within(context.leak_timeout).await;
    let leaked = exit.is_ok() && (open || (stopped.is_none() && !settled));
    Course { exit, stopped, duration_ms, leaked, signals_sent }
}

/// The command's own end. After a stop it has ended, unless it hangs in the kernel.
async fn exit_of(control: &mut dyn ProcessControl, stopped: Option<Stop>) -> Result<Exit, LaunchError> {
    if stopped.is_none() {
        return control.exited().await;
    }
    let usage = ResourceUsage { user_ms: 0, system_ms: 0, peak_memory_bytes: 0 };
    let hanging = Ok(Exit { code: None, signal: None, usage, ago: Duration::ZERO });
    timeout(KILL_PATIENCE, control.exited()).await.unwrap_or(hanging)
}

/// Waits until all descendants have ended and both streams are closed. False if they are not in time.
async fn settles(control: &mut dyn ProcessControl, streams: &mut Streams, context: &StepContext) -> bool {
    let both = async {
        let gone = control.tree_gone().await;
        streams.ended().await;
        gone.is_ok()
    };
    tokio::select! {
        biased;
        settled = timeout(context.leak_timeout, both) => settled.unwrap_or(false),
        () = context.cancel.cancelled() => false,
    }
}

/// Stops what a command left behind; if nothing is left and only its output is open, there is nobody to signal.
async fn end_leak(control: &mut dyn ProcessControl, grace: Duration, signals_sent: &mut Vec<String>) {
    if timeout(Duration::ZERO, control.tree_gone()).await.is_err() {
        stop_tree(control, grace, signals_sent).await;
    }
}

/// SIGTERM to the whole tree, the grace, SIGKILL until nothing is left.
async fn stop_tree(control: &mut dyn ProcessControl, grace: Duration, signals_sent: &mut Vec<String>) {
    control.signal(TreeSignal::Term);
    signals_sent.push("TERM".to_owned());
    if timeout(grace, control.tree_gone()).await.is_ok() {
        return;
    }
    control.signal(TreeSignal::Kill);
    signals_sent.push("KILL".to_owned());
    // Whether it came to its end or not: there is nothing stronger.
    let _ = timeout(KILL_PATIENCE, control.tree_gone()).await;
}
