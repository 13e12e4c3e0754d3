//! A database of its own on a real MongoDB, for whoever looks at the log through the driver as well.
#![allow(dead_code, reason = "each test and bench uses its part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use mongodb::Client;
use mongodb::bson::serde_helpers::HumanReadable;
use mongodb::bson::{RawDocumentBuf, serialize_to_raw_document_buf};
use test_servers::FreshDatabase;
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger_schemas::commit::Commit;

/// A database, and a client of its own for it.
pub struct Place {
    pub address: String,
    pub name: String,
    pub client: Client,
    _fresh: Option<FreshDatabase>,
}

/// A new database on the server that the tests share; dropped with this value.
pub async fn database() -> Place {
    let fresh = test_servers::fresh_database().await.unwrap();
    let place = at(fresh.uri().to_owned(), fresh.name().to_owned()).await;
    Place { _fresh: Some(fresh), ..place }
}

/// A database at an address.
pub async fn at(address: String, name: String) -> Place {
    let client = Client::with_uri_str(&address).await.unwrap();
    Place { address, name, client, _fresh: None }
}

impl Place {
    /// A handle on the log, as a process of its own would open it.
    pub async fn open(&self) -> Arc<MongoLog> {
        open(&self.address).await
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
