//! Views folded from the log: pure folds, and one async worker that runs them.
//!
//! A [`projection::Projection`] says how events become views. [`ports`] are what it needs of the world: a feed of
//! events and a store of views. [`worker`] is the only async room: it folds batches and writes views and checkpoint in
//! one transaction, so that every event counts exactly once; [`router`] says when. [`memory`] keeps views in memory, for replay and tests.

mod cut;
pub mod executions;
pub mod flaky_steps;
pub mod memory;
pub mod ports;
pub mod projection;
pub mod router;
pub mod traces;
pub mod worker;
