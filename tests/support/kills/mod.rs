//! The built program is killed again and again while it runs, and recovered; then what happened in the world is compared with
//! what the log says. Used by a test (a few kills) and a show (hundreds).
#![allow(dead_code, reason = "the test and the show use their part of it")]

mod compare;
pub mod long;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;

/// A process that does not end by itself within this time hangs.
const HANG: Duration = Duration::from_secs(120);
/// What tells our processes from all others.
const MARK: &str = "TESTLEDGER_KILLS_MARK";

/// Every step notes which execution, attempt and step it was, before it does anything else.
const PLAN: &str = r#"
suite: killed
services:
  - { id: web, run: "echo ready; exec sleep 600", ready: { log: ready } }
cases:
  - id: plain
    matrix: { n: [1, 2, 3] }
    steps:
      - { id: one, run: [sh, -c, "echo $1 >> marks; sleep 0.02; echo value-$2", sh, "{{ execution.id }}/{{ execution.attempt }}/one", "{{ matrix.n }}"], capture: { v: { regex: "value-(.*)" } } }
      - { id: two, run: [sh, -c, "echo $1 >> marks; sleep 0.02; test -n $2", sh, "{{ execution.id }}/{{ execution.attempt }}/two", "{{ v }}"] }
      - { id: three, run: [sh, -c, "echo $1 >> marks; (setsid sleep 0.05 &); sleep 0.03", sh, "{{ execution.id }}/{{ execution.attempt }}/three"] }
  - id: tried
    retries: { max_attempts: 3, backoff: 20ms }
    steps:
      - { id: one, run: [sh, -c, "echo $1 >> marks; test $2 -ge 2", sh, "{{ execution.id }}/{{ execution.attempt }}/one", "{{ execution.attempt }}"] }
  - id: failing
    steps:
      - { id: one, run: [sh, -c, "echo $1 >> marks; sleep 0.02; exit 3", sh, "{{ execution.id }}/{{ execution.attempt }}/one"] }
  - id: after
    needs: [plain]
    steps:
      - { id: one, run: [sh, -c, "echo $1 >> marks; sleep 0.02", sh, "{{ execution.id }}/{{ execution.attempt }}/one"] }
"#;

/// What the undisturbed plan comes to.
const VERDICTS: [(&str, &str); 7] = [
    ("killed", "FAILED"),
    ("killed/after", "PASSED"),
    ("killed/failing", "FAILED"),
    ("killed/plain[n=1]", "PASSED"),
    ("killed/plain[n=2]", "PASSED"),
    ("killed/plain[n=3]", "PASSED"),
    ("killed/tried", "PASSED"),
];

/// What was found.
#[derive(Default, Debug)]
pub struct Found {
    /// Engines that were killed.
    pub kills: usize,
    /// Of these, such as left an execution in flight.
    pub in_flight: usize,
    /// Commands that began, and that the log does not know.
    pub lost: usize,
    /// Runs of steps that stand twice in the log, or began more often than it says.
    pub doubled: usize,
    /// Executions without an end after recovery.
    pub stuck: usize,
    /// Processes that were still there.
    pub orphans: usize,
    /// Verdicts that are not those of an undisturbed run.
    pub wrong_verdicts: usize,
    /// Findings of `audit verify` and differences of the views from a replay.
    pub findings: usize,
    /// What went wrong first, in words.
    pub first: Option<String>,
}

impl Found {
    fn note(&mut self, which: fn(&mut Self) -> &mut usize, count: usize, what: impl FnOnce() -> String) {
        if count > 0 {
            *which(self) += count;
            self.first.get_or_insert_with(what);
        }
    }

    /// Whether everything was as it should be.
    pub fn is_clean(&self) -> bool {
        [self.lost, self.doubled, self.stuck, self.orphans, self.wrong_verdicts, self.findings] == [0; 6]
    }
}

/// How an engine is killed.
#[derive(Clone, Debug)]
pub enum Blow {
    /// From outside, after so long.
    After(Duration),
    /// By itself, when it comes to a fault point for the n-th time (`POINT:N`).
    AtPoint(String),
}

/// A folder with a plan and a store in which engines are killed.
pub struct Arena<'a> {
    program: &'a Path,
    folder: &'a Path,
    store: String,
    mark: String,
    seen: usize,
}

