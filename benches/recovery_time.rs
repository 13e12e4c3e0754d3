//! Show: 1,000 executions are in flight on MongoDB when their engine is killed, in a log of 1,000,000 events. How long a
//! `recover` of the same machine takes from its start to the last acknowledged recovery.
//!
//! `EVENTS` and `IN_FLIGHT` name other numbers; the limit is meant for these. `REQUESTS=1` has HTTP requests that nobody answers
//! in flight instead of commands: they take one descriptor each, not four. `LEASE=SECONDS` measures what another machine
//! would need: the lock of the dead engine is taken away, so that its lease has to run out.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/history.rs"]
mod history;
#[path = "../tests/support/show.rs"]
mod show;

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use history::Histories;
use testledger::event_store::SharedLog;
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger::views::projections::{Name, Projections};
use testledger_schemas::commit::Commit;
use testledger_schemas::{Event, Hash};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

/// So many events stand in the log.
const EVENTS: u64 = 1_000_000;
/// So many executions are in flight.
const IN_FLIGHT: usize = 1_000;
/// From the start of `recover` to the last recovery, in seconds.
const LIMIT: f64 = 10.0;
/// What the events are drawn from.
const SEED: u64 = 20_261_127;
/// So many executions are appended at once while the log is filled.
const AT_ONCE: usize = 256;
/// No more run at once, whatever the setting.
const MAX_CONCURRENT: usize = 10_000;
/// A matrix has no more cells.
const MATRIX: usize = 1_000;
/// Longer than anything here may take.
const HANG: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let events = number("EVENTS").unwrap_or(EVENTS);
    let in_flight = number("IN_FLIGHT").map_or(IN_FLIGHT, |number| usize::try_from(number).unwrap());
    let lease = number("LEASE");
    let by_requests = number("REQUESTS").is_some();
    let mut show = show::Show::new(Some(SEED));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure(&mut show, events, in_flight, lease, by_requests));
    show.end()
}

