//! The test servers, tested with real ones: what the tests of testledger take for granted of them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod replica_set;
mod services;
mod shared;
mod single;
mod support;
mod three;
mod with;
