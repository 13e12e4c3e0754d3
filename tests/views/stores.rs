//! The stores of views under contract: each gives handles on one set of views, as several processes would have them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use testledger::event_store::SharedLog;
use testledger::event_store::memory::MemoryLog;
use testledger::event_store::sqlite::SqliteLog;
use testledger::views::Views;
use testledger::views::mongodb::{MongoLeases, MongoViews};
use testledger::views::query::{ExecutionFilter, ExecutionStore};
use testledger::views::sqlite::{SqliteLeases, SqliteViews};
use testledger_projections::executions::{ExecutionView, Executions};
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{Lease, Leases, ViewStoreError};
use testledger_schemas::ExecutionId;
use testledger_schemas::Timestamp;
use testledger_schemas::commit::Commit;

use crate::mongodb_server::{TestDatabase, fresh_database};

/// A test that waits so long hangs: never a measure of speed.
const HANG: Duration = Duration::from_secs(240);

pub type Every = BTreeMap<ExecutionId, ExecutionView>;

/// A log, and views in one kind of store beside it.
pub struct Ledger {
    pub log: SharedLog,
    pub kind: Kind,
    in_memory: Arc<InMemory>,
}

/// Leases for views in memory: no program shares those, but the worker wants some.
#[derive(Default)]
pub struct InMemory(Mutex<BTreeMap<String, (String, Instant)>>);

#[async_trait]
impl Leases for InMemory {
    async fn take(&self, projection: &str, holder: &str, duration: Duration) -> Result<bool, ViewStoreError> {
        let mut all = self.0.lock().unwrap();
        let is_free = all.get(projection).is_none_or(|(other, until)| other == holder || *until <= Instant::now());
        if is_free {
            all.insert(projection.to_owned(), (holder.to_owned(), Instant::now() + duration));
        }
        Ok(is_free)
    }

    async fn give_up(&self, projection: &str, holder: &str) -> Result<(), ViewStoreError> {
        self.0.lock().unwrap().retain(|name, (other, _)| name != projection || other != holder);
        Ok(())
    }

    async fn current(&self, projection: &str) -> Result<Option<Lease>, ViewStoreError> {
        let all = self.0.lock().unwrap();
        let held = all.get(projection).filter(|(_, until)| *until > Instant::now());
        Ok(held.map(|(holder, _)| Lease { holder: holder.clone(), until: Timestamp::default() }))
    }
}

/// Where the views are.
pub enum Kind {
    Sqlite(tempfile::TempDir),
    Memory(Arc<MemoryViews<Executions>>),
    Mongodb(TestDatabase),
}

impl Ledger {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&folder.path().join("ledger.db")).await.unwrap();
        Self { log, kind: Kind::Sqlite(folder), in_memory: Arc::default() }
    }

    pub async fn memory() -> Self {
        Self { log: MemoryLog::new(), kind: Kind::Memory(Arc::default()), in_memory: Arc::default() }
    }

    pub async fn mongodb() -> Self {
        Self { log: MemoryLog::new(), kind: Kind::Mongodb(fresh_database().await), in_memory: Arc::default() }
    }

    /// A new one of the same kind.
    pub async fn another(&self) -> Self {
        match &self.kind {
            Kind::Sqlite(_) => Self::sqlite().await,
            Kind::Memory(_) => Self::memory().await,
            Kind::Mongodb(_) => Self::mongodb().await,
        }
    }

    /// A handle on the store, as a process of its own would open it.
    pub async fn store(&self) -> Arc<dyn ExecutionStore> {
        match &self.kind {
            Kind::Sqlite(folder) => SqliteViews::<Executions>::open(&path(folder)).await.unwrap(),
            Kind::Memory(store) => store.clone(),
            Kind::Mongodb(server) => MongoViews::<Executions>::open(&server.database).await.unwrap(),
        }
    }

    /// The leases, as a process of its own would open them.
    pub async fn leases(&self) -> Arc<dyn Leases> {
        match &self.kind {
            Kind::Sqlite(folder) => SqliteLeases::open(&path(folder)).await.unwrap(),
            Kind::Memory(_) => Arc::clone(&self.in_memory) as Arc<dyn Leases>,
            Kind::Mongodb(server) => MongoLeases::new(&server.database),
        }
    }

    /// A handle on the views, through the constructors that the program uses.
    pub async fn views(&self) -> Views {
        match &self.kind {
            Kind::Sqlite(folder) => Views::sqlite(self.log.clone(), &path(folder)).await.unwrap(),
            Kind::Memory(store) => Views::over(self.log.clone(), store.clone()),
            Kind::Mongodb(server) => Views::mongodb(self.log.clone(), &server.database).await.unwrap(),
        }
    }

    /// Appends, and waits until every event has its position.
    pub async fn append(&self, commits: &[Commit]) {
        append(&self.log, commits).await;
        settled(&self.log, count(commits)).await;
    }

    /// Appends after `before`, and waits until every event has its position.
    pub async fn append_more(&self, commits: &[Commit], before: &[Commit]) {
        append(&self.log, commits).await;
        settled(&self.log, count(before) + count(commits)).await;
    }
}

fn path(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("ledger.db")
}

pub async fn append(log: &SharedLog, commits: &[Commit]) {
    for commit in commits {
        log.append(commit.clone()).await.unwrap();
    }
}

/// Waits until the log has given every event its position (in memory a sequencer comes behind).
pub async fn settled(log: &SharedLog, events: u64) {
    let mut head = log.head();
    tokio::time::timeout(HANG, head.wait_for(|head| *head >= events)).await.unwrap().unwrap();
}

pub fn count(commits: &[Commit]) -> u64 {
    commits.iter().map(|commit| commit.events.len() as u64).sum()
}

/// The views that a fold from the first event gives.
pub async fn replay(log: &SharedLog) -> Every {
    let store = Arc::new(MemoryViews::<Executions>::default());
    Views::over(log.clone(), store.clone()).catch_up(None).await.unwrap();
    store.all()
}

/// All views, page by page.
pub async fn all_of(views: &Views) -> Every {
    let (mut all, mut filter) = (BTreeMap::new(), ExecutionFilter { limit: 7, ..ExecutionFilter::default() });
    loop {
        let page = views.list(&filter).await.unwrap();
        all.extend(page.executions.into_iter().map(|view| (view.id, view)));
        filter.after = page.next;
        if filter.after.is_none() {
            return all;
        }
    }
}

/// Runs a test on real time and several threads.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(HANG, test).await.expect("hangs") });
}

/// Declares each async test once for every store.
macro_rules! contract {
    ($($(#[$doc:meta])* async fn $name:ident($ledger:ident: &Ledger) $body:block)*) => {
        $($(#[$doc])* async fn $name($ledger: &Ledger) $body)*

        mod sqlite {
            $(#[test] fn $name() {
                use crate::stores::{Ledger, run};
                run(async { super::$name(&Ledger::sqlite().await).await });
            })*
        }
        mod memory {
            $(#[test] fn $name() {
                use crate::stores::{Ledger, run};
                run(async { super::$name(&Ledger::memory().await).await });
            })*
        }
        mod mongodb {
            $(#[test] fn $name() {
                use crate::stores::{Ledger, run};
                run(async { super::$name(&Ledger::mongodb().await).await });
            })*
        }
    };
}
pub(crate) use contract;
