//! The simulation: production engines with their sweepers on virtual time, over the log in memory with seeded faults. They
//! crash at every append, are killed, cut off, and followed by others. A failure prints its seed; `TESTLEDGER_SIM_SEED=N` runs
//! that seed alone, `TESTLEDGER_SIM_SEEDS=N` so many.
#![allow(clippy::unwrap_used, reason = "tests")]

mod check;
mod fates;
mod launcher;
mod life;
mod plans;
mod prefix;
mod remains;
mod world;

use testledger::event_store::faults::CrashPoint;
use testledger::ports::fault::{self, Bug, Point};

use fates::Deaths;
use remains::Run;
use world::World;

/// How many worlds with engines that are lost run by default.
const SEEDS: u64 = 10_000;
/// How many worlds without, of each kind.
const CALM_SEEDS: u64 = 200;
/// How many worlds are crashed at each of their appends.
const CRASH_SEEDS: u64 = 100;
/// How many worlds' logs are cut after each of their commits.
const PREFIX_SEEDS: u64 = 25;

fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("TESTLEDGER_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("TESTLEDGER_SIM_SEEDS").unwrap_or(default)).collect(),
    }
}

fn is_one_seed() -> bool {
    std::env::var_os("TESTLEDGER_SIM_SEED").is_some()
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
    for seed in seeds(CALM_SEEDS) {
        with_seed(seed, "undisturbed", || {
            let world = World::of(seed).without_faults();
            let run = world.run();
            check::whole_log(&run);
            check::verdicts(&world, &run);
        });
    }
}

#[test]
fn faults_of_the_store_change_no_verdict() {
    for seed in seeds(CALM_SEEDS) {
        with_seed(seed, "faults", || {
            let world = World::of(seed);
            let run = world.run();
            check::whole_log(&run);
            check::verdicts(&world, &run);
        });
    }
}

#[test]
fn what_another_process_cancels_ends_within_a_second() {
    let mut in_time = 0;
    for seed in seeds(CALM_SEEDS) {
        with_seed(seed, "cancelled by another process", || {
            let world = World::of(seed).cancelled_by_another();
            let run = world.run();
            check::whole_log(&run);
            check::verdicts(&world, &run);
            let world = world.without_faults();
            let run = world.run();
            check::whole_log(&run);
            check::verdicts(&world, &run);
            in_time += u64::from(check::nothing_begins_after_a_cancellation(&run));
        });
    }
    eprintln!("{in_time} cancellations met something that was under way");
    assert!(in_time > 0 || seeds(CALM_SEEDS).len() == 1, "no cancellation met anything");
}

/// Everything that must hold, whatever has happened.
fn check_all(world: &World, run: &Run) {
    if is_one_seed() {
        eprintln!("{:#?}\n{}", world.lives, run.story());
    }
    check::whole_log(run);
    check::claims_hold(run);
    check::nothing_runs_twice_at_once(run);
    check::verdicts(world, run);
    check::views_agree(run);
}

#[test]
fn a_crash_at_any_append_is_recovered() {
    let (mut crashes, mut hit) = (0, 0);
    for seed in seeds(CRASH_SEEDS) {
        let appends = World::of(seed).run().appends;
        for append in 1..=appends {
            let point = if (seed + append) % 2 == 0 { CrashPoint::Before } else { CrashPoint::After };
            with_seed(seed, &format!("crashed {point:?} append {append}"), || {
                let world = World::of(seed).crashed_at(append, point);
                let run = world.run();
                crashes += 1;
                hit += run.fates_met;
                check_all(&world, &run);
            });
        }
    }
    eprintln!("{crashes} crashes planned, {hit} hit");
    assert!(hit * 10 >= crashes * 8, "too few of the {crashes} crashes were hit: {hit}");
}

#[test]
fn every_prefix_of_a_log_is_recovered() {
    let (mut logs, mut prefixes, mut longest) = (0, 0, 0);
    for seed in seeds(PREFIX_SEEDS) {
        // The engines of every other log are lost themselves.
        let world = if seed % 2 == 0 { World::of(seed).with_fates() } else { World::of(seed) };
        let whole = world.run();
        let commits = whole.in_order();
        for count in 0..=commits.len() {
            with_seed(seed, &format!("recovered from {count} of {} commits", commits.len()), || {
                let run = world.recovered_from(&whole, count);
                check_all(&world, &run);
                check::begins_with(&run, &commits[..count]);
            });
        }
        (logs, prefixes, longest) = (logs + 1, prefixes + commits.len() + 1, longest.max(commits.len()));
    }
    eprintln!("{logs} logs, {prefixes} prefixes recovered, the longest log has {longest} commits");
}

/// A quarter of the seeds: so they run side by side.
fn lose_engines(quarter: u64) {
    let deaths = Deaths::default();
    let mut met = 0;
    let mine: Vec<u64> = seeds(SEEDS).into_iter().filter(|seed| seed % 4 == quarter || is_one_seed()).collect();
    for seed in &mine {
        with_seed(*seed, "fates", || {
            let world = World::of(*seed).with_fates();
            let run = world.run_counting(&deaths);
            met += run.fates_met;
            check_all(&world, &run);
        });
    }
    let deaths = deaths.borrow();
    eprintln!("{} worlds, {met} engines died or were cut off; at fault points: {deaths:?}", mine.len());
    if mine.len() as u64 >= SEEDS / 4 {
        let rare: Vec<_> =
            Point::ALL.iter().filter(|point| deaths.get(point).is_none_or(|count| *count < 25)).collect();
        assert!(rare.is_empty(), "fault points at which too few engines died: {rare:?}");
    }
}

#[test]
fn engines_are_lost_in_every_way_1() {
    lose_engines(1);
}

#[test]
fn engines_are_lost_in_every_way_2() {
    lose_engines(2);
}

#[test]
fn engines_are_lost_in_every_way_3() {
    lose_engines(3);
}

#[test]
fn engines_are_lost_in_every_way_4() {
    lose_engines(0);
}

/// Which seed catches a planted bug, and what it says.
fn catches(bug: Bug) -> Option<(u64, String)> {
    (1..=SEEDS).find_map(|seed| {
        let caught = std::panic::catch_unwind(|| {
            fault::plant(Some(bug));
            let world = World::of(seed).with_fates();
            let run = world.run();
            fault::plant(None);
            check_all(&world, &run);
        });
        fault::plant(None);
        fault::watch(None);
        let panic = caught.err()?;
        let text =
            panic.downcast_ref::<String>().cloned().or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
        Some((seed, text.unwrap_or_default()))
    })
}

#[test]
fn every_planted_bug_is_caught() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = vec![];
    let only = std::env::var("TESTLEDGER_SIM_BUG").ok();
    for bug in Bug::ALL.into_iter().filter(|bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}"))) {
        match catches(bug) {
            Some((seed, text)) => eprintln!("{bug:?}: seed {seed}: {}", text.lines().next().unwrap_or_default()),
            None => missed.push(bug),
        }
    }
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in seeds(100) {
        with_seed(seed, "repeated", || {
            let world = World::of(seed).with_fates();
            let (one, two) = (world.run(), world.run());
            let first_other = one.history().into_iter().zip(two.history()).find(|(one, two)| one != two);
            assert_eq!(first_other, None);
            assert_eq!(one.history().len(), two.history().len());
        });
    }
}
