//! What may be asked of an execution. The decider answers with events, or refuses.

use crate::event::{
    ArtifactAttached, CancelReason, ExecutionRequested, InterruptReason, ReleaseReason, ServiceStarted, ServiceStopped,
    StartContent, StatusTally, StepFinished, StepResultsReported, StepStarted,
};
use crate::ids::WorkerId;

/// The claim under which a worker speaks. The decider refuses all but the current one, so a zombie's late results
/// never enter the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authority {
    /// The worker.
    pub worker: WorkerId,
    /// The epoch of its claim.
    pub epoch: u64,
}

/// How an attempt is over, as its worker sees it. The decider makes the verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conclusion {
    /// Every step that will run has run: the steps' outcomes decide.
    Finished,
    /// The attempt's running time is used up.
    TimedOut,
    /// It was stopped, as was requested.
    Cancelled,
    /// A service did not become ready.
    SetupFailed,
}

/// One request to one execution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Let there be this execution.
    Request(Box<ExecutionRequested>),
    /// It may be claimed; of a case, under this claim of its suite.
    MakeReady(Option<u64>),
    /// I take it.
    Claim(WorkerId),
    /// I give it back.
    ReleaseClaim(ReleaseReason),
    /// An attempt begins.
    Start(StartContent),
    /// A step is about to begin.
    StartStep(Box<StepStarted>),
    /// A step's run is over. `will_retry` says whether the worker would try it again; the decider has the last word.
    FinishStep(Box<StepFinished>),
    /// A tool reported results.
    ReportResults(Box<StepResultsReported>),
    /// A service is ready.
    RecordServiceStarted(ServiceStarted),
    /// A service ended.
    RecordServiceStopped(Box<ServiceStopped>),
    /// A file was kept.
    AttachArtifact(ArtifactAttached),
    /// It shall stop.
    RequestCancellation(CancelReason),
    /// The attempt is over: give the verdict. The running time is that of the attempt, on the monotonic clock.
    Conclude {
        /// How.
        conclusion: Conclusion,
        /// The running time of the attempt.
        duration_ms: u64,
        /// Of a suite: how many of its cases ended in each status. Of a case: empty.
        cases: StatusTally,
    },
    /// It was never started and shall not be.
    CancelUnstarted(CancelReason),
    /// Its worker is lost (said by somebody else). The epoch is that of the claim which is lost: a later one stands.
    Interrupt {
        /// Why.
        reason: InterruptReason,
        /// The claim.
        epoch: u64,
    },
    /// I go on where the lost worker stopped; or, where nobody can, with another attempt.
    Recover {
        /// Whether another attempt is to begin.
        restart: bool,
        /// The running time of the attempt until it was interrupted.
        spent_ms: u64,
    },
}

impl Command {
    /// Whether only the holder of the current claim may say this.
    #[must_use]
    pub fn needs_claim(&self) -> bool {
        match self {
            Self::ReleaseClaim(_)
            | Self::Start(_)
            | Self::StartStep(_)
            | Self::FinishStep(_)
            | Self::ReportResults(_)
            | Self::RecordServiceStarted(_)
            | Self::RecordServiceStopped(_)
            | Self::AttachArtifact(_)
            | Self::Conclude { .. }
            | Self::Recover { .. } => true,
            Self::Request(_)
            | Self::MakeReady(_)
            | Self::Claim(_)
            | Self::RequestCancellation(_)
            | Self::CancelUnstarted(_)
            | Self::Interrupt { .. } => false,
        }
    }
}
