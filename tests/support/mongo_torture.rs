//! Several writers and sequencers on one replica set of three nodes, while primaries, writers and sequencers are killed;
//! then everything is compared with what each writer wrote into a synced ledger after each acknowledgement, and with what
//! a subscriber saw.
#![allow(dead_code, reason = "the test and the show use their part of it")]

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use test_servers::ReplicaSet;
use testledger::event_store::mongodb::MongoLog;
use testledger::event_store::subscription::Subscription;
use testledger::event_store::{AppendError, EventLog, StoreError};
use testledger::ports::ids::{Ids, RandomIds, SeededIds};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::StreamId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::mongo;
use crate::support::{HANG, commit};

#[path = "whole.rs"]
mod whole;
use whole::whole;

/// The first argument of a child that appends.
pub const WRITER: &str = "mongo-writer";
/// The first argument of a child that only sequences.
pub const SEQUENCER: &str = "mongo-sequencer";
/// So many writers.
pub const WRITERS: usize = 4;
/// So many processes that only sequence.
const SEQUENCERS: usize = 2;
/// So many tasks append in each writer, each to a stream of its own.
const APPENDERS: usize = 8;
/// How often a task appends at the most: all writers together some five hundred times a second.
const PACE: Duration = Duration::from_millis(60);
/// After so many commits a task begins a new stream.
const STREAM_LENGTH: u64 = 200;
/// How long a writer sends the same commit again until it gives up.
const PATIENCE: Duration = Duration::from_secs(90);
/// So many acknowledged appends lie between two kills of primaries at the least.
const BETWEEN_KILLS: usize = 1_000;
/// How long secondaries stand still: longer than a majority is waited for.
const STALL: Duration = Duration::from_secs(12);
/// How long everything may take to get its place in the end.
const SETTLE: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Clone, Copy)]
pub struct Torture {
    pub seed: u64,
    /// How long at the least.
    pub lasts: Duration,
    pub primary_kills: usize,
    pub writer_kills: usize,
    pub sequencer_kills: usize,
    /// How often both secondaries stand still until nobody knows what became of appends.
    pub stalls: usize,
}

/// What was found in the end.
pub struct Findings {
    pub primary_kills: usize,
    pub writer_kills: usize,
    pub sequencer_kills: usize,
    pub took: Duration,
    pub acknowledged: usize,
    /// Of all that was acknowledged, in percent: the writer with the fewest.
    pub least_share: f64,
    pub between_kills: usize,
    pub unknown_outcomes: usize,
    pub stored: usize,
    pub lost: usize,
    pub changed: usize,
    pub doubled: usize,
    pub flagged: usize,
    pub broken_pages: usize,
    pub positions: u64,
    pub events: u64,
    /// Positions that the subscriber saw twice, out of order, or not at all.
    pub seen_wrong: u64,
    pub longest_gap: Duration,
}

/// The child: appends until its standard input ends. Arguments: address, ledger.
pub fn writer_main(args: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let log = mongo::open(&args[0]).await;
        let (note, notes) = mpsc::unbounded_channel();
        let ledger = tokio::task::spawn_blocking({
            let path = PathBuf::from(&args[1]);
            move || keep_ledger(&path, notes)
        });
        let stop = CancellationToken::new();
        let tasks = (0..APPENDERS).map(|_| tokio::spawn(append_until(Arc::clone(&log), note.clone(), stop.clone())));
        let tasks = tasks.collect::<Vec<_>>();
        drop(note);
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        stop.cancel();
        for task in tasks {
            task.await.unwrap();
        }
        ledger.await.unwrap();
        log.close().await;
    });
    ExitCode::SUCCESS
}

/// The child: only has the log open, until its standard input ends. Arguments: address.
pub fn sequencer_main(args: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let log = mongo::open(&args[0]).await;
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        log.close().await;
    });
    ExitCode::SUCCESS
}

/// What a writer notes: an acknowledged commit, or an outcome that was not known at first.
enum Note {
    Acknowledged(CommitId, Hash, u128),
    Unknown,
}

async fn append_until(log: Arc<MongoLog>, note: mpsc::UnboundedSender<Note>, stop: CancellationToken) {
    let mut own = StreamId::from(RandomIds.execution_id());
    let mut head = StreamHead::EMPTY;
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        pace.tick().await;
        let commit = commit(own, head, 1 + (head.number % 3) as usize);
        append(&log, &commit, &note).await;
        note.send(Note::Acknowledged(commit.id, commit.hash, now_ms())).unwrap();
        head = commit.head();
        if head.number >= STREAM_LENGTH {
            (own, head) = (RandomIds.execution_id().into(), StreamHead::EMPTY);
        }
    }
}

