//! The port through which processes are started. The production adapter is the spawner; a simulation has its own.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use testledger_schemas::event::ResourceUsage;
use tokio::io::AsyncRead;

/// A launcher that is shared by everything in this process.
pub type SharedLauncher = Arc<dyn Launcher>;

/// What to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaunchSpec {
    /// Program and arguments; at least the program. It is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub directory: PathBuf,
}

/// Why a process could not be started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program (or directory), or it may not be run.
    #[error("{0}")]
    Command(String),
    /// This machine has no room for it now (processes, descriptors, memory).
    #[error("no room for another process: {0}")]
    Resources(String),
    /// The spawner process is gone.
    #[error("the spawner process is gone: {0}")]
    SpawnerLost(String),
}

/// A signal for a whole process tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeSignal {
    /// SIGTERM: end in good order.
    Term,
    /// SIGKILL, again and again until nothing is left of the tree.
    Kill,
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// What it and its waited-for descendants cost.
    pub usage: ResourceUsage,
    /// How long ago that was when this was known here; monotonic clock.
    pub ago: Duration,
}

/// A process that was started, with its output and the means to end it. Its standard input is closed.
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its standard output; ends when the last holder has closed it.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error; ends when the last holder has closed it.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Signals, and the news of its end. When this is dropped, the whole tree is killed.
    pub control: Box<dyn ProcessControl>,
}

/// The means to end a process tree, and to hear of its end.
#[async_trait]
pub trait ProcessControl: Send {
    /// Sends a signal to the process and all its descendants, those in other sessions and process groups too.
    fn signal(&self, signal: TreeSignal);

    /// Waits for the end of the process itself. Descendants may still be there. May be called again.
    async fn exited(&mut self) -> Result<Exit, LaunchError>;

    /// Waits until nothing is left of the tree. May be called again.
    async fn tree_gone(&mut self) -> Result<(), LaunchError>;
}

/// Starts processes.
#[async_trait]
pub trait Launcher: Send + Sync + 'static {
    /// Starts a process; it is running (its `exec` has succeeded) when this returns.
    ///
    /// # Errors
    /// [`LaunchError`].
    async fn launch(&self, spec: LaunchSpec) -> Result<Process, LaunchError>;

    /// Whether nothing can be started any more, and everything that was has ended.
    fn is_lost(&self) -> bool {
        false
    }

    /// Keeps a descriptor (of a lock on a file) open until nothing is left of anything that was started, even when this
    /// process is killed. A launcher whose processes die with this one has nothing to do here, and below.
    ///
    /// # Errors
    /// [`LaunchError`].
    async fn hold(&self, _descriptor: OwnedFd) -> Result<(), LaunchError> {
        Ok(())
    }

    /// The time of the clock that [`Self::end_at`] goes by: it goes on while the machine sleeps.
    fn uptime(&self) -> Duration {
        Duration::ZERO
    }

    /// Everything that was started, and is started later, ends at this uptime, whatever becomes of this process; unless a
    /// later time is set before.
    ///
    /// # Errors
    /// [`LaunchError`].
    async fn end_at(&self, _uptime: Duration) -> Result<(), LaunchError> {
        Ok(())
    }
}
