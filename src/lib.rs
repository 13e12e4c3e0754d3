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

/// Events and views are small allocations by the million: with it a rebuild on MongoDB is up to half as fast again.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
