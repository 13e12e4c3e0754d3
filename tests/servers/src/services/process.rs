//! A process that is known again after its id may have been given to another.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::deadline::Deadline;
use crate::error::{Result, io};

/// A process, as it was when it was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    pid: u32,
    /// When it began, in clock ticks since the machine did.
    start_time: u64,
}

impl Process {
    /// The process that has this id now; `None` if there is none.
    pub fn of(pid: u32) -> Option<Self> {
        start_time(pid).map(|start_time| Self { pid, start_time })
    }

    /// Whether it still runs, and is a `mongod` with this folder of data.
    pub fn is_server_of(self, data: &Path) -> bool {
        let arguments = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
        let has_data = arguments.windows(2).any(|two| two == [b"--dbpath", data.as_os_str().as_bytes()]);
        self.runs() && has_data && is_mongod(arguments[0])
    }

    /// Sends it a signal. Nothing happens if it has ended.
    pub fn signal(self, signal: Signal) -> Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().filter(|_| self.runs()) else { return Ok(()) };
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(io(format!("send {signal} to the server, process {pid}"))(errno.into())),
        }
    }

    /// Waits until it has ended.
    pub fn wait(self, patience: Duration) -> Result<()> {
        let deadline = Deadline::after(patience);
        while self.runs() {
            deadline.pause_blocking("the end of the server")?;
        }
        Ok(())
    }

    fn runs(self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }
}

/// Whether a program is called `mongod`, or for example `mongod-8.0`.
fn is_mongod(program: &[u8]) -> bool {
    let name = Path::new(OsStr::from_bytes(program)).file_name().unwrap_or_default();
    name.as_bytes().starts_with(b"mongod")
}

/// The 22nd field of `/proc/PID/stat`, for a process that has not ended. (One that has ended keeps its id until its parent
/// takes note, which the first process of a container may never do.)
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything; the third is the state.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let has_ended = matches!(fields.first(), Some(&"Z" | &"X"));
    if has_ended { None } else { fields.get(19)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.runs());
        let other = Process { start_time: own.start_time + 1, ..own };
        assert!(!other.runs());
        other.signal(Signal::SIGKILL).unwrap();
        assert!(!own.is_server_of(Path::new("/")), "it is no server");
    }

    #[test]
    fn one_that_ended_and_was_not_waited_for_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let deadline = Deadline::after(Duration::from_secs(10));
        while Process::of(child.id()).is_some() {
            deadline.pause_blocking("the end of `true`").unwrap();
        }
        child.wait().unwrap();
    }
}
