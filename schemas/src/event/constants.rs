//! The constants of the vocabulary: kinds and reasons, written in SCREAMING_SNAKE_CASE.

use super::declare::constants;

constants! {
    /// What an execution is a run of.
    pub enum ExecutionKind {
        /// One case with its steps.
        Case,
        /// A suite: the parent of its cases' executions.
        Suite,
    }

    /// Why an execution was cancelled, or is to be.
    pub enum CancelReason {
        /// A person or a program asked for it.
        User,
        /// The process that ran it got an interrupt or termination signal.
        Signal,
        /// Another case failed and the suite stops at the first failure.
        FailFast,
        /// A case it needs did not pass.
        DependencyFailed,
        /// A service it needs did not become ready.
        SetupFailed,
        /// The suite's wall-clock deadline passed.
        Deadline,
        /// The suite it belongs to was cancelled.
        ParentCancelled,
        /// The log could not be written for longer than the store's patience.
        StoreUnavailable,
    }

    /// Why an execution failed.
    pub enum FailureReason {
        /// One of its steps did not do what it should.
        Step,
        /// One of its cases did not pass.
        Case,
        /// A service did not become ready.
        Setup,
        /// Its workers were lost too often.
        Infrastructure,
    }

    /// Why a claim was given back.
    pub enum ReleaseReason {
        /// It waits for a person.
        Parked,
        /// It waits for its next attempt.
        Backoff,
        /// Its engine is shutting down.
        Drain,
        /// Its worker was lost before the attempt began.
        WorkerLost,
    }

    /// Why an execution was interrupted.
    pub enum InterruptReason {
        /// Its worker is proven dead.
        WorkerDied,
        /// Its worker's lease ran out.
        LeaseExpired,
    }

    /// What kind of thing went wrong with a step.
    pub enum ErrorKind {
        /// The command ended with an exit code that was not expected.
        ExitCode,
        /// The command was ended by a signal.
        Signal,
        /// The command could not be started.
        Spawn,
        /// An expectation on a response or an output did not hold.
        Expectation,
        /// A test case of a report failed.
        Assertion,
        /// No answer could be had over the network.
        Connection,
        /// Time ran out.
        Timeout,
        /// A template could not be resolved.
        Template,
        /// A value could not be captured.
        Capture,
        /// A report is missing or cannot be read.
        Report,
        /// A limit of this machine or of the settings was reached.
        ResourceAllocation,
        /// The worker was lost.
        Infrastructure,
    }

    /// Where output came from.
    pub enum OutputStream {
        /// The standard output of a command.
        Stdout,
        /// The standard error of a command.
        Stderr,
        /// The body of an HTTP response.
        Body,
    }

    /// Why a service is no longer there.
    pub enum ServiceEnd {
        /// It was stopped when its suite was done.
        Stopped,
        /// It ended by itself.
        Exited,
        /// It was stopped because it did not become ready in time.
        NotReady,
        /// It could not be started.
        NotStarted,
        /// The worker that had started it was lost, and it ended with that.
        WorkerLost,
    }

    /// What a step does, for statistics.
    pub enum ActionKind {
        /// It runs a command.
        Run,
        /// It sends an HTTP request.
        Http,
        /// A person does it.
        Manual,
    }
}
