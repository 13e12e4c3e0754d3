//! The adapters under contract: each gives handles on one log of its own, as several processes would have them.

use std::future::Future;
use std::sync::Arc;

use test_servers::FreshDatabase;
use testledger::event_store::SharedLog;
use testledger::event_store::faults::Faults;
use testledger::event_store::memory::MemoryLog;
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger::event_store::sqlite::SqliteLog;

/// One log of one adapter.
pub enum Adapter {
    /// A file in a folder of its own.
    Sqlite(tempfile::TempDir),
    /// A database of its own.
    Mongodb(FreshDatabase),
    /// Data in memory.
    Memory(Arc<MemoryLog>),
}

impl Adapter {
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub fn mongodb() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        Self::Mongodb(runtime.block_on(test_servers::fresh_database()).unwrap())
    }

    pub fn memory() -> Self {
        // Slow and repeating itself, as the change stream of a server may be; lost answers have tests of their own.
        let faults = Faults { seed: 7, slow_ms: 2, duplicate_delivery: 200, ..Faults::none() };
        Self::Memory(MemoryLog::with_faults(faults))
    }

    /// A handle on the log, as a process of its own would open it.
    pub async fn open(&self) -> SharedLog {
        match self {
            Self::Sqlite(folder) => SqliteLog::open(&folder.path().join("new/ledger.db")).await.unwrap(),
            Self::Mongodb(database) => {
                let address = MongoAddress::parse(database.uri()).await.unwrap();
                MongoLog::open(MongoStore::connect(address).await.unwrap()).await.unwrap()
            }
            Self::Memory(log) => {
                log.reopen_with_faults(Faults { seed: 8, slow_ms: 2, duplicate_delivery: 200, ..Faults::none() })
            }
        }
    }
}

/// Runs a test on real time and several threads.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(crate::support::HANG, test).await.expect("hangs") });
}

/// Declares each async test once for every adapter.
macro_rules! contract {
    ($($(#[$doc:meta])* async fn $name:ident($adapter:ident: &Adapter) $body:block)*) => {
        $($(#[$doc])* async fn $name($adapter: &Adapter) $body)*

        mod sqlite {
            $(#[test] fn $name() { super::adapters::run(super::$name(&super::Adapter::sqlite())); })*
        }
        mod mongodb {
            $(#[test] fn $name() { super::adapters::run(super::$name(&super::Adapter::mongodb())); })*
        }
        mod memory {
            $(#[test] fn $name() { super::adapters::run(super::$name(&super::Adapter::memory())); })*
        }
    };
}
pub(crate) use contract;
