//! The spawner and the commands it starts, with real processes: nothing is left, nothing leaks, whatever dies.
#![allow(clippy::unwrap_used, missing_docs)]

mod ending;
mod launching;
mod running;
mod support;
