//! The decider of an execution: three pure functions, `initial`, [`evolve()`] and [`decide()`], over one [`State`].
//!
//! Nothing here waits, reads a clock or draws an id. The engine loads a stream by folding `evolve` over its events,
//! asks `decide` what follows from a command, and appends the answer.

mod conclude;
mod decide;
mod evolve;
mod refusal;
mod state;

#[cfg(test)]
mod given;
#[cfg(test)]
mod tests;

pub use decide::{Asked, decide};
pub use evolve::evolve;
pub use refusal::Refusal;
pub use state::{Claim, OpenStep, State};
