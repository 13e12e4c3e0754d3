//! Processes of this machine by what tells them apart for good: boot, process id and start time.

use std::path::Path;

use testledger_schemas::event::{WorkerContent, WorkerStarted};

/// The present boot of this machine; empty where the system does not tell.
#[must_use]
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// This process, as the log names it.
#[must_use]
pub fn this_process(host: &str) -> WorkerStarted {
    let pid = std::process::id();
    WorkerStarted {
        pid,
        boot_id: boot_id(),
        started_ticks: started_ticks(pid).unwrap_or(0),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        content: WorkerContent { host: host.to_owned() }.into(),
    }
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/PID/stat` (`proc(5)`); none if there is no such
/// process, or it has ended and only waits for its parent.
#[must_use]
pub fn started_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name, field 2, may hold blanks and parentheses: count from behind its last one.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if fields.next().is_some_and(|state| state == "Z" || state == "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
