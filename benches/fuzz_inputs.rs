//! Throws seeded inputs at every reader of foreign text and catches panics:
//! `cargo bench --bench fuzz_inputs -- --count 1000000 --seed 1`. Prints one `SHOW` line for each, and one for all.

#[path = "fuzz/mod.rs"]
mod fuzz;

use std::process::{Command, ExitCode};

/// How many inputs all targets get together, where it is not said.
const DEFAULT_COUNT: u64 = 1_000_000;

fn main() -> ExitCode {
    let (count, seed) = (argument("--count").unwrap_or(DEFAULT_COUNT), argument("--seed").unwrap_or(1));
    // A panic is a finding, and its place is worth a line; the rest is in the summary.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let targets = fuzz::targets();
    let each = count.div_ceil(targets.len() as u64);
    let (mut inputs, mut panics) = (0, 0);
    for target in &targets {
        let outcome = fuzz::run(target.as_ref(), each, seed);
        outcome.panics.iter().for_each(|panic| eprintln!("{}: {panic}", outcome.target));
        eprintln!(
            "{}: {} inputs, {} accepted, slowest {:?}, {} panics",
            outcome.target,
            outcome.inputs,
            outcome.accepted,
            outcome.slowest,
            outcome.panics.len()
        );
        show(&format!("fuzz_{}_panics", outcome.target.replace(' ', "_")), outcome.panics.len() as u64, 0, seed);
        inputs += outcome.inputs;
        panics += outcome.panics.len() as u64;
    }
    let enough = inputs >= count;
    println!(
        "SHOW fuzz_inputs value={inputs} limit={count} seed={seed} commit={} {}",
        commit(),
        if enough { "met" } else { "MISSED" }
    );
    if panics == 0 && enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(name: &str, value: u64, limit: u64, seed: u64) {
    let verdict = if value <= limit { "met" } else { "MISSED" };
    println!("SHOW {name} value={value} limit={limit} seed={seed} commit={} {verdict}", commit());
}

/// The number after an option. `cargo bench` adds options of its own, which are passed over.
fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|number| number.parse().ok())
}

/// The short hash of the working tree's commit, marked where it has changes.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let dirty = if git(&["status", "--porcelain"]).is_some_and(|changes| changes.is_empty()) { "" } else { "+dirty" };
    git(&["rev-parse", "--short", "HEAD"]).map_or_else(|| "unknown".to_owned(), |hash| hash + dirty)
}
