//! The views over real logs: exactly once, equal in every store, and what may be asked of them.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "../support/history.rs"]
mod history;
#[path = "../support/mongodb.rs"]
mod mongodb_server;
#[path = "../support/weeks.rs"]
mod weeks;

mod aging;
mod asking;
mod beside;
mod folding;
mod following;
mod managing;
mod on_mongodb;
mod reading;
mod stores;
