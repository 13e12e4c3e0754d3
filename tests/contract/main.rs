//! The contract suite of the event log: every promise of `event_store`, over every adapter. Nothing is skipped.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod adapters;
mod appends;
mod artifacts;
mod erasure;
mod interleavings;
mod order;
mod reading;
mod sqlite_file;
