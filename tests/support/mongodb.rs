//! A database of its own for each test, on a MongoDB server that runs.

use std::time::Duration;

use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use test_servers::FreshDatabase;

/// How long a test waits for a server that does not answer.
const SELECTION: Duration = Duration::from_secs(20);

/// A database that is dropped with this, also where the test fails.
pub struct TestDatabase {
    pub database: Database,
    fresh: FreshDatabase,
}

/// An empty database that no other test uses.
pub async fn fresh_database() -> TestDatabase {
    let fresh = test_servers::fresh_database().await.unwrap();
    let client = Client::with_options(options(fresh.uri()).await).unwrap();
    TestDatabase { database: client.database(fresh.name()), fresh }
}

impl TestDatabase {
    /// The server's options, for a client of its own.
    pub async fn options(&self) -> ClientOptions {
        options(self.fresh.uri()).await
    }
}

async fn options(uri: &str) -> ClientOptions {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(SELECTION);
    options
}
