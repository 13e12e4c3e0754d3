//! The first things the spawner does: nothing of the engine's surroundings shall reach a command.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{close, dup2_stdin, setsid};

/// Takes the engine's socket from standard input, where the engine put it, and cuts all other ties: descriptors,
/// signal dispositions, session. All signals are blocked afterwards.
pub fn isolate() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?; // CLOEXEC, unlike standard input
    dup2_stdin(File::open("/dev/null")?)?;
    close_others(socket.as_raw_fd())?;
    default_dispositions()?;
    SigSet::all().thread_set_mask()?;
    // A session of its own: Ctrl-C, hang-ups and job control of the engine's terminal do not reach it.
    setsid()?;
    Ok(socket)
}

/// Closes what the engine's own parent left open without CLOEXEC.
fn close_others(keep: RawFd) -> io::Result<()> {
    let entries = fs::read_dir("/proc/self/fd")?;
    let open: Vec<RawFd> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2 && *descriptor != keep) {
        // The listing's own descriptor is among them and closed by now.
        let _ = close(descriptor);
    }
    Ok(())
}

/// An ignored signal stays ignored across `exec` (a job of a shell script runs with SIGINT ignored): start afresh.
/// SIGPIPE is left to the standard library, which ignores it here and restores it in what it starts.
fn default_dispositions() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in
        Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE))
    {
        // SAFETY: no handler is installed; the default disposition runs none of our code.
        unsafe { sigaction(signal, &default) }?;
    }
    Ok(())
}
