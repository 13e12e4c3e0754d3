//! The first simulation: the production engine on virtual time, over the log in memory with seeded faults, and crashed at
//! every append. A failure prints its seed; `TESTLEDGER_SIM_SEED=N` runs that seed alone, `TESTLEDGER_SIM_SEEDS=N` so many.
#![allow(clippy::unwrap_used, reason = "tests")]

mod check;
mod launcher;
mod world;

use testledger::event_store::faults::CrashPoint;

use world::{Ending, World};

/// How many seeds run by default.
const SEEDS: u64 = 200;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("TESTLEDGER_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("TESTLEDGER_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// Says which seed it was when a check fails.
fn with_seed(seed: u64, what: &str, run: impl FnOnce()) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    if let Err(panic) = outcome {
        eprintln!("seed {seed}, {what}: run again with TESTLEDGER_SIM_SEED={seed}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn an_undisturbed_run_ends_as_its_plan_says() {
    for seed in seeds() {
        with_seed(seed, "undisturbed", || {
            let world = World::of(seed).without_faults();
            let run = world.run(None);
            assert_eq!(run.ending, Ending::Finished);
            check::whole_log(&run);
            check::verdicts(&world, &run);
        });
    }
}

#[test]
fn faults_of_the_store_change_no_verdict() {
    for seed in seeds() {
        with_seed(seed, "faults", || {
            let world = World::of(seed);
            let run = world.run(None);
            assert_eq!(run.ending, Ending::Finished);
            check::whole_log(&run);
            check::verdicts(&world, &run);
        });
    }
}

#[test]
fn a_crash_at_any_append_leaves_what_can_be_finished() {
    let (mut crashes, mut hit) = (0, 0);
    for seed in seeds() {
        let world = World::of(seed);
        let appends = world.run(None).appends;
        for append in 1..=appends {
            let point = if (seed + append) % 2 == 0 { CrashPoint::Before } else { CrashPoint::After };
            with_seed(seed, &format!("crashed {point:?} append {append}"), || {
                let run = world.run(Some((append, point)));
                crashes += 1;
                hit += u64::from(run.ending == Ending::Crashed);
                check::whole_log(&run);
                check::can_be_finished(&run);
            });
        }
    }
    eprintln!("{crashes} crashes planned, {hit} hit");
    assert!(hit * 10 >= crashes * 8, "too few of the {crashes} crashes were hit: {hit}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in seeds().into_iter().take(20) {
        with_seed(seed, "repeated", || {
            let world = World::of(seed);
            let (one, two) = (world.run(None), world.run(None));
            let first_other = one.history().into_iter().zip(two.history()).find(|(one, two)| one != two);
            assert_eq!(first_other, None);
        });
    }
}
