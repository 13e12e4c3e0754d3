//! What the end-to-end tests share: a folder and a store, the program started on them, and its answers read back.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::store::Store;

/// A guard against hanging, far beyond what anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The wait between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// Set in everything that a place starts: so its processes are found, whatever became of their parents.
const MARK: &str = "TESTLEDGER_E2E_MARK";

/// A folder with a store of its own. All processes that are started here bear its mark.
pub struct Place {
    pub store: Store,
    folder: tempfile::TempDir,
    mark: String,
    env: Vec<(String, String)>,
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Ended {
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Everything that was said, for messages of failed tests.
    pub fn all(&self) -> String {
        format!("{}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.out(), self.err())
    }

    /// Fails unless the program ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{}", self.all());
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.all()))
    }
}

/// The program while it runs.
pub struct Started {
    child: Child,
    output: mpsc::Receiver<(Vec<u8>, Vec<u8>)>,
}

impl Started {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("the program hangs: {:?}", self.output.recv_timeout(Duration::from_secs(5)));
            }
            std::thread::sleep(PAUSE);
        };
        let (stdout, stderr) = self.output.recv_timeout(PATIENCE).expect("its output stays open");
        Ended { status, stdout, stderr }
    }
}

impl Place {
    pub fn new() -> Self {
        Self::with(Store::new)
    }

    /// A place whose store is made for its folder.
    pub fn with(store: impl FnOnce(&Path) -> Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mark = uuid::Uuid::new_v4().to_string();
        Self { store: store(folder.path()), folder, mark, env: vec![] }
    }

    /// One more variable for everything that is started here.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The command that starts the program here, with nothing of this process's settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testledger"));
        command.args(args);
        self.prepare(&mut command);
        command
    }

    /// Makes any command one of this place: its folder, its store, its mark, and pipes for its output.
    pub fn prepare(&self, command: &mut Command) {
        command.current_dir(self.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.path());
        command.envs(self.store.setting().map(|store| ("TESTLEDGER_STORE", store)));
        command.env(MARK, &self.mark).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Starts the program.
    pub fn start(&self, args: &[&str]) -> Started {
        spawn(self.command(args))
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }

    /// Runs a plan with more arguments.
    #[track_caller]
    pub fn plan(&self, text: &str, args: &[&str]) -> Ended {
        self.file("plan.yaml", text);
        self.run(&[&["run", "plan.yaml"], args].concat())
    }

    /// The events of the log, or what more arguments leave of them.
    #[track_caller]
    pub fn events(&self, args: &[&str]) -> Vec<Value> {
        let ended = self.run(&[&["events", "--json"], args].concat()).expect(0);
        ended.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The events of one type.
    #[track_caller]
    pub fn events_of(&self, type_name: &str) -> Vec<Value> {
        self.events(&[]).into_iter().filter(|event| event["type"] == type_name).collect()
    }

    /// The executions, cases too, by label.
    #[track_caller]
    pub fn executions(&self) -> Vec<Value> {
        let page = self.run(&["executions", "list", "--all", "--limit", "1000", "--json"]).expect(0).json();
        page["executions"].as_array().unwrap().clone()
    }

    /// The status of the execution with this label.
    #[track_caller]
    pub fn status(&self, label: &str) -> String {
        let all = self.executions();
        let found = all.iter().find(|execution| execution["label"] == label);
        let found = found.unwrap_or_else(|| panic!("no execution {label} in {all:#?}"));
        found["status"].as_str().unwrap().to_owned()
    }

    /// The id of the execution with this label; waits until there is one.
    #[track_caller]
    pub fn id_of(&self, label: &str) -> String {
        eventually(&format!("an execution {label}"), || {
            let page = self.run(&["executions", "list", "--all", "--json"]);
            let page: Value = serde_json::from_slice(&page.stdout).ok()?;
            let found = page["executions"].as_array()?.iter().find(|execution| execution["label"] == label)?;
            found["id"].as_str().map(str::to_owned)
        })
    }

    /// Fails unless the log verifies.
    #[track_caller]
    pub fn verify(&self) {
        self.run(&["audit", "verify"]).expect(0);
    }

    /// The living processes that were started here, with their command lines.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let wanted = format!("{MARK}={}", self.mark);
        let numbers =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let ours = numbers.filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        });
        let named = ours.map(|pid: u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&line).replace('\0', " "))
        });
        named.collect()
    }

    /// Waits until no process that was started here lives.
    #[track_caller]
    pub fn no_process_is_left(&self) {
        let began = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "still there: {left:?}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until a file is there.
    #[track_caller]
    pub fn await_file(&self, name: &str) {
        let path = self.path().join(name);
        eventually(name, || path.exists().then_some(()));
    }
}

/// Starts a command whose output is read by threads, so that it never waits for this process.
pub fn spawn(mut command: Command) -> Started {
    let mut child = command.spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (send, output) = mpsc::channel();
    std::thread::spawn(move || {
        let errors = std::thread::spawn(move || {
            let mut bytes = vec![];
            let _ = stderr.read_to_end(&mut bytes);
            bytes
        });
        let mut bytes = vec![];
        let _ = stdout.read_to_end(&mut bytes);
        let _ = send.send((bytes, errors.join().unwrap()));
    });
    Started { child, output }
}

/// Looks again and again until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Whether a value fits a published schema, as the program itself prints it.
#[track_caller]
pub fn fits(place: &Place, schema: &str, values: &[Value]) {
    let schema = place.run(&["schema", schema]).expect(0).json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(!values.is_empty());
    for value in values {
        let problems: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{problems:?} in {value:#}");
    }
}
