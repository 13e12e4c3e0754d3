//! The server that ordinary tests share, and a database of its own for each of them.

use std::env;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::doc;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::error::{Error, Result, driver};
use crate::replica_set::ReplicaSet;
use crate::uri;

/// The environment variable with the address of the server that tests share, such as
/// `mongodb://127.0.0.1:27017/?replicaSet=rs0`. A database in it is replaced by those of the tests.
pub const VARIABLE: &str = "TESTLEDGER_TEST_MONGODB";
/// How long the shared server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The private server of this process, as long as somebody uses it.
static PRIVATE: Mutex<Weak<ReplicaSet>> = Mutex::const_new(Weak::new());

/// A server that tests share. Hold it while you use its address.
#[derive(Clone, Debug)]
pub struct SharedServer {
    base: String,
    private: Option<Arc<ReplicaSet>>,
}

impl SharedServer {
    /// The address of a database on it.
    ///
    /// # Errors
    /// `TESTLEDGER_TEST_MONGODB` is no address.
    pub fn uri(&self, database: &str) -> Result<String> {
        uri::with_database(&self.base, database)
    }
}

/// The server that `TESTLEDGER_TEST_MONGODB` names, as `make test` does. Without it, one of this process, which is
/// started at the first call and ends with the last value that refers to it: so a single test target can be run by
/// itself, too.
///
/// # Errors
/// The named server does not answer, or none can be started.
pub async fn shared() -> Result<SharedServer> {
    if let Some(base) = env::var(VARIABLE).ok().filter(|base| !base.is_empty()) {
        check(&base).await?;
        return Ok(SharedServer { base, private: None });
    }
    let mut private = PRIVATE.lock().await;
    let set = match private.upgrade() {
        Some(set) => set,
        None => Arc::new(ReplicaSet::start(1).await?),
    };
    *private = Arc::downgrade(&set);
    Ok(SharedServer { base: set.uri(""), private: Some(set) })
}

async fn check(base: &str) -> Result<()> {
    let address = uri::with_database(base, "admin")?;
    let refused = |error: String| {
        Error::Refused(format!(
            "{VARIABLE} names {base}, which does not answer ({error}): run `make test`, or `make services-up` and export \
             what it prints, or unset the variable to let each test process start a server of its own"
        ))
    };
    let client = Client::with_uri_str(&address).await.map_err(|error| refused(error.to_string()))?;
    let answer = tokio::time::timeout(PATIENCE, client.database("admin").run_command(doc! { "ping": 1 })).await;
    client.shutdown().immediate(true).await;
    match answer {
        Ok(answer) => answer.map(drop).map_err(|error| refused(error.to_string())),
        Err(_) => Err(refused(format!("not within {PATIENCE:?}"))),
    }
}

/// A database that nobody else uses, on the server that tests share. It is dropped with this value.
#[derive(Debug)]
pub struct FreshDatabase {
    name: String,
    uri: String,
    server: SharedServer,
}

/// A new, empty database on the [`shared`] server.
///
/// # Errors
/// There is no server to have it on.
pub async fn fresh_database() -> Result<FreshDatabase> {
    let server = shared().await?;
    let name = format!("tl_{}", Uuid::new_v4().simple());
    let uri = server.uri(&name)?;
    Ok(FreshDatabase { name, uri, server })
}

impl FreshDatabase {
    /// Its name: `tl_` and 32 hexadecimal digits.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, with the options of the server's.
    pub fn uri(&self) -> &str {
        &self.uri
    }
}

impl Drop for FreshDatabase {
    fn drop(&mut self) {
        // A private server goes with its data.
        if self.server.private.is_some() {
            return;
        }
        // A runtime of its own, on a thread of its own: that of the test may be ending, and cannot be blocked on.
        let (uri, name) = (self.uri.clone(), self.name.clone());
        let dropped = thread::spawn(move || drop_database(&uri, &name)).join();
        if let Ok(Err(error)) = dropped {
            eprintln!("the database {} stays on the shared server: {error}", self.name);
        }
    }
}

fn drop_database(uri: &str, name: &str) -> Result<()> {
    let what = format!("drop the database {name}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(crate::error::io(what.clone()))?;
    runtime.block_on(async {
        let client = Client::with_uri_str(uri).await.map_err(driver(what.clone()))?;
        let dropped = tokio::time::timeout(PATIENCE, client.database(name).drop()).await;
        client.shutdown().immediate(true).await;
        dropped.map_err(|_| Error::Late { what: what.clone(), patience: PATIENCE })?.map_err(driver(what))
    })
}
