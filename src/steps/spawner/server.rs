//! The spawner process: takes descriptors from the engine, forks a keeper for each command, reaps, ends last.

use std::collections::HashSet;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, ExitStatus};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, Pid, fork, getpid, write};

use super::keeper::{self, Seed};
use super::protocol::{self, READY, Report, Request, Taken};
use super::tree::{self, Reaped};

/// How long it waits before it looks again for orphans of a dead keeper.
const STRAY_PAUSE_MS: u8 = 5;

/// The exit code for a spawner that could not do its work (`EX_SOFTWARE`).
const INTERNAL: u8 = 70;

/// Runs the spawner: what `testledger __spawner` does. The caller must not have started any thread.
#[must_use]
pub fn spawner_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(INTERNAL), // there is nobody to tell: the engine sees the socket close
    }
}

fn serve() -> io::Result<()> {
    match Server::begin()?.run()? {
        Some(seed) => keeper::run(seed),
        None => Ok(()),
    }
}

/// Descriptors of signals, readable when a child has ended.
pub fn child_signals() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// The state of the spawner.
struct Server {
    /// The engine's socket; none once the engine is gone.
    engine: Option<OwnedFd>,
    /// Readable when a child has ended.
    signals: SignalFd,
    /// Open in this process only: when it is gone, every keeper sees the end of `alive_seen`.
    alive: Option<PipeWriter>,
    alive_seen: PipeReader,
    keepers: HashSet<Pid>,
    /// A keeper was killed: what it kept may be ours now.
    strays: bool,
    /// Readable when the time is over that the engine may work.
    timer: Option<OwnedFd>,
    /// What must stay open as long as anything runs. Keepers inherit it, commands do not (CLOEXEC).
    held: Vec<OwnedFd>,
}

impl Server {
    fn begin() -> io::Result<Self> {
        let engine = super::isolate::isolate()?;
        set_child_subreaper(true)?;
        let signals = child_signals()?;
        let (alive_seen, alive) = io::pipe()?;
        write(&engine, &[READY])?;
        let (engine, alive) = (Some(engine), Some(alive));
        Ok(Self {
            engine,
            signals,
            alive,
            alive_seen,
            keepers: HashSet::new(),
            strays: false,
            timer: None,
            held: vec![],
        })
    }

    /// Serves until the engine is gone and nothing is left; in a forked keeper, returns what it is to keep.
    fn run(mut self) -> io::Result<Option<Seed>> {
        while self.reap() || self.engine.is_some() {
            self.wait()?;
            while self.signals.read_signal()?.is_some() {}
            if self.is_over() {
                self.end_all();
            }
            if let Some(seed) = self.take_requests()? {
                return Ok(Some(seed));
            }
        }
        Ok(None)
    }

    /// Sleeps until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let mut sources = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let others = [self.engine.as_ref(), self.timer.as_ref()].into_iter().flatten();
        sources.extend(others.map(|other| PollFd::new(other.as_fd(), PollFlags::POLLIN)));
        let pause = if self.strays { PollTimeout::from(STRAY_PAUSE_MS) } else { PollTimeout::NONE };
        match poll(&mut sources, pause) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether the engine's time is over.
    fn is_over(&self) -> bool {
        let Some(timer) = &self.timer else { return false };
        let mut fired = [PollFd::new(timer.as_fd(), PollFlags::POLLIN)];
        poll(&mut fired, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Closing our end of `alive` makes every keeper kill its tree.
    fn end_all(&mut self) {
        (self.engine, self.alive, self.timer) = (None, None, None);
    }

    /// Reaps what has ended and kills what no keeper keeps any more. Whether any child is left.
    fn reap(&mut self) -> bool {
        loop {
            match tree::reap() {
                Reaped::Child(pid, status) => self.ended(pid, status),
                Reaped::NoneNow => break,
                Reaped::NoChild => {
                    self.strays = false;
                    return false;
                }
            }
        }
        if self.strays {
            self.kill_strays();
        }
        true
    }

    /// A keeper ends by itself when nothing is left of its tree; one that was killed leaves its tree to us.
    fn ended(&mut self, pid: Pid, status: ExitStatus) {
        if self.keepers.remove(&pid) && !status.success() {
            self.strays = true;
        }
    }

    fn kill_strays(&mut self) {
        let mut ended = vec![];
        let strays =
            || -> Vec<Pid> { tree::children(getpid()).into_iter().filter(|pid| !self.keepers.contains(pid)).collect() };
        tree::kill_all(strays, |pid, status| ended.push((pid, status)));
        self.strays = !strays().is_empty();
        for (pid, status) in ended {
            self.ended(pid, status);
        }
    }

    /// Takes what the engine asks for. In a forked keeper: what it is to keep.
    fn take_requests(&mut self) -> io::Result<Option<Seed>> {
        while let Some(engine) = &self.engine {
            match protocol::take_over(engine.as_fd())? {
                Taken::Request(Request::Run, descriptors) => {
                    if let Some(seed) = self.fork_keeper(descriptors) {
                        return Ok(Some(seed));
                    }
                }
                Taken::Request(Request::Hold, descriptors) => self.held.extend(descriptors),
                Taken::Request(Request::Timer, descriptors) => self.timer = descriptors.into_iter().next(),
                Taken::Nothing => return Ok(None),
                Taken::End => self.end_all(),
            }
        }
        Ok(None)
    }

    /// Forks a keeper. Returns in both processes; in the keeper with what it is to keep.
    fn fork_keeper(&mut self, descriptors: Vec<OwnedFd>) -> Option<Seed> {
        // A request that is not whole is dropped: its socket closes, and the engine knows.
        let [control, stdout, stderr] = <[OwnedFd; 3]>::try_from(descriptors).ok()?;
        let control = UnixStream::from(control);
        let alive_seen = self.alive_seen.try_clone().ok()?;
        // SAFETY: this process has a single thread (see `spawner_main`), so no lock can be held by another at the fork,
        // and the child may do whatever the parent may.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                let held = std::mem::take(&mut self.held);
                Some(Seed { control, stdout, stderr, alive_seen, held })
            }
            Ok(ForkResult::Parent { child }) => {
                self.keepers.insert(child);
                None
            }
            Err(errno) => {
                let text = format!("the spawner cannot fork: {errno}");
                // If the engine does not listen any more, nobody needs the answer.
                let _ = protocol::write_frame(&control, &Report::Refused { resources: true, text });
                None
            }
        }
    }
}
