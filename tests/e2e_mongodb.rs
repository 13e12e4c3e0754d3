//! End to end on MongoDB: the same tests as on SQLite, and those of what only a server can do. Every test has a folder
//! and a database of its own, on the server that tests share; those that break or secure a server start their own.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "e2e/cancelling.rs"]
mod cancelling;
#[path = "e2e/crashing.rs"]
mod crashing;
#[path = "e2e/events.rs"]
mod events;
#[path = "e2e/idempotency.rs"]
mod idempotency;
#[path = "e2e/mongodb/mod.rs"]
mod on_mongodb;
#[path = "e2e/output.rs"]
mod output;
#[path = "e2e/printed.rs"]
mod printed;
#[path = "e2e/projecting.rs"]
mod projecting;
#[path = "e2e/reading.rs"]
mod reading;
#[path = "e2e/recovering.rs"]
mod recovering;
#[path = "e2e/runs.rs"]
mod runs;
#[path = "e2e/secrets.rs"]
mod secrets;
#[path = "e2e/selection.rs"]
mod selection;
#[path = "e2e/service.rs"]
mod service;
#[path = "e2e/stores.rs"]
mod stores;
#[path = "e2e/support.rs"]
mod support;
#[path = "e2e/timeouts.rs"]
mod timeouts;
#[path = "e2e/wrapped.rs"]
mod wrapped;

/// What [`support::Place`] has a store from.
use on_mongodb::store;
