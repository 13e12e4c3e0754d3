//! A database of its own for each test, on a MongoDB server that runs.
#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::time::Duration;

use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

/// Where the tests find a replica set, such as `mongodb://127.0.0.1:27017/?replicaSet=rs0`.
const SERVER: &str = "TESTLEDGER_TEST_MONGODB";
/// How long a test waits for a server that does not answer.
const SELECTION: Duration = Duration::from_secs(20);

/// A database that is dropped with this, also where the test fails.
pub struct TestDatabase {
    pub database: Database,
}

/// An empty database that no other test uses.
pub async fn fresh_database() -> TestDatabase {
    let client = Client::with_options(options().await).unwrap();
    let database = client.database(&format!("test_{}", uuid::Uuid::now_v7().simple()));
    TestDatabase { database }
}

/// The server's options, for a client of its own.
pub async fn options() -> ClientOptions {
    let uri = std::env::var(SERVER).unwrap_or_else(|_| panic!("set {SERVER} to the URI of a MongoDB replica set"));
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(SELECTION);
    options
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = self.database.name().to_owned();
        // A runtime and a client of its own: those of the test may be ending.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::with_options(options().await).unwrap();
                client.database(&name).drop().await.unwrap();
            });
        });
        dropping.join().unwrap();
    }
}