impl<'a> Arena<'a> {
    /// Prepares a folder. `store` is a MongoDB address, or none for a SQLite file.
    pub fn new(program: &'a Path, folder: &'a Path, store: Option<&str>) -> Self {
        std::fs::write(folder.join("plan.yaml"), PLAN).unwrap();
        let file = format!("sqlite:{}", folder.join("ledger.db").display());
        let store = store.map_or(file, str::to_owned);
        Self { program, folder, store, mark: uuid::Uuid::new_v4().to_string(), seen: 0 }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(args).current_dir(self.folder).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.folder);
        command.env("TESTLEDGER_STORE", &self.store).env(MARK, &self.mark);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, args: &[&str], blow: Option<&Blow>) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(Blow::AtPoint(point)) = blow {
            command.env("TESTLEDGER_FAULT", point);
        }
        command.spawn().unwrap()
    }

    fn ask(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.command(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    fn processes(&self) -> usize {
        let wanted = format!("{MARK}={}", self.mark);
        let numbers =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &u32| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        };
        numbers.filter(is_ours).count()
    }

    /// Starts an engine and lets it die so. Whether it did, or was over before.
    pub fn kill_one(&self, args: &[&str], blow: &Blow, found: &mut Found) -> bool {
        let mut child = self.start(args, Some(blow));
        if let Blow::After(after) = blow {
            std::thread::sleep(*after);
            let _ = child.kill();
        }
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > HANG {
                let _ = child.kill();
                found.note(|it| &mut it.stuck, 1, || format!("an engine hung that was to die {blow:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let is_killed = status.code().is_none();
        if is_killed {
            found.kills += 1;
            // What it had started ends with it; nothing else may.
            let gone = (0..500).any(|_| {
                let is_gone = self.processes() == 0;
                if !is_gone {
                    std::thread::sleep(Duration::from_millis(10));
                }
                is_gone
            });
            found.note(|it| &mut it.orphans, usize::from(!gone), || "processes outlived their engine".to_owned());
            let (code, _, _) = self.ask(&["recover", "--dry-run"]);
            found.in_flight += usize::from(code == 75);
        }
        is_killed
    }

    /// Recovers what is open, and compares everything that was added to the log since the last call.
    pub fn recover_and_check(&mut self, found: &mut Found) {
        let (code, out, err) = self.ask(&["recover"]);
        let is_known = [0, 100].contains(&code) || err.contains("there is no log");
        found.note(|it| &mut it.stuck, usize::from(!is_known), || format!("recover ended with {code}: {out}{err}"));
        let (code, out, err) = self.ask(&["recover", "--dry-run"]);
        let is_open = code != 0 && !err.contains("there is no log");
        found.note(|it| &mut it.stuck, usize::from(is_open), || format!("still open: {out}{err}"));
        found.note(|it| &mut it.orphans, self.processes(), || "processes are left after recovery".to_owned());
        self.check_log(found);
    }

    /// The whole log, and the views against a replay.
    pub fn check_whole(&self, found: &mut Found) {
        let (code, out, err) = self.ask(&["audit", "verify", "--views"]);
        found.note(|it| &mut it.findings, usize::from(code != 0), || format!("audit verify: {out}{err}"));
    }
}

/// Kills engines at random moments, so many with an execution in flight: those that run the plan, and now and then those that
/// recover it.
pub fn at_random(program: &Path, folder: &Path, store: Option<&str>, kills: usize, seed: u64) -> Found {
    let mut random = StdRng::seed_from_u64(seed);
    let mut arena = Arena::new(program, folder, store);
    let mut found = Found::default();
    while found.in_flight < kills && found.is_clean() {
        let mut blow = || Blow::After(Duration::from_millis(random.random_range(15..450)));
        let first = blow();
        arena.kill_one(&["run", "plan.yaml", "--jobs", "3"], &first, &mut found);
        while random.random_bool(0.3) {
            let next = Blow::After(Duration::from_millis(random.random_range(15..300)));
            arena.kill_one(&["recover"], &next, &mut found);
        }
        arena.recover_and_check(&mut found);
    }
    arena.check_whole(&mut found);
    found
}

/// Kills an engine before and after each of the appends of one run. How many appends that were.
pub fn at_each_append(program: &Path, folder: &Path, store: Option<&str>, least: usize) -> (usize, Found) {
    let mut arena = Arena::new(program, folder, store);
    let mut found = Found::default();
    let mut append = 0;
    loop {
        append += 1;
        let mut is_killed = false;
        for point in ["BeforeAppend", "AfterAppend"] {
            let blow = Blow::AtPoint(format!("{point}:{append}"));
            is_killed |= arena.kill_one(&["run", "plan.yaml", "--jobs", "1"], &blow, &mut found);
            arena.recover_and_check(&mut found);
        }
        if !is_killed || !found.is_clean() {
            break;
        }
    }
    arena.check_whole(&mut found);
    assert!(append > least || !found.is_clean(), "the plan has {} appends", append - 1);
    (append - 1, found)
}

/// Runs the plan again and again until told to stop, whatever happens to its store; then recovers. How many suites ran, how
/// many of these were left to recovery, and what was found.
pub fn until(program: &Path, store: &str, stop: &CancellationToken) -> (usize, usize, Found) {
    let folder = tempfile::tempdir().unwrap();
    let mut arena = Arena::new(program, folder.path(), Some(store));
    let (mut runs, mut left, mut found) = (0, 0, Found::default());
    while !stop.is_cancelled() {
        runs += 1;
        // One of its cases fails.
        left += usize::from(arena.ask(&["run", "plan.yaml", "--jobs", "3"]).0 != 100);
    }
    arena.recover_and_check(&mut found);
    arena.check_whole(&mut found);
    (runs, left, found)
}
