//! A keeper: starts one command, keeps its whole tree together, and does not end before the tree has.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeVal;
use nix::unistd::{Pid, getpid, write};
use testledger_schemas::event::ResourceUsage;

use super::program;
use super::protocol::{self, KILL, Report, Spec, TERM};
use super::server::child_signals;
use super::tree::{self, Reaped};
use crate::ports::process::started_ticks;

/// Pauses between rounds of killing: short at first, then longer, for what is left then (a process deep in the kernel)
/// is not to be had by hurry.
const KILL_PAUSES_MS: [u8; 4] = [1, 5, 20, 100];

/// So many rounds of each pause.
const ROUNDS_PER_PAUSE: usize = 50;

/// What the spawner gives a keeper.
pub struct Seed {
    /// The engine's socket for this command.
    pub control: UnixStream,
    /// Where the command's standard output goes.
    pub stdout: OwnedFd,
    /// Where the command's standard error goes.
    pub stderr: OwnedFd,
    /// Ends when the spawner is gone.
    pub alive_seen: PipeReader,
    /// Kept open until the tree is gone.
    pub held: Vec<OwnedFd>,
}

/// Keeps one command from its start until nothing is left of it.
pub fn run(seed: Seed) -> io::Result<()> {
    set_child_subreaper(true)?;
    let Seed { mut control, stdout, stderr, alive_seen, held } = seed;
    // An engine that died before it said what to run needs no answer.
    let Ok(spec) = protocol::read_frame::<Spec>(&mut control) else { return Ok(()) };
    let command = match start(&spec, stdout, stderr) {
        Ok(command) => command,
        Err(refusal) => {
            let _ = protocol::write_frame(&control, &refusal);
            return Ok(());
        }
    };
    drop(spec);
    let mut keeper = Keeper {
        root: getpid(),
        command,
        signals: child_signals()?,
        control: Some(control),
        alive_seen: Some(alive_seen),
        exited: false,
        kill_rounds: None,
    };
    note(command, &held);
    keeper.report(&Report::Started { pid: command.as_raw().unsigned_abs() });
    let end = keeper.keep();
    drop(held);
    end
}

/// Notes in every lock what was started: whoever finds the lock free can end what outlived its keeper. In vain is no harm
/// as long as the keeper lives.
fn note(command: Pid, held: &[OwnedFd]) {
    let pid = command.as_raw().unsigned_abs();
    let Some(ticks) = started_ticks(pid) else { return };
    let line = format!("{pid} {ticks}\n");
    for lock in held {
        // One small write to a file that is open for appending is not torn by others.
        let _ = write(lock, line.as_bytes());
    }
}

/// Starts the command, with no signal blocked.
fn start(spec: &Spec, stdout: OwnedFd, stderr: OwnedFd) -> Result<Pid, Report> {
    let mut command = program::command(spec, stdout, stderr)?;
    // The mask is inherited. SIGCHLD can be missed here: `keep` begins by reaping.
    let started = SigSet::empty().thread_set_mask().map_err(io::Error::from).and_then(|()| command.spawn());
    let blocked = SigSet::all().thread_set_mask();
    let child = started.map_err(|error| program::refusal(&error, spec))?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other).map_err(|error| program::refusal(&error, spec))?;
    blocked.map_err(|errno| program::refusal(&errno.into(), spec))?;
    Ok(Pid::from_raw(pid))
}

/// The state of a keeper.
struct Keeper {
    root: Pid,
    command: Pid,
    /// Readable when a child has ended.
    signals: SignalFd,
    /// The engine; none once it is gone.
    control: Option<UnixStream>,
    /// The spawner; none once it is gone.
    alive_seen: Option<PipeReader>,
    /// The command's own end is reported.
    exited: bool,
    /// How often the tree was killed; none: it may live.
    kill_rounds: Option<usize>,
}

impl Keeper {
    /// Goes on until no child is left. It has no other end: nobody else would finish the work.
    fn keep(&mut self) -> io::Result<()> {
        while self.reap() {
            self.kill_if_wanted();
            let ready = self.wait()?;
            while self.signals.read_signal()?.is_some() {}
            if ready.spawner_gone {
                self.alive_seen = None;
                self.report(&Report::SpawnerLost);
                self.kill_from_now_on();
            }
            if ready.control {
                self.obey();
            }
        }
        self.report(&Report::Gone);
        Ok(())
    }

