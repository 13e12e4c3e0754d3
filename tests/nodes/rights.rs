//! What a user may do with the log depends on what he may do with its database, and what he is told names the mend and
//! no password.

use std::sync::Arc;

use futures::future::join_all;
use libtest_mimic::Trial;
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger::event_store::{AppendError, EventLog, StoreError};
use testledger_schemas::commit::StreamHead;
use testledger_schemas::hash::Hash;

use crate::guarded::Guarded;
use crate::mongo_history::appending::Acknowledged;
use crate::mongo_history::{Found, until};
use crate::support::{append_many, commit, stream, until_position};
use crate::trial;

/// A password with everything that an address has a meaning for.
const PASSWORD: &str = "s3cr&t:p@ss/w?rd#%41é";
const DATABASE: &str = "log";
const MANY: usize = 20;
/// The mend of missing rights.
const MEND: &str = "give this user the role readWrite on the database";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("rights::to_read_and_write_one_database_are_enough_for_everything", enough()),
        trial("rights::to_read_are_enough_to_look", to_look()),
        trial("rights::that_are_missing_are_named", missing()),
    ]
}

/// A server with a user for each kind of rights on the database of the log.
async fn server() -> Guarded {
    let server = Guarded::start(PASSWORD).await;
    server.user(PASSWORD, "writer", PASSWORD, "readWrite", DATABASE).await;
    server.user(PASSWORD, "reader", PASSWORD, "read", DATABASE).await;
    server.user(PASSWORD, "stranger", PASSWORD, "readWrite", "elsewhere").await;
    server
}

async fn store(address: &str) -> Result<MongoStore, StoreError> {
    MongoStore::connect(MongoAddress::parse(address).await?).await
}

async fn open(address: &str) -> Result<Arc<MongoLog>, StoreError> {
    MongoLog::open(store(address).await?).await
}

fn is_told(error: &StoreError, mend: &str) {
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    says(error, mend);
}

/// The text has the mend, and nothing of the password, however written.
fn says(error: &dyn std::fmt::Display, mend: &str) {
    let text = error.to_string();
    assert!(text.contains(mend), "{text}");
    assert!(!text.contains("s3cr") && !text.contains("%73"), "{text}");
}

async fn enough() {
    let server = server().await;
    let log = open(&server.uri("writer", PASSWORD, DATABASE)).await.unwrap();
    let mut acknowledged = Acknowledged::default();
    append_many(&*log, stream(1), 5).await.iter().for_each(|commit| acknowledged.add(commit));
    until_position(&*log, 5).await;
    let hash = log.put_artifact(b"output".to_vec()).await.unwrap();
    assert_eq!(log.get_artifact(hash).await.unwrap().as_deref(), Some(&b"output"[..]));
    log.erase_artifacts(&[hash]).await.unwrap();
    log.close().await;
    // And once more, as the log is there.
    let log = open(&server.uri("writer", PASSWORD, DATABASE)).await.unwrap();
    append_many(&*log, stream(1), 5).await.iter().for_each(|commit| acknowledged.add(commit));
    Found::examine(&*log, acknowledged, 1).await.assert_sound();
    log.close().await;
}

async fn to_look() {
    let server = server().await;
    let reader = server.uri("reader", PASSWORD, DATABASE);
    assert!(MongoLog::open_existing(store(&reader).await.unwrap()).await.unwrap().is_none(), "there is no log yet");
    is_told(&open(&reader).await.map(drop).unwrap_err(), MEND);
    let writing = open(&server.uri("writer", PASSWORD, DATABASE)).await.unwrap();
    let commits = append_many(&*writing, stream(1), 3).await;
    until_position(&*writing, 3).await;
    let log = MongoLog::open_existing(store(&reader).await.unwrap()).await.unwrap().unwrap();
    assert_eq!(log.read_stream(stream(1), 0, 10).await.unwrap(), commits);
    assert_eq!(*log.head().borrow(), 3);
    // What comes later is seen, too; and nobody but the writer gives it its place.
    append_many(&*writing, stream(1), 3).await;
    until_position(&*log, 6).await;
    let next = commit(stream(2), StreamHead::EMPTY, 1);
    let Err(AppendError::Store(error)) = log.append(next.clone()).await else { panic!("it may only read") };
    is_told(&error, MEND);
    is_told(&log.put_artifact(b"output".to_vec()).await.unwrap_err(), MEND);
    is_told(&log.erase_artifacts(&[Hash::of(b"x")]).await.unwrap_err(), MEND);
    let erased = log.erase_content(commits[0].id, &[commits[0].events[0].event_id]).await;
    is_told(&erased.unwrap_err(), MEND);
    until("the log can still be read", || async { log.last_page().await.is_ok() }).await;
    log.close().await;
    writing.close().await;
}

async fn missing() {
    let server = server().await;
    is_told(&open(&server.uri("stranger", PASSWORD, DATABASE)).await.map(drop).unwrap_err(), MEND);
    let wrong = format!("{PASSWORD}!");
    let who = "check both, and authSource in the address";
    // Many at once, so that some hear of it by another connection of theirs.
    let wrong = server.uri("writer", &wrong, DATABASE);
    let errors = join_all((0..MANY).map(|_| open(&wrong))).await;
    errors.into_iter().for_each(|opened| is_told(&opened.map(drop).unwrap_err(), who));
    is_told(&open(&server.uri("nobody", PASSWORD, DATABASE)).await.map(drop).unwrap_err(), who);
    is_told(&open(&server.anonymous(DATABASE)).await.map(drop).unwrap_err(), "mongodb://USER:PASSWORD@HOST");
}
