//! The spawner: one small process per engine that starts every command and outlives none of them.
//!
//! ```text
//! engine ──(socket: "run", 3 descriptors)──▶ spawner ──fork──▶ keeper ──posix_spawn──▶ the command ─▶ descendants
//!    └───────────────(a socket for each command: what to run, signals; reports)──────────┘
//! ```
//!
//! - The **spawner** (`server`) is started before the engine grows, stays small and has one thread, so that a fork of
//!   it is cheap and safe. It never does anything slow: it takes descriptors, forks, reaps.
//! - A **keeper** (`keeper`) is that fork: one for each command, and its subreaper (`prctl(2)`,
//!   `PR_SET_CHILD_SUBREAPER`). So the command's descendants, those of `setsid` and double forks too, are exactly the
//!   keeper's descendants, and the tree is gone when the keeper has no child left (`ECHILD`).
//! - Engine dead (SIGKILL included): the sockets close, each keeper kills its tree until nothing is left. Spawner dead:
//!   a pipe that only the spawner holds open closes, the keepers do the same. Keeper dead: its tree falls to the
//!   spawner, which kills it. Only a descendant that kills all three at once could outlive them.
//! - Environment, working directory and arguments are exactly what was asked for; no descriptor but the three standard
//!   ones is inherited, no signal is blocked or ignored; standard input is `/dev/null`; the commands live in a session
//!   without a terminal, each in a process group of its own, so that Ctrl-C reaches the engine only.

mod client;
mod control;
mod isolate;
mod keeper;
mod program;
mod protocol;
mod server;
mod tree;

#[cfg(test)]
pub(crate) mod tests;

pub use client::Spawner;
pub use server::spawner_main;

/// The hidden subcommand that runs the spawner.
pub const SUBCOMMAND: &str = "__spawner";
