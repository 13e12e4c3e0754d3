//! A database of its own on a real MongoDB, for whoever looks at the log through the driver as well.
#![allow(dead_code, reason = "each test and bench uses its part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use mongodb::Client;
use mongodb::bson::serde_helpers::HumanReadable;
use mongodb::bson::{RawDocumentBuf, serialize_to_raw_document_buf};
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger_schemas::commit::Commit;

/// A database, and a client of its own for it.
pub struct Place {
    pub address: String,
    pub name: String,
    pub client: Client,
}

/// A new database on the server that the tests use.
pub async fn database() -> Place {
    let base = std::env::var("TESTLEDGER_TEST_MONGODB").unwrap();
    let name = format!("tl_{}", uuid::Uuid::new_v4().simple());
    let address = base.replacen("/?", &format!("/{name}?"), 1);
    at(address, name).await
}

/// A database at an address.
pub async fn at(address: String, name: String) -> Place {
    let client = Client::with_uri_str(&address).await.unwrap();
    Place { address, name, client }
}

impl Place {
    /// A handle on the log, as a process of its own would open it.
    pub async fn open(&self) -> Arc<MongoLog> {
        open(&self.address).await
    }

    pub async fn drop(self) {
        self.client.database(&self.name).drop().await.unwrap();
    }
}

/// A handle on the log at an address.
pub async fn open(address: &str) -> Arc<MongoLog> {
    let address = MongoAddress::parse(address).await.unwrap();
    MongoLog::open(MongoStore::connect(address).await.unwrap()).await.unwrap()
}

/// A commit as the log stores it.
pub fn document(commit: &Commit) -> RawDocumentBuf {
    serialize_to_raw_document_buf(&HumanReadable(commit)).unwrap()
}
