//! The exit codes, and the error of a command that ends with one.

use std::process::ExitCode;

use crate::engine::error::ExecutionError;
use crate::event_store::StoreError;
use crate::execution::Refusal;

/// How a command ends. The numbers are part of the interface; `testledger --help` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Everything passed, or the command did what it should.
    Passed = 0,
    /// Bad usage, a bad plan, a bad setting, or no such thing.
    Usage = 2,
    /// The selection left nothing to run.
    NothingToRun = 4,
    /// A bug of this program, or of the system below it.
    Internal = 70,
    /// Something could not be done here and now, and may be later, or elsewhere.
    NotNow = 75,
    /// A service did not become ready.
    SetupFailed = 96,
    /// Tests failed.
    TestsFailed = 100,
    /// A report or other output could not be written.
    OutputNotWritten = 110,
    /// The log's store cannot be used.
    StoreUnavailable = 111,
    /// The log, or what was folded from it, does not verify.
    LogIntegrity = 112,
    /// Interrupted or cancelled.
    Interrupted = 130,
}

/// The codes with their meaning, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    passed
  2    bad usage, plan or setting
  4    nothing to run
  70   internal error
  75   something could not be recovered here and now
  96   set-up failed (a service did not become ready)
  100  tests failed
  110  output not written
  111  store unavailable
  112  the log does not verify
  130  interrupted or cancelled";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do what it should: words for people, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong, and the mend; may have several lines.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    #[must_use]
    pub fn new(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// The caller asked for something that cannot be.
    #[must_use]
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Unavailable(_) | StoreError::Refused(_) => Exit::StoreUnavailable,
            StoreError::Damaged(_) => Exit::LogIntegrity,
        };
        Self::new(exit, error)
    }
}

impl From<ExecutionError> for Failure {
    fn from(error: ExecutionError) -> Self {
        let exit = match &error {
            ExecutionError::Store(_) => {
                let ExecutionError::Store(error) = error else { return Self::new(Exit::Internal, error) };
                return error.into();
            }
            ExecutionError::Refused { refusal: Refusal::RequestConflict, .. } => Exit::Usage,
            ExecutionError::Unreadable { .. } | ExecutionError::PlanMissing(_) => Exit::LogIntegrity,
            ExecutionError::Timeout { .. } | ExecutionError::LeaseLost => Exit::StoreUnavailable,
            ExecutionError::ResourceAllocation(_)
            | ExecutionError::StepExecution { .. }
            | ExecutionError::StateTransition(_)
            | ExecutionError::Refused { .. }
            | ExecutionError::WorkerLost(_)
            | ExecutionError::Internal(_) => Exit::Internal,
        };
        Self::new(exit, error)
    }
}

impl From<std::io::Error> for Failure {
    /// A reader that has seen enough and closed its pipe (`| head`) need not be told.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::OutputNotWritten, "");
        }
        Self::new(Exit::OutputNotWritten, format!("the output could not be written: {error}"))
    }
}
