//! Throws seeded inputs at readers of foreign text, and catches panics. A reader is one [`Target`]; [`targets`] lists
//! them.

mod events;
mod mutate;
mod plans;
mod reports;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// One reader of foreign text.
pub trait Target {
    /// Its name.
    fn name(&self) -> &'static str;

    /// An input that follows from the randomness alone.
    fn input(&self, rng: &mut StdRng) -> Vec<u8>;

    /// Reads the input; whether it was accepted. Panics if a promise of the reader does not hold.
    fn read(&self, input: &[u8]) -> bool;
}

/// Every target.
pub fn targets() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(plans::Plans::load()),
        Box::new(events::Events::load()),
        Box::new(events::Commits::load()),
        Box::new(reports::Reports::load()),
    ]
}

/// What became of one target.
#[derive(Debug)]
pub struct Outcome {
    /// The target.
    pub target: &'static str,
    /// How many inputs were read.
    pub inputs: u64,
    /// How many of them were accepted.
    pub accepted: u64,
    /// The longest time one input took.
    pub slowest: Duration,
    /// The inputs that made it panic, ready to be shown.
    pub panics: Vec<String>,
}

/// So many panics of one target are kept.
const MAX_PANICS: usize = 20;

/// Reads `count` inputs of one target. Input `n` follows from seed and `n` alone, so one can be repeated by itself.
pub fn run(target: &dyn Target, count: u64, seed: u64) -> Outcome {
    let mut outcome =
        Outcome { target: target.name(), inputs: 0, accepted: 0, slowest: Duration::ZERO, panics: vec![] };
    for number in 0..count {
        let input = target.input(&mut StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number));
        let began = Instant::now();
        // A reader keeps no state, so nothing can be left half done for the next input.
        match catch_unwind(AssertUnwindSafe(|| target.read(&input))) {
            Ok(accepted) => outcome.accepted += u64::from(accepted),
            Err(_) if outcome.panics.len() < MAX_PANICS => outcome.panics.push(describe(number, seed, &input)),
            Err(_) => {}
        }
        outcome.slowest = outcome.slowest.max(began.elapsed());
        outcome.inputs += 1;
    }
    outcome
}

fn describe(number: u64, seed: u64, input: &[u8]) -> String {
    let mut text = format!("input {number} of seed {seed}, {} bytes: ", input.len());
    let _ = write!(text, "{}", String::from_utf8_lossy(&input[..input.len().min(2000)]).escape_debug());
    text
}
