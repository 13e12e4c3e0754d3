//! Processes of the simulation: they take virtual time, end as they are told, and leave marks of what really began.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use testledger::steps::launcher::{Exit, LaunchError, LaunchSpec, Launcher, Process, ProcessControl, TreeSignal};
use testledger_schemas::event::ResourceUsage;
use tokio::sync::watch;
use tokio::time::Instant;

/// Starts simulated processes. Their arguments: `sim MARK MILLISECONDS EXIT FAIL_FIRST`: runs so long, exits with that
/// code, and with 1 the first so many times.
#[derive(Default)]
pub struct SimLauncher {
    /// How often each mark began: the side effects of the tests.
    pub begun: Mutex<BTreeMap<String, u32>>,
}

#[async_trait]
impl Launcher for SimLauncher {
    async fn launch(&self, spec: LaunchSpec) -> Result<Process, LaunchError> {
        let [program, mark, millis, exit, fail_first] = spec.argv.as_slice() else {
            return Err(LaunchError::Command("bad arguments".to_owned()));
        };
        if program != "sim" {
            return Err(LaunchError::Command(format!("no such program: {program}")));
        }
        let number = |text: &String| text.parse::<u64>().unwrap();
        let count = {
            let mut begun = self.begun.lock().unwrap();
            let count = begun.entry(mark.clone()).or_default();
            *count += 1;
            *count
        };
        let code = if u64::from(count) <= number(fail_first) { 1 } else { i32::try_from(number(exit)).unwrap() };
        let control = SimControl {
            ends_at: Instant::now() + Duration::from_millis(number(millis)),
            code,
            signalled: Arc::new(watch::channel(false).0),
        };
        Ok(Process {
            pid: count,
            stdout: Box::new(std::io::Cursor::new(format!("{mark} run {count}\n").into_bytes())),
            stderr: Box::new(tokio::io::empty()),
            control: Box::new(control),
        })
    }
}

struct SimControl {
    ends_at: Instant,
    code: i32,
    signalled: Arc<watch::Sender<bool>>,
}

#[async_trait]
impl ProcessControl for SimControl {
    fn signal(&self, _: TreeSignal) {
        self.signalled.send_replace(true);
    }

    async fn exited(&mut self) -> Result<Exit, LaunchError> {
        let mut signalled = self.signalled.subscribe();
        let usage = ResourceUsage { user_ms: 1, system_ms: 1, peak_memory_bytes: 1 };
        let ago = Duration::ZERO;
        tokio::select! {
            biased;
            _ = signalled.wait_for(|signalled| *signalled) => Ok(Exit { code: None, signal: Some(15), usage, ago }),
            () = tokio::time::sleep_until(self.ends_at) => Ok(Exit { code: Some(self.code), signal: None, usage, ago }),
        }
    }

    async fn tree_gone(&mut self) -> Result<(), LaunchError> {
        self.exited().await.map(drop)
    }
}
