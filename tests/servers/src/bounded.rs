//! Runs a program to its end, and not for ever.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::{Result, io};

/// How the program ends. It is killed when patience is at its end.
///
/// # Errors
/// It could not be started, or takes too long.
pub(crate) fn status(mut command: Command, patience: Duration) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(io(format!("run {name}")))?;
    let deadline = Deadline::after(patience);
    loop {
        if let Some(status) = child.try_wait().map_err(io(format!("wait for {name}")))? {
            return Ok(status);
        }
        if let Err(late) = deadline.pause_blocking(&format!("the end of {name}")) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(late);
        }
    }
}
