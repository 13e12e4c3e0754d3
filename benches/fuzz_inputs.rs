//! Throws seeded inputs at every reader of foreign text and catches panics:
//! `cargo bench --bench fuzz_inputs -- --count 1000000 --seed 1`. Prints one `SHOW` line for each, and one for all.

#[path = "fuzz/mod.rs"]
mod fuzz;
#[path = "../tests/support/show.rs"]
mod show;

use std::process::ExitCode;

use show::Show;

/// How many inputs all targets get together, where it is not said.
const DEFAULT_COUNT: u64 = 1_000_000;

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let (count, seed) = (argument("--count").unwrap_or(DEFAULT_COUNT), argument("--seed").unwrap_or(1));
    // A panic is a finding, and its place is worth a line; the rest is in the summary.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let mut show = Show::new(Some(seed));
    let targets = fuzz::targets();
    let each = count.div_ceil(targets.len() as u64);
    let mut inputs = 0;
    for target in &targets {
        let outcome = fuzz::run(target.as_ref(), each, seed);
        outcome.panics.iter().for_each(|panic| eprintln!("{}: {panic}", outcome.target));
        let panics = outcome.panics.len();
        let (name, accepted, slowest) = (outcome.target, outcome.accepted, outcome.slowest);
        eprintln!("{name}: {} inputs, {accepted} accepted, slowest {slowest:?}, {panics} panics", outcome.inputs);
        show.figure(&format!("fuzz_{}_panics", name.replace(' ', "_")), panics, 0, panics == 0);
        inputs += outcome.inputs;
    }
    show.figure("fuzz_inputs", inputs, count, inputs >= count);
    show.end()
}

/// The number after an option. `cargo bench` adds options of its own, which are passed over.
fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|number| number.parse().ok())
}
