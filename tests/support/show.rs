//! The lines of a show: one for each figure, with its limit, seed and commit.
#![allow(dead_code, reason = "each show uses its part of it")]

use std::process::Command;

/// Whether this run was asked for: `cargo bench` says `--bench`. `cargo test --all-targets` and nextest start benches,
/// too, the latter with `--list`: they find nothing to do.
pub fn is_asked() -> bool {
    let arguments: Vec<_> = std::env::args().collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    has("--bench") && !has("--list")
}

/// Prints figures, and remembers whether all limits were kept.
pub struct Show {
    seed: String,
    commit: String,
    all_met: bool,
}

impl Show {
    /// A show whose chance comes from `seed`, if from one.
    pub fn new(seed: Option<u64>) -> Self {
        let dirty = if git(&["status", "--porcelain"]).is_empty() { "" } else { "+dirty" };
        let commit = format!("{}{dirty}", git(&["rev-parse", "--short", "HEAD"]));
        Self { seed: seed.map_or_else(|| "-".to_owned(), |seed| seed.to_string()), commit, all_met: true }
    }

    /// Prints one figure.
    pub fn figure(&mut self, name: &str, value: impl std::fmt::Display, limit: impl std::fmt::Display, met: bool) {
        let word = if met { "met" } else { "MISSED" };
        println!("SHOW {name} value={value} limit={limit} seed={} commit={} {word}", self.seed, self.commit);
        self.all_met &= met;
    }

    /// Success if every limit was kept.
    pub fn end(self) -> std::process::ExitCode {
        if self.all_met { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
    }
}

fn git(args: &[&str]) -> String {
    let output = Command::new("git").args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
