//! Commands to one server.

use std::net::SocketAddrV4;
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, ServerAddress};

use crate::deadline::Deadline;
use crate::error::{Error, Result, driver};
use crate::replica_set::{ANSWER_PATIENCE, REPLICA_SET};

/// Members that hear nothing of a primary for so long elect another, in milliseconds (10,000 is usual).
const ELECTION_TIMEOUT_MS: i32 = 2_000;
/// How often members hear of each other, in milliseconds (2,000 is usual).
const HEARTBEAT_MS: i32 = 500;
/// How long a member that gives no answer is waited for, in seconds (10 is usual).
const HEARTBEAT_TIMEOUT_S: i32 = 2;
/// How long an initiation may take.
const INITIATION_PATIENCE: Duration = Duration::from_secs(30);
/// What a server answers to an initiation that has been done.
const ALREADY_INITIALIZED: i32 = 23;

/// What the server at this place answers to an administrative command.
///
/// # Errors
/// It refuses, or does not answer in time.
pub(crate) async fn run(place: SocketAddrV4, command: Document, patience: Duration) -> Result<Document> {
    let name = command.keys().next().cloned().unwrap_or_default();
    let what = format!("`{name}` to the server at {place}");
    let client = client(place, patience).map_err(driver(what.clone()))?;
    // The client of a server that is frozen would wait for ever.
    let answer = tokio::time::timeout(patience, client.database("admin").run_command(command)).await;
    client.shutdown().immediate(true).await;
    match answer {
        Ok(answer) => answer.map_err(driver(what)),
        Err(_) => Err(Error::Late { what, patience }),
    }
}

/// A client of this server alone. It needs no runtime but the one it is made on, and dies with it: make one for each use.
pub(super) fn client(place: SocketAddrV4, patience: Duration) -> mongodb::error::Result<Client> {
    let options = ClientOptions::builder()
        .hosts(vec![ServerAddress::Tcp { host: place.ip().to_string(), port: Some(place.port()) }])
        .direct_connection(true)
        .connect_timeout(patience)
        .server_selection_timeout(patience)
        .build();
    Client::with_options(options)
}

/// Makes a replica set of the servers at these places. Nothing happens if it was one before.
///
/// # Errors
/// There is none, or the first refuses, or does not answer.
pub(crate) async fn initiate(places: &[SocketAddrV4], journaled_majority: bool) -> Result<()> {
    let first = places.first().ok_or_else(|| Error::Refused("a replica set has one node or more".to_owned()))?;
    let members = (0..).zip(places).map(|(id, place): (i32, _)| doc! { "_id": id, "host": place.to_string() });
    let configuration = doc! {
        "_id": REPLICA_SET,
        "members": members.map(Bson::from).collect::<Vec<_>>(),
        "writeConcernMajorityJournalDefault": journaled_majority,
        "settings": { "electionTimeoutMillis": ELECTION_TIMEOUT_MS, "heartbeatIntervalMillis": HEARTBEAT_MS, "heartbeatTimeoutSecs": HEARTBEAT_TIMEOUT_S },
    };
    match run(*first, doc! { "replSetInitiate": configuration }, INITIATION_PATIENCE).await {
        Err(Error::Driver { source, .. }) if code(&source) == Some(ALREADY_INITIALIZED) => Ok(()),
        other => other.map(drop),
    }
}

/// Waits until the only server of a replica set is its primary and takes writes.
///
/// # Errors
/// It does not become primary in time.
pub(crate) async fn wait_for_alone(place: SocketAddrV4, patience: Duration) -> Result<()> {
    let deadline = Deadline::after(patience);
    while !takes_writes(place, ANSWER_PATIENCE).await {
        deadline.pause("a primary that takes writes").await?;
    }
    Ok(())
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(refused) => Some(refused.code),
        _ => None,
    }
}

/// Whether a majority acknowledges a write to this server. The write is a note in the oplog: it touches no collection.
pub(super) async fn takes_writes(place: SocketAddrV4, patience: Duration) -> bool {
    let patience_ms = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
    let concern = doc! { "w": "majority", "wtimeout": patience_ms };
    let note = doc! { "appendOplogNote": 1, "data": { "test": "servers" }, "writeConcern": concern };
    let answer = run(place, note, patience * 2).await;
    answer.is_ok_and(|answer| !answer.contains_key("writeConcernError"))
}