async fn measure(show: &mut show::Show, events: u64, in_flight: usize, lease: Option<u64>, by_requests: bool) {
    let fresh = test_servers::fresh_database().await.unwrap();
    let store = MongoStore::connect(MongoAddress::parse(fresh.uri()).await.unwrap()).await.unwrap();
    let database = store.database();
    let log: SharedLog = MongoLog::open(store).await.unwrap();
    fill(&log, events).await;
    let projections = Projections::mongodb(log.clone(), &database).await.unwrap();
    projections.catch_up(&[Name::Executions]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let silent = if by_requests { Some(Silent::start().await) } else { None };
    let place = Place { folder: folder.path(), store: fresh.uri().to_owned(), in_flight, lease, silent };
    let before = log.last_page().await.unwrap().number;
    place.plan();
    let mut engine = place.start(&["run", "plan.yaml"]);
    until("everything is in flight", || place.running() >= in_flight);
    engine.kill().unwrap();
    engine.wait().unwrap();
    until("the dead engine's processes are gone", || place.running() == 0);
    if lease.is_some() {
        // As on another machine: nothing proves that it is dead.
        std::fs::remove_dir_all(folder.path().join(".local/state/testledger/workers")).unwrap();
    }
    let (began, began_at) = (Instant::now(), std::time::SystemTime::now());
    let wait = format!("{}s", lease.unwrap_or(0) * 3);
    let mut recover = place.start(&["recover", "--wait", &wait]);
    until("everything runs again", || place.running() >= in_flight);
    let running_again = began.elapsed();
    let last = last_recovery(&log, before, in_flight + 1).await;
    let began_at = began_at.duration_since(std::time::UNIX_EPOCH).unwrap();
    let took = (last as f64 - began_at.as_millis() as f64) / 1000.0;
    let name = |what: &str| match lease {
        None if by_requests => format!("recovery_time_{in_flight}_requests_{what}"),
        None => format!("recovery_time_{in_flight}_{what}"),
        Some(lease) => format!("recovery_time_{in_flight}_lease_{lease}s_{what}"),
    };
    let is_measured = in_flight == IN_FLIGHT && lease.is_none() && !by_requests;
    let limit = if is_measured { format!("<={LIMIT}") } else { "reported".to_owned() };
    show.figure(&name("last_recovery_s"), format!("{took:.2}"), limit, !is_measured || took <= LIMIT);
    show.figure(&name("all_run_again_s"), format!("{:.2}", running_again.as_secs_f64()), "reported", true);
    show.figure(&name("events_in_log"), events, "reported", true);
    recover.kill().unwrap();
    recover.wait().unwrap();
    until("all processes are gone", || place.running() == 0);
    log.close().await;
}

/// Appends executions until there are so many events.
async fn fill(log: &SharedLog, events: u64) {
    let (mut histories, mut written, mut executions): (_, u64, Vec<Vec<Commit>>) =
        (Histories::new(SEED, Hash::of(b"plan")), 0, vec![]);
    while written < events {
        let commits = histories.load(executions.len() as u64);
        written += commits.iter().map(|commit| commit.events.len() as u64).sum::<u64>();
        executions.push(commits);
    }
    let append = |commits: Vec<Commit>| {
        let log = Arc::clone(log);
        async move {
            for commit in commits {
                log.append(commit).await.unwrap();
            }
        }
    };
    stream::iter(executions).for_each_concurrent(AT_ONCE, append).await;
    log.head().wait_for(|head| *head >= written).await.unwrap();
}

/// When the last of so many recoveries was recorded, in milliseconds since 1970.
async fn last_recovery(log: &SharedLog, after_page: u64, wanted: usize) -> i64 {
    let began = Instant::now();
    loop {
        let (mut page, mut found, mut last) = (after_page + 1, 0, 0);
        loop {
            let pages = log.read_pages(page, 100).await.unwrap();
            let Some(end) = pages.last() else { break };
            page = end.number + 1;
            let ids: Vec<_> = pages.iter().flat_map(|page| &page.entries).map(|entry| entry.commit).collect();
            for commit in log.read_commits(&ids).await.unwrap().into_iter().flatten() {
                let is_recovery = |event: &Event| matches!(event, Event::ExecutionRecovered(_));
                if commit.events.iter().any(|event| event.read().is_ok_and(|event| is_recovery(&event))) {
                    found += 1;
                    last = last.max(commit.recorded_at.unix_ms());
                }
            }
        }
        if found >= wanted {
            return last;
        }
        assert!(began.elapsed() < HANG, "{found} of {wanted} recoveries");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

struct Place<'a> {
    folder: &'a Path,
    store: String,
    in_flight: usize,
    lease: Option<u64>,
    silent: Option<Silent>,
}

/// A server that takes requests and never answers.
struct Silent {
    port: u16,
    waiting: Arc<AtomicUsize>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpSocket::new_v4().unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listener.listen(4096).unwrap();
        let (port, waiting) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    let mut bytes = [0; 1024];
                    while connection.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, waiting }
    }
}

impl Place<'_> {
    fn plan(&self) {
        let mut plan = "suite: flight\ncases:\n".to_owned();
        let all: Vec<usize> = (0..self.in_flight).collect();
        for (number, cells) in all.chunks(MATRIX).enumerate() {
            let action = match &self.silent {
                Some(silent) => format!("http: {{ method: GET, url: \"http://127.0.0.1:{}/\" }}", silent.port),
                None => "run: [sleep, \"3607\"]".to_owned(),
            };
            let steps = format!("steps: [{{ id: s, {action}, timeout: 2h }}]");
            plan += &format!("  - {{ id: part{number}, matrix: {{ n: {cells:?} }}, {steps} }}\n");
        }
        std::fs::write(self.folder.join("plan.yaml"), plan).unwrap();
    }

    fn start(&self, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testledger"));
        command.args(args).current_dir(self.folder).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.folder);
        let number = (self.in_flight + 100).min(MAX_CONCURRENT).to_string();
        command.env("TESTLEDGER_STORE", &self.store).env("TESTLEDGER_MAX_CONCURRENT", &number);
        command.env("TESTLEDGER_JOBS", &number);
        if let Some(lease) = self.lease {
            command.env("TESTLEDGER_LEASE", format!("{lease}s"));
        }
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("output.txt")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    }

    /// How many of the commands run, or of the requests are waiting.
    fn running(&self) -> usize {
        if let Some(silent) = &self.silent {
            return silent.waiting.load(Ordering::SeqCst);
        }
        let numbers =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_ours =
            |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x003607\x00");
        numbers.filter(is_ours).count()
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < HANG, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
