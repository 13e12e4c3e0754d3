//! `with`: a server around a command.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::Pid;
use test_servers::{Error, Mongod, ReplicaSet, Result, VARIABLE};
use tokio::runtime::Runtime;

/// The exit code where the server, or `with` itself, failed.
pub const SERVER_FAILED: u8 = 125;
/// The exit code where the command could not be started.
const NOT_STARTED: u8 = 127;
/// How long the command may go on after a signal was passed on to it, until it is killed.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// The longest wait between two looks at the command; a signal tells of its end at once.
const LOOK_MS: u16 = 1000;
/// What ends `with` in order. SIGCHLD is the command's end, or the server's.
const SIGNALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD];

/// Runs a command with a server, and gives its exit code.
///
/// # Errors
/// There is no server, or the operating system refuses to tell of signals.
pub fn with(command: &[OsString]) -> Result<ExitCode> {
    // This may take long, and can be interrupted until the signals are blocked.
    Mongod::binary()?;
    // Before any other thread begins: each has the mask of the one that began it.
    let signals = block_signals().map_err(|errno| failed("wait for signals", errno.into()))?;
    let server = runtime()?.block_on(ReplicaSet::start(1))?;
    if let Some(signal) = pending(&signals) {
        return Ok(code_of_signal(signal));
    }
    let [program, arguments @ ..] = command else { return Err(Error::Refused("name a command".to_owned())) };
    let mut child = Command::new(program);
    child.args(arguments).env(VARIABLE, server.uri(""));
    // Should `with` be killed, the command has no server any more.
    let status = match test_servers::spawn(child, Signal::SIGTERM) {
        Ok(mut child) => watch(&mut child, &signals)?,
        Err(error) => {
            eprintln!("test-servers: {} cannot be started: {error}", program.display());
            return Ok(ExitCode::from(NOT_STARTED));
        }
    };
    Ok(code(status))
}

/// What the driver runs on.
///
/// # Errors
/// No thread can be started.
pub fn runtime() -> Result<Runtime> {
    Runtime::new().map_err(|error| failed("start a runtime", error))
}

fn failed(what: &str, source: std::io::Error) -> Error {
    Error::Io { what: what.to_owned(), source }
}

fn block_signals() -> nix::Result<SignalFd> {
    let signals: SigSet = SIGNALS.into_iter().collect();
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// The next signal; `None` if there is none.
fn next(signals: &SignalFd) -> Option<(Signal, siginfo)> {
    let info = signals.read_signal().ok()??;
    let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())?;
    Some((signal, info))
}

/// A signal that came while the server started, and asks to end.
fn pending(signals: &SignalFd) -> Option<Signal> {
    std::iter::from_fn(|| next(signals)).map(|(signal, _)| signal).find(|signal| *signal != Signal::SIGCHLD)
}

/// Waits for the end of the command, and passes signals on to it.
fn watch(child: &mut Child, signals: &SignalFd) -> Result<ExitStatus> {
    let mut kill_at: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| failed("wait for the command", error))? {
            return Ok(status);
        }
        wait(signals).map_err(|errno| failed("wait for signals", errno.into()))?;
        for (signal, info) in std::iter::from_fn(|| next(signals)) {
            if is_to_be_passed_on(signal, &info) {
                pass_on(child, signal);
                kill_at.get_or_insert(Instant::now() + END_PATIENCE);
            }
        }
        if kill_at.is_some_and(|at| at <= Instant::now()) {
            // It fails only if the command has ended meanwhile.
            let _ = child.kill();
        }
    }
}

fn wait(signals: &SignalFd) -> nix::Result<()> {
    match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::from(LOOK_MS)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// What a terminal sends (Ctrl-C) comes from the kernel, and goes to the command, too, of the same process group.
fn is_to_be_passed_on(signal: Signal, info: &siginfo) -> bool {
    let is_from_kernel = info.ssi_code > 0;
    signal != Signal::SIGCHLD && !is_from_kernel
}

fn pass_on(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // It has not been waited for, so the id is still its own.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn code(status: ExitStatus) -> ExitCode {
    match (status.code(), status.signal().and_then(|number| Signal::try_from(number).ok())) {
        (Some(code), _) => ExitCode::from(u8::try_from(code).unwrap_or(SERVER_FAILED)),
        (None, Some(signal)) => code_of_signal(signal),
        (None, None) => ExitCode::from(SERVER_FAILED),
    }
}

fn code_of_signal(signal: Signal) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(SERVER_FAILED))
}