/// Sends the same bytes until it is known that they are there.
async fn append(log: &MongoLog, commit: &Commit, note: &mpsc::UnboundedSender<Note>) {
    let began = Instant::now();
    loop {
        match log.append(commit.clone()).await {
            Ok(()) => return,
            Err(AppendError::Store(StoreError::Unavailable(why))) => {
                note.send(Note::Unknown).unwrap();
                assert!(began.elapsed() < PATIENCE, "no outcome in time: {why}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// Writes what is noted, a line each, and syncs each group.
fn keep_ledger(path: &Path, mut notes: mpsc::UnboundedReceiver<Note>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let mut some = Vec::new();
    while notes.blocking_recv_many(&mut some, 1_000) > 0 {
        let mut text = String::new();
        for note in some.drain(..) {
            match note {
                Note::Acknowledged(id, hash, at) => text.push_str(&format!("{id} {hash} {at}\n")),
                Note::Unknown => text.push_str("unknown\n"),
            }
        }
        file.write_all(text.as_bytes()).unwrap();
        file.sync_data().unwrap();
    }
}

#[derive(Default)]
struct Ledger {
    acknowledged: Vec<(CommitId, Hash, u128)>,
    unknown: usize,
}

impl Ledger {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut ledger = Self::default();
        // A line without its end was being written when the process died; the next life began on that very line.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(id), Some(hash), Some(at)) => {
                    let (Ok(id), Ok(hash), Ok(at)) = (id.parse(), hash.parse(), at.parse()) else { continue };
                    ledger.acknowledged.push((id, hash, at));
                }
                _ => ledger.unknown += 1,
            }
        }
        ledger
    }
}

/// The processes, and where they write.
struct Processes {
    address: String,
    folder: PathBuf,
    writers: Vec<Child>,
    sequencers: Vec<Child>,
}

impl Processes {
    fn start(address: String, folder: &Path) -> Self {
        let mut all = Self { address, folder: folder.to_owned(), writers: vec![], sequencers: vec![] };
        all.sequencers = (0..SEQUENCERS).map(|_| all.sequencer()).collect();
        all.writers = (0..WRITERS).map(|writer| all.writer(writer)).collect();
        all
    }

    fn ledger(&self, writer: usize) -> PathBuf {
        self.folder.join(format!("writer-{writer}.txt"))
    }

    fn acknowledged(&self) -> usize {
        (0..WRITERS).map(|writer| Ledger::read(&self.ledger(writer)).acknowledged.len()).sum()
    }

    fn writer(&self, writer: usize) -> Child {
        child(&[WRITER, &self.address, self.ledger(writer).to_str().unwrap()])
    }

    fn sequencer(&self) -> Child {
        child(&[SEQUENCER, &self.address])
    }

    fn kill_writer(&mut self, which: usize) {
        kill(&mut self.writers[which]);
        self.writers[which] = self.writer(which);
    }

    fn kill_sequencer(&mut self, which: usize) {
        kill(&mut self.sequencers[which]);
        self.sequencers[which] = self.sequencer();
    }

    /// Lets all of them end well.
    fn end(&mut self) {
        for child in self.writers.iter_mut().chain(&mut self.sequencers) {
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success(), "a process ended badly");
        }
    }
}

fn child(args: &[&str]) -> Child {
    Command::new(std::env::current_exe().unwrap()).args(args).stdin(Stdio::piped()).spawn().unwrap()
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was killed while it worked");
}

