//! Process trees as `/proc` shows them: who descends from whom, signals for all of them, and reaping.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often a tree is looked through for descendants that were born while it was signalled.
const SIGNAL_ROUNDS: usize = 4;

/// How often, without a pause, a tree is looked through and killed. One look takes some 10 microseconds and a fork
/// takes more, so even a process that does nothing but fork and exit is caught.
const KILL_ROUNDS: usize = 64;

/// What [`reap`] found.
pub enum Reaped {
    /// This child has ended.
    Child(Pid, ExitStatus),
    /// There are children, all of them alive.
    NoneNow,
    /// There is no child left.
    NoChild,
}

/// Takes the status of one child that has ended, without waiting.
pub fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: the pointer is to a local that lives through the call. (nix refuses to describe real-time signals.)
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    match pid {
        0 => Reaped::NoneNow,
        1.. => Reaped::Child(Pid::from_raw(pid), ExitStatus::from_raw(status)),
        _ => Reaped::NoChild, // ECHILD: with WNOHANG there is no EINTR
    }
}

/// The children of a process, by any of its threads; none if it is gone.
pub fn children(parent: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return vec![] };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_ascii_whitespace().filter_map(parse_pid).collect::<Vec<_>>()).collect()
}

/// All descendants of a process, parents before their children.
pub fn descendants(root: Pid) -> Vec<Pid> {
    if fs::exists(format!("/proc/{root}/task/{root}/children")).unwrap_or(false) {
        below(root, children)
    } else {
        // A kernel without CONFIG_PROC_CHILDREN: look at every process of the machine.
        let by_parent = all_by_parent();
        below(root, |parent| by_parent.get(&parent).cloned().unwrap_or_default())
    }
}

/// Everything below `root`. A number that was given anew while we looked is visited once, so this ends.
fn below(root: Pid, children: impl Fn(Pid) -> Vec<Pid>) -> Vec<Pid> {
    let mut seen = HashSet::from([root]);
    let mut found = vec![];
    let mut todo = vec![root];
    while let Some(parent) = todo.pop() {
        for child in children(parent) {
            if seen.insert(child) {
                found.push(child);
                todo.push(child);
            }
        }
    }
    found
}

fn all_by_parent() -> HashMap<Pid, Vec<Pid>> {
    let mut by_parent: HashMap<Pid, Vec<Pid>> = HashMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return by_parent };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(parse_pid) else { continue };
        if let Some(parent) = parent_of(pid) {
            by_parent.entry(parent).or_default().push(pid);
        }
    }
    by_parent
}

/// The parent by `/proc/PID/stat`: the second field after the last `)`, for the name before it may hold anything.
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1).and_then(parse_pid)
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().map(Pid::from_raw)
}

/// Asks every descendant of `root` to end: SIGTERM, and SIGCONT so that a stopped one can.
///
/// Between the look at `/proc` and the signal a process could end and its number be given anew; Linux gives numbers in
/// turn, so that is a matter of a whole round of them within microseconds.
pub fn terminate(root: Pid) {
    let mut signalled = HashSet::new();
    for _ in 0..SIGNAL_ROUNDS {
        let fresh: Vec<_> = descendants(root).into_iter().filter(|pid| signalled.insert(*pid)).collect();
        if fresh.is_empty() {
            return;
        }
        for pid in fresh {
            // It may be gone already: that is what was wanted.
            let _ = kill(pid, Signal::SIGTERM);
            let _ = kill(pid, Signal::SIGCONT);
        }
    }
}

/// Kills every descendant of the given children of this process, and them, in quick rounds, until none is found alive
/// or the rounds are used up. `reaped` is told of each child that has ended.
pub fn kill_all(roots: impl Fn() -> Vec<Pid>, mut reaped: impl FnMut(Pid, ExitStatus)) {
    for _ in 0..KILL_ROUNDS {
        while let Reaped::Child(pid, status) = reap() {
            reaped(pid, status);
        }
        let roots = roots();
        if roots.is_empty() {
            return;
        }
        for root in roots {
            let _ = kill(root, Signal::SIGKILL);
            for pid in descendants(root) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_looking_find_a_grandchild() {
        let mut shell = std::process::Command::new("sh").args(["-c", "sleep 100 & wait"]).spawn().unwrap();
        let root = Pid::from_raw(shell.id().try_into().unwrap());
        let grandchild = loop {
            if let [pid] = descendants(root)[..] {
                break pid;
            }
            std::thread::yield_now();
        };
        let by_parent = all_by_parent();
        assert_eq!(below(root, |parent| by_parent.get(&parent).cloned().unwrap_or_default()), [grandchild]);
        assert_eq!(parent_of(grandchild), Some(root));
        terminate(root);
        shell.kill().unwrap();
        shell.wait().unwrap();
    }
}
