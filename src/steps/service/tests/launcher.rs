//! A launcher for these tests: real processes, each with its descendants in a process group of its own.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use testledger_schemas::event::ResourceUsage;
use tokio::process::{Child, Command};

use crate::steps::launcher::{Exit, LaunchError, LaunchSpec, Launcher, Process, ProcessControl, TreeSignal};

pub struct GroupLauncher;

struct Group {
    child: Child,
    group: Pid,
}

#[async_trait]
impl Launcher for GroupLauncher {
    async fn launch(&self, spec: LaunchSpec) -> Result<Process, LaunchError> {
        let mut command = Command::new(&spec.argv[0]);
        command.args(&spec.argv[1..]).env_clear().envs(spec.env).current_dir(spec.directory).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| LaunchError::Command(format!("{}: {error}", spec.argv[0])))?;
        let pid = child.id().unwrap();
        Ok(Process {
            pid,
            stdout: Box::new(child.stdout.take().unwrap()),
            stderr: Box::new(child.stderr.take().unwrap()),
            control: Box::new(Group { child, group: Pid::from_raw(i32::try_from(pid).unwrap()) }),
        })
    }
}

#[async_trait]
impl ProcessControl for Group {
    fn signal(&self, signal: TreeSignal) {
        let signal = match signal {
            TreeSignal::Term => Signal::SIGTERM,
            TreeSignal::Kill => Signal::SIGKILL,
        };
        let _ = killpg(self.group, signal);
    }

    async fn exited(&mut self) -> Result<Exit, LaunchError> {
        let status = self.child.wait().await.map_err(|error| LaunchError::SpawnerLost(error.to_string()))?;
        let usage = ResourceUsage { user_ms: 0, system_ms: 0, peak_memory_bytes: 0 };
        Ok(Exit { code: status.code(), signal: status.signal(), usage })
    }

    async fn tree_gone(&mut self) -> Result<(), LaunchError> {
        self.exited().await?;
        while killpg(self.group, None) != Err(Errno::ESRCH) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(self.group, Signal::SIGKILL);
    }
}
