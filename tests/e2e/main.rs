//! End to end on SQLite: the built program, real processes, real files. Every test has a folder and a store of its own.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod cancelling;
mod crashing;
mod events;
mod idempotency;
mod output;
mod printed;
mod projecting;
mod reading;
mod recovering;
mod runs;
mod secrets;
mod selection;
mod service;
mod sqlite;
mod stores;
mod support;
mod timeouts;
mod wrapped;

/// What [`support::Place`] has a store from.
use sqlite::store;
