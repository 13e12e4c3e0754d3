//! testledger: an event-sourced test execution engine. `ARCHITECTURE.md` is the map of this house.

pub mod audit;
pub mod bus;
pub mod cli;
pub mod engine;
pub mod event_store;
pub mod execution;
pub mod plan;
pub mod ports;
pub mod published;
pub mod report;
pub mod settings;
pub mod steps;
pub mod views;
