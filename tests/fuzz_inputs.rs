//! A small run of `benches/fuzz_inputs.rs`, and that the published event schema is the stored shape.

#[path = "../benches/fuzz/mod.rs"]
mod fuzz;

/// So many inputs for each target: seconds in a debug build.
const COUNT: u64 = 1500;
/// The seed; printed with every finding.
const SEED: u64 = 20_261_123;

#[test]
fn no_input_makes_a_reader_panic() {
    for target in fuzz::targets() {
        let outcome = fuzz::run(target.as_ref(), COUNT, SEED);
        assert!(outcome.panics.is_empty(), "{outcome:#?}");
        assert_eq!(outcome.inputs, COUNT);
        // Inputs that are all refused (or all accepted) at the door would test nothing behind it.
        let share = outcome.accepted * 100 / COUNT;
        assert!((1..=95).contains(&share), "{}: {share} % accepted", outcome.target);
    }
}
