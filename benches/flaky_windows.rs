//! Show: what the windows of steps add up to, counted by MongoDB in one aggregation, and by the fold in memory: the same,
//! over a thousand random histories.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/support/weeks.rs"]
mod weeks;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testledger::event_store::SharedLog;
use testledger::event_store::memory::MemoryLog;
use testledger::views::mongodb::MongoViews;
use testledger::views::steps::StepViews;
use testledger_projections::flaky_steps::{Days, FlakyKey, FlakySteps, FlakyView, Window, WindowSums};
use testledger_projections::memory::MemoryViews;
use testledger_projections::ports::{Checkpoint, Saved, ViewStore};
use weeks::{Weeks, days_of, folded};

/// So many histories, the seeds from 0 on.
const HISTORIES: u64 = 1_000;

fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let mut show = show::Show::new(Some(0));
    tokio::runtime::Runtime::new().unwrap().block_on(compare(&mut show));
    show.end()
}

async fn compare(show: &mut show::Show) {
    let fresh = test_servers::fresh_database().await.unwrap();
    let database = mongodb::Client::with_uri_str(fresh.uri()).await.unwrap().default_database().unwrap();
    let store = MongoViews::<FlakySteps>::open(&database).await.unwrap();
    let log: SharedLog = MemoryLog::new();
    let views = StepViews::over(log.clone(), store.clone());
    let (mut unlike, mut steps, mut total, mut took) = (0, 0, BTreeMap::<&str, u64>::new(), Duration::ZERO);
    for seed in 0..HISTORIES {
        let events = Weeks::of(seed);
        let (documents, days) = (folded(&events).await, days_of(&events, seed));
        let expected = in_memory(log.clone(), documents.clone(), days).await;
        let before = store.checkpoint().await.unwrap();
        let after = Checkpoint { position: events.len() as u64, ..before.clone() };
        assert_eq!(store.save(&before, documents, &after).await.unwrap(), Saved::Yes);
        let began = Instant::now();
        let counted = views.sums(days).await.unwrap();
        took += began.elapsed();
        if counted != expected {
            unlike += 1;
            println!("seed {seed}: {counted:?} is not {expected:?}");
        }
        steps += counted.len();
        expected.iter().for_each(|sums| note(&mut total, sums));
        store.reset().await.unwrap();
    }
    println!("{steps} windows: {total:?}; {:.1} ms an aggregation", took.as_secs_f64() * 1000.0 / HISTORIES as f64);
    show.figure("flaky_windows_histories", HISTORIES, ">=1000", HISTORIES >= 1000);
    show.figure("flaky_windows_unlike_the_fold", unlike, "0", unlike == 0);
    // What never happened was not compared.
    let rarest = total.values().min().copied().unwrap_or(0);
    show.figure("flaky_windows_rarest_count", rarest, ">=100", rarest >= 100);
    log.close().await;
}

async fn in_memory(log: SharedLog, documents: Vec<(FlakyKey, FlakyView)>, days: Days) -> Vec<WindowSums> {
    let store = Arc::new(MemoryViews::<FlakySteps>::default());
    let after = Checkpoint { position: 1, ..Checkpoint::START };
    assert_eq!(store.save(&Checkpoint::START, documents, &after).await.unwrap(), Saved::Yes);
    let mut windows = vec![];
    let see = |window: Window| windows.push(window.sums());
    StepViews::over(log, store).each_window(days, see).await.unwrap();
    windows
}

fn note(total: &mut BTreeMap<&str, u64>, sums: &WindowSums) {
    let counts = &sums.counts;
    for (name, count) in [
        ("runs", counts.runs),
        ("failures", counts.failures),
        ("passed_on_retry", counts.passed_on_retry),
        ("mixed", counts.mixed),
        ("transitions", counts.transitions),
        ("mass_failures", sums.mass_failures),
        ("lost", sums.lost),
        ("not_judged", sums.not_judged),
    ] {
        *total.entry(name).or_default() += count;
    }
}
