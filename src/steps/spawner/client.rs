//! The engine's side of the spawner: starts it, hands commands to it, hears of its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::SUBCOMMAND;
use super::control::{SpawnerEnd, TreeControl};
use super::program::is_resources;
use super::protocol::{self, READY, Request, Spec};
use crate::steps::launcher::{LaunchError, LaunchSpec, Launcher, Process};

/// How long the spawner may take to come up: a guard against a program that is not the spawner.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long [`Spawner::close`] waits for the last process to die. SIGKILL is sent at once; what outlasts this hangs in
/// the kernel, and its keeper goes on trying.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// The spawner of this engine. When it is dropped, everything it started is killed.
pub struct Spawner {
    socket: UnixStream,
    ended: SpawnerEnd,
    /// Shared with the spawner: when it fires, everything ends.
    timer: TimerFd,
}

impl Spawner {
    /// Starts the spawner process: this same program, as it is in memory, with the hidden subcommand. To be called
    /// early, before the engine has grown.
    ///
    /// # Errors
    /// [`LaunchError::SpawnerLost`] if it does not come up, [`LaunchError::Resources`] if there is no room.
    pub async fn start() -> Result<Arc<Self>, LaunchError> {
        Self::start_with(Path::new("/proc/self/exe")).await
    }

    /// The same with another program that has the hidden subcommand: for processes that are not `testledger`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(program: &Path) -> Result<Arc<Self>, LaunchError> {
        let mut command = Command::new(program);
        command.arg(SUBCOMMAND);
        Self::start_command(command).await
    }

    /// The same with any command that ends up in `spawner_main`.
    pub(crate) async fn start_command(mut command: Command) -> Result<Arc<Self>, LaunchError> {
        let (ours, theirs) = StdUnixStream::pair().map_err(launch_error)?;
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(launch_error)?;
        drop(command); // it holds their end of the socket
        let ended = watch_end(child).map_err(launch_error)?;
        // Only now: the spawner and all commands keep the limit this process was given.
        raise_descriptor_limit();
        ours.set_nonblocking(true).map_err(launch_error)?;
        let socket = UnixStream::from_std(ours).map_err(launch_error)?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags).map_err(|errno| launch_error(errno.into()))?;
        let spawner = Self { socket, ended, timer };
        spawner.wait_until_ready().await?;
        spawner.hand_over(Request::Timer, &[spawner.timer.as_fd()]).await?;
        Ok(Arc::new(spawner))
    }

    async fn wait_until_ready(&self) -> Result<(), LaunchError> {
        let mut byte = [0];
        let read = self.socket.async_io(Interest::READABLE, || self.socket.try_read(&mut byte));
        match tokio::time::timeout(START_PATIENCE, read).await {
            Ok(Ok(1)) if byte == [READY] => Ok(()),
            Ok(Ok(_)) | Ok(Err(_)) => Err(self.lost("it ended before it was ready").await),
            Err(_) => Err(LaunchError::SpawnerLost("it did not come up in time".to_owned())),
        }
    }

    /// Kills everything that was started and waits until nothing is left of it, and of the spawner.
    pub async fn close(&self) {
        // It fails when the other end is gone already.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(CLOSE_PATIENCE, ended.wait_for(Option::is_some)).await;
    }

    async fn hand_over(&self, request: Request, descriptors: &[BorrowedFd<'_>]) -> Result<(), LaunchError> {
        let send = || protocol::hand_over(self.socket.as_fd(), request, descriptors);
        match self.socket.async_io(Interest::WRITABLE, send).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                Err(self.lost("its socket is closed").await)
            }
            Err(error) => Err(launch_error(error)),
        }
    }

    async fn lost(&self, otherwise: &str) -> LaunchError {
        let mut ended = self.ended.clone();
        let news = tokio::time::timeout(Duration::from_millis(500), ended.wait_for(Option::is_some)).await;
        let news = news.ok().and_then(|news| news.ok()?.clone());
        LaunchError::SpawnerLost(news.unwrap_or_else(|| otherwise.to_owned()))
    }
}

#[async_trait]
impl Launcher for Spawner {
    async fn launch(&self, spec: LaunchSpec) -> Result<Process, LaunchError> {
        let spec = Spec { argv: spec.argv, env: spec.env, directory: spec.directory };
        let (ours, theirs) = StdUnixStream::pair().map_err(launch_error)?;
        let (stdout, stdout_end) = io::pipe().map_err(launch_error)?;
        let (stderr, stderr_end) = io::pipe().map_err(launch_error)?;
        let handed = [theirs.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
        self.hand_over(Request::Run, &handed).await?;
        drop((theirs, stdout_end, stderr_end));
        let mut control = TreeControl::new(ours, self.ended.clone()).map_err(launch_error)?;
        let stdout = pipe::Receiver::from_owned_fd(stdout.into()).map_err(launch_error)?;
        let stderr = pipe::Receiver::from_owned_fd(stderr.into()).map_err(launch_error)?;
        let pid = control.begin(&spec).await?;
        Ok(Process { pid, stdout: Box::new(stdout), stderr: Box::new(stderr), control: Box::new(control) })
    }

    fn is_lost(&self) -> bool {
        self.ended.borrow().is_some()
    }

    async fn hold(&self, descriptor: OwnedFd) -> Result<(), LaunchError> {
        self.hand_over(Request::Hold, &[descriptor.as_fd()]).await
    }

    fn uptime(&self) -> Duration {
        // There is no Linux without this clock; without it every lease would be over at once.
        clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
    }

    async fn end_at(&self, uptime: Duration) -> Result<(), LaunchError> {
        // A timer that is set to zero would never fire.
        let at = Expiration::OneShot(TimeSpec::from_duration(uptime.max(Duration::from_nanos(1))));
        let set = self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME);
        set.map_err(|errno| launch_error(errno.into()))
    }
}

/// Waits for the spawner's end in a thread of its own: so it is never a zombie, and its end is known at once.
fn watch_end(mut child: Child) -> io::Result<SpawnerEnd> {
    let (sender, receiver) = watch::channel(None);
    let wait = move || {
        let end = child.wait().map_or_else(|error| error.to_string(), |status| format!("it ended with {status}"));
        sender.send_replace(Some(end));
    };
    std::thread::Builder::new().name("spawner-end".to_owned()).spawn(wait)?;
    Ok(receiver)
}

/// Three descriptors for each running command: the soft limit of 1024 that many systems give is soon reached. A
/// failure is no harm now, and tells itself when the limit is reached.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// An error of the system, for the engine.
fn launch_error(error: io::Error) -> LaunchError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) if is_resources(errno) => LaunchError::Resources(error.to_string()),
        Some(_) | None => LaunchError::SpawnerLost(error.to_string()),
    }
}
