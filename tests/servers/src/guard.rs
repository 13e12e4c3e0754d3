//! Starts processes that the kernel ends when this one dies, however it dies.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getppid};

/// One process to start.
struct Order {
    command: Command,
    answer: SyncSender<io::Result<Child>>,
}

/// The thread that starts everything. The kernel sends the death signal when the *thread* that forked ends, so it is one
/// that lives as long as this process, and no thread of a test.
static STARTER: LazyLock<io::Result<Sender<Order>>> = LazyLock::new(|| {
    let (orders, ordered) = channel();
    thread::Builder::new().name("server starter".to_owned()).spawn(move || start_all(&ordered))?;
    Ok(orders)
});

/// Starts a process that gets the signal `at_death` as soon as this process is gone, be it by SIGKILL.
///
/// # Errors
/// It could not be started.
pub fn spawn(mut command: Command, at_death: Signal) -> io::Result<Child> {
    let owner = Pid::this();
    let tie = move || {
        set_pdeathsig(at_death)?;
        // `with` blocks the signals that it waits for; what it starts shall not.
        SigSet::empty().thread_set_mask()?;
        // The owner may have died before the line above: then nobody would send the signal any more.
        if getppid() == owner { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: between fork and exec only three system calls are made, and nothing is allocated or locked.
    unsafe { command.pre_exec(tie) };
    let (answer, answered) = sync_channel(1);
    let starter = STARTER.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    starter.send(Order { command, answer }).map_err(io::Error::other)?;
    answered.recv().map_err(io::Error::other)?
}

fn start_all(ordered: &Receiver<Order>) {
    while let Ok(Order { mut command, answer }) = ordered.recv() {
        // Who asked waits for the answer and cannot be gone.
        let _ = answer.send(command.spawn());
    }
}