    /// Reaps what has ended. Whether any child is left.
    fn reap(&mut self) -> bool {
        loop {
            match tree::reap() {
                Reaped::Child(pid, status) => self.ended(pid, status),
                Reaped::NoneNow => return true,
                Reaped::NoChild => return false,
            }
        }
    }

    fn ended(&mut self, pid: Pid, status: ExitStatus) {
        if pid == self.command && !self.exited {
            self.exited = true;
            let (code, signal, at) = (status.code(), status.signal(), protocol::monotonic());
            self.report(&Report::Exited { code, signal, usage: usage(), at });
        }
    }

    fn kill_from_now_on(&mut self) {
        self.kill_rounds = self.kill_rounds.or(Some(0));
    }

    fn kill_if_wanted(&mut self) {
        let Some(rounds) = self.kill_rounds else { return };
        self.kill_rounds = Some(rounds.saturating_add(1));
        let mut ended = vec![];
        tree::kill_all(|| tree::children(self.root), |pid, status| ended.push((pid, status)));
        for (pid, status) in ended {
            self.ended(pid, status);
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self) -> io::Result<Wakeup> {
        let alive = self.alive_seen.as_ref().map(AsFd::as_fd);
        let control = self.control.as_ref().map(AsFd::as_fd);
        let sources: Vec<BorrowedFd<'_>> = [Some(self.signals.as_fd()), alive, control].into_iter().flatten().collect();
        let mut polled: Vec<_> = sources.iter().map(|source| PollFd::new(*source, PollFlags::POLLIN)).collect();
        match poll(&mut polled, self.pause()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = polled.iter().skip(1).map(|source| source.any().unwrap_or(false));
        let mut next = |there: bool| there && ready.next().unwrap_or(false);
        Ok(Wakeup { spawner_gone: next(alive.is_some()), control: next(control.is_some()) })
    }

    fn pause(&self) -> PollTimeout {
        let Some(rounds) = self.kill_rounds else { return PollTimeout::NONE };
        let step = (rounds / ROUNDS_PER_PAUSE).min(KILL_PAUSES_MS.len() - 1);
        PollTimeout::from(KILL_PAUSES_MS[step])
    }

    /// Does what the engine wants of the tree. An engine that is gone wants it killed.
    fn obey(&mut self) {
        let mut byte = [0];
        let read = self.control.as_mut().map(|control| control.read(&mut byte));
        match (read, byte[0]) {
            (Some(Ok(1)), TERM) => tree::terminate(self.root),
            (Some(Ok(1)), KILL) => self.kill_from_now_on(),
            (Some(Ok(1)), _) | (None, _) => {}
            (Some(Ok(_) | Err(_)), _) => {
                self.control = None;
                self.kill_from_now_on();
            }
        }
    }

    /// Tells the engine. One that is gone is noticed by [`Self::obey`].
    fn report(&self, report: &Report) {
        if let Some(control) = &self.control {
            let _ = protocol::write_frame(control, report);
        }
    }
}

/// What ended a sleep.
struct Wakeup {
    spawner_gone: bool,
    control: bool,
}

/// What the command and its waited-for descendants cost, orphans that ended before it included.
///
/// The peak of memory is the largest of any one process, and at least what this small keeper has resident: a process
/// starts with the peak of the one that starts it.
fn usage() -> ResourceUsage {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return ResourceUsage { user_ms: 0, system_ms: 0, peak_memory_bytes: 0 }; // not on Linux: its arguments are right
    };
    let ms = |time: TimeVal| u64::try_from(time.tv_sec() * 1000 + time.tv_usec() / 1000).unwrap_or(0);
    ResourceUsage {
        user_ms: ms(usage.user_time()),
        system_ms: ms(usage.system_time()),
        peak_memory_bytes: u64::try_from(usage.max_rss()).unwrap_or(0).saturating_mul(1024),
    }
}
