//! What the process tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testledger::event_store::memory::MemoryLog;
use testledger::steps::context::OutputLimits;
use testledger::steps::http::HttpClient;
use testledger::steps::launcher::{LaunchSpec, Launcher, Process};
use testledger::steps::redact::Redactor;
use testledger::steps::spawner::Spawner;
use testledger::steps::{PreparedRun, StepContext};
use testledger_schemas::ExecutionId;
use testledger_schemas::plan::{RunExpect, TextExpect};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

/// A guard against hanging, far beyond what anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A spawner of the real program.
pub async fn spawner() -> Arc<Spawner> {
    Spawner::start_with(Path::new(env!("CARGO_BIN_EXE_testledger"))).await.unwrap()
}

/// This command in `/`, with the `PATH` of the test and nothing else in its environment.
pub fn spec(argv: &[&str]) -> LaunchSpec {
    LaunchSpec {
        argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
        env: vec![("PATH".to_owned(), std::env::var("PATH").unwrap())],
        directory: PathBuf::from("/"),
    }
}

/// A shell line.
pub fn shell(line: &str) -> LaunchSpec {
    spec(&["sh", "-c", line])
}

/// Starts a command that must start.
pub async fn launch(spawner: &Spawner, spec: LaunchSpec) -> Process {
    spawner.launch(spec).await.unwrap()
}

/// All of its standard output.
pub async fn stdout(process: &mut Process) -> String {
    let mut bytes = vec![];
    tokio::time::timeout(PATIENCE, process.stdout.read_to_end(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8(bytes).unwrap()
}

/// One line of its standard output: numbers, separated by blanks.
pub async fn read_pids(process: &mut Process, count: usize) -> Vec<u32> {
    let mut text = String::new();
    while text.split_ascii_whitespace().count() < count || !text.ends_with('\n') {
        let byte = tokio::time::timeout(PATIENCE, process.stdout.read_u8()).await.unwrap().unwrap();
        text.push(char::from(byte));
    }
    text.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Whether a process is there and not a zombie.
pub fn alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits until all of these are dead.
pub fn await_death(pids: &[u32]) {
    let began = Instant::now();
    while let Some(left) = pids.iter().find(|pid| alive(**pid)) {
        assert!(began.elapsed() < PATIENCE, "process {left} still lives");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The context of a step with a generous timeout and one secret: `hunter22`.
pub fn context(launcher: Arc<dyn Launcher>) -> StepContext {
    StepContext {
        execution: ExecutionId(uuid::Uuid::nil()),
        step: "step".to_owned(),
        identity: ("suite".to_owned(), "case".to_owned(), String::new()),
        launcher,
        http: HttpClient::new(),
        log: MemoryLog::new(),
        redactor: Redactor::new(["hunter22".to_owned()]),
        cancel: CancellationToken::new(),
        timeout: Some(PATIENCE),
        grace: Duration::from_secs(10),
        leak_timeout: Duration::from_millis(300),
        output: OutputLimits { excerpt_bytes: 16 * 1024, kept_bytes: 1 << 20 },
        live: None,
    }
}

/// A command line for the shell, as a step that expects exit code 0.
pub fn prepared(line: &str) -> PreparedRun {
    let spec = shell(line);
    let expect = RunExpect {
        exit_codes: vec![0],
        stdout: TextExpect::default(),
        stderr: TextExpect::default(),
        within_ms: None,
    };
    PreparedRun {
        argv: spec.argv,
        env: spec.env,
        directory: spec.directory,
        expect,
        capture: BTreeMap::new(),
        junit: None,
    }
}