/// What a subscriber saw: how many positions, and how many of them wrong.
async fn subscribe(address: String, stop: Arc<AtomicBool>) -> (u64, u64) {
    let log = mongo::open(&address).await;
    let mut pages = Subscription::from_page(&*log, 0);
    let (mut last, mut wrong) = (0, 0);
    loop {
        match pages.next(&*log).await {
            Ok(Some(page)) => {
                wrong += u64::from(page.first_position != last + 1);
                last = page.last_position();
            }
            Ok(None) if stop.load(Ordering::Relaxed) => break,
            Ok(None) => assert!(pages.more().await),
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
    log.close().await;
    (last, wrong)
}

/// Runs everything, and compares.
pub async fn torture(folder: &Path, torture: Torture) -> Findings {
    let mut set = ReplicaSet::start(3).await.unwrap();
    let address = set.uri("torture");
    drop(mongo::open(&address).await);
    let stop = Arc::new(AtomicBool::new(false));
    let subscriber = tokio::spawn(subscribe(address.clone(), Arc::clone(&stop)));
    let began = Instant::now();
    let mut processes = Processes::start(address.clone(), folder);
    let between_kills = break_things(&mut set, &mut processes, torture, began).await;
    tokio::task::block_in_place(|| processes.end());
    let took = began.elapsed();
    let ledgers: Vec<Ledger> = (0..WRITERS).map(|writer| Ledger::read(&processes.ledger(writer))).collect();
    let log = mongo::open(&address).await;
    settle(&log).await;
    stop.store(true, Ordering::Relaxed);
    let (seen, seen_wrong) = tokio::time::timeout(HANG, subscriber).await.expect("the subscriber hangs").unwrap();
    let whole = whole(&*log).await.unwrap();
    log.close().await;
    let acknowledged: Vec<_> = ledgers.iter().flat_map(|ledger| &ledger.acknowledged).collect();
    let count = |wrong: &dyn Fn(Option<&Hash>, &Hash) -> bool| {
        acknowledged.iter().filter(|(id, hash, _)| wrong(whole.places.get(id), hash)).count()
    };
    let least = ledgers.iter().map(|ledger| ledger.acknowledged.len()).min().unwrap_or(0);
    Findings {
        primary_kills: torture.primary_kills,
        writer_kills: torture.writer_kills,
        sequencer_kills: torture.sequencer_kills,
        took,
        acknowledged: acknowledged.len(),
        least_share: 100.0 * least as f64 / acknowledged.len().max(1) as f64,
        between_kills,
        unknown_outcomes: ledgers.iter().map(|ledger| ledger.unknown).sum(),
        stored: whole.stored,
        lost: count(&|stored, _| stored.is_none()) + whole.unplaced,
        changed: count(&|stored, hash| stored.is_some_and(|stored| stored != hash)) + whole.changed,
        doubled: whole.doubled,
        flagged: whole.flagged,
        broken_pages: whole.broken_pages,
        positions: whole.positions,
        events: whole.events,
        seen_wrong: seen_wrong + seen.abs_diff(whole.positions),
        longest_gap: longest_gap(&acknowledged),
    }
}

/// Kills on a schedule that the seed draws. Gives the least number of appends between two kills of primaries.
async fn break_things(set: &mut ReplicaSet, processes: &mut Processes, torture: Torture, began: Instant) -> usize {
    let dice = SeededIds::new(torture.seed);
    let below = |bound: usize| (dice.random() >> 64) as usize % bound.max(1);
    let kinds =
        [(0, torture.primary_kills), (1, torture.writer_kills), (2, torture.sequencer_kills), (3, torture.stalls)];
    let mut due: Vec<u8> = kinds.into_iter().flat_map(|(kind, times)| std::iter::repeat_n(kind, times)).collect();
    for at in (1..due.len()).rev() {
        due.swap(at, below(at + 1));
    }
    let step = torture.lasts / u32::try_from(due.len() + 1).unwrap();
    let (mut next_writer, mut next_sequencer, mut at_last_kill, mut least) = (0, 0, 0, usize::MAX);
    until(|| processes.acknowledged() >= BETWEEN_KILLS).await;
    for (number, kind) in due.into_iter().enumerate() {
        let at = step * u32::try_from(number).unwrap() + step.mul_f64(below(1000) as f64 / 1000.0);
        tokio::time::sleep(at.saturating_sub(began.elapsed())).await;
        match kind {
            0 => {
                until(|| processes.acknowledged() >= at_last_kill + BETWEEN_KILLS).await;
                set.settle().await.unwrap();
                let acknowledged = processes.acknowledged();
                least = least.min(acknowledged - at_last_kill);
                at_last_kill = acknowledged;
                let killed = set.kill_primary().await.unwrap();
                tokio::time::sleep(Duration::from_millis(500 + below(4_000) as u64)).await;
                set.restart(killed).await.unwrap();
            }
            1 => {
                processes.kill_writer(next_writer);
                next_writer = (next_writer + 1) % WRITERS;
            }
            2 => {
                processes.kill_sequencer(next_sequencer);
                next_sequencer = (next_sequencer + 1) % SEQUENCERS;
            }
            _ => {
                set.settle().await.unwrap();
                let primary = set.primary().await.unwrap();
                let secondaries = (0..set.nodes().len()).filter(|node| *node != primary).collect::<Vec<_>>();
                secondaries.iter().for_each(|node| set.freeze(*node).unwrap());
                tokio::time::sleep(STALL).await;
                secondaries.iter().for_each(|node| set.thaw(*node).unwrap());
            }
        }
    }
    tokio::time::sleep(torture.lasts.saturating_sub(began.elapsed())).await;
    set.settle().await.unwrap();
    least
}

async fn until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < HANG, "the writers make no progress");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until nothing new gets a place any more and every stored commit has one.
async fn settle(log: &MongoLog) {
    let began = Instant::now();
    loop {
        let before = log.last_page().await.unwrap().number;
        tokio::time::sleep(Duration::from_secs(2)).await;
        if log.last_page().await.unwrap().number == before {
            return;
        }
        assert!(began.elapsed() < SETTLE, "pages are written without end");
    }
}

/// The longest time without any acknowledgement.
fn longest_gap(acknowledged: &[&(CommitId, Hash, u128)]) -> Duration {
    let mut times: Vec<u128> = acknowledged.iter().map(|(_, _, at)| *at).collect();
    times.sort_unstable();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    Duration::from_millis(u64::try_from(longest).unwrap())
}
