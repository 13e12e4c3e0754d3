//! Tasks that append as engines do: the same bytes again and again until it is known that they are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testledger::event_store::mongodb::MongoLog;
use testledger::event_store::{AppendError, EventLog, StoreError};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use crate::support::{commit, stream};

/// The pause before the same bytes are sent again.
const AGAIN: Duration = Duration::from_millis(50);

/// What was acknowledged.
#[derive(Default)]
pub struct Acknowledged {
    pub commits: Vec<(CommitId, Hash)>,
    /// How often an outcome was not known at first.
    pub unknown: usize,
}

impl Acknowledged {
    pub fn add(&mut self, commit: &Commit) {
        self.commits.push((commit.id, commit.hash));
    }

    pub fn extend(&mut self, other: Self) {
        self.commits.extend(other.commits);
        self.unknown += other.unknown;
    }
}

/// Sends the same bytes until it is known that they are there. Gives how often that was not known.
pub async fn append(log: &MongoLog, commit: &Commit) -> usize {
    let (began, mut unknown) = (Instant::now(), 0);
    loop {
        match log.append(commit.clone()).await {
            Ok(()) => return unknown,
            Err(AppendError::Store(StoreError::Unavailable(why))) => {
                unknown += 1;
                assert!(began.elapsed() < PATIENCE, "no outcome in time: {why}");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => panic!("{}: {error}", commit.id),
        }
    }
}

/// Tasks that append until they are told to end.
pub struct Appenders {
    tasks: Vec<JoinHandle<Acknowledged>>,
    count: Arc<AtomicUsize>,
    gate: Arc<RwLock<()>>,
    stop: CancellationToken,
}

impl Appenders {
    /// Starts `each` tasks on every handle; each appends to a stream of its own, the first of which has number `first`.
    pub fn start(logs: &[Arc<MongoLog>], each: u64, first: u64, pace: Duration) -> Self {
        let mut all =
            Self { tasks: vec![], count: Arc::default(), gate: Arc::default(), stop: CancellationToken::new() };
        let handles = logs.iter().flat_map(|log| std::iter::repeat_n(log, usize::try_from(each).unwrap()));
        for (number, log) in (first..).zip(handles) {
            let (count, gate, stop) = (Arc::clone(&all.count), Arc::clone(&all.gate), all.stop.clone());
            all.tasks.push(tokio::spawn(append_until(Arc::clone(log), number, pace, count, gate, stop)));
        }
        all
    }

    /// How many appends were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until so many more are acknowledged.
    pub async fn until_more(&self, more: usize) {
        let due = self.acknowledged() + more;
        super::until("appends are acknowledged", || async { self.acknowledged() >= due }).await;
    }

    /// No append is on its way as long as this is held.
    pub async fn hold(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// Ends all of them.
    pub async fn end(self) -> Acknowledged {
        self.stop.cancel();
        let mut all = Acknowledged::default();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all
    }
}

async fn append_until(
    log: Arc<MongoLog>,
    number: u64,
    pace: Duration,
    count: Arc<AtomicUsize>,
    gate: Arc<RwLock<()>>,
    stop: CancellationToken,
) -> Acknowledged {
    let (own, mut head, mut acknowledged) = (stream(number), StreamHead::EMPTY, Acknowledged::default());
    while !stop.is_cancelled() {
        let commit = commit(own, head, 1 + (head.number % 3) as usize);
        acknowledged.unknown += gated(&log, &commit, &gate).await;
        count.fetch_add(1, Ordering::Relaxed);
        acknowledged.add(&commit);
        head = commit.head();
        tokio::time::sleep(pace).await;
    }
    acknowledged
}

/// As [`append`], each attempt under the gate.
async fn gated(log: &MongoLog, commit: &Commit, gate: &RwLock<()>) -> usize {
    let (began, mut unknown) = (Instant::now(), 0);
    loop {
        let answer = {
            let _open = gate.read().await;
            log.append(commit.clone()).await
        };
        match answer {
            Ok(()) => return unknown,
            Err(AppendError::Store(StoreError::Unavailable(why))) => {
                unknown += 1;
                assert!(began.elapsed() < PATIENCE, "no outcome in time: {why}");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => panic!("{}: {error}", commit.id),
        }
    }
}
