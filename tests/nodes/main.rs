//! What the log on MongoDB survives, each on servers of its own: short forms of the show `history_mongodb`, and what is
//! refused.
#![allow(clippy::unwrap_used, reason = "tests")]

mod guarded;
#[path = "../support/mongo.rs"]
mod mongo;
#[path = "../support/mongo_history/mod.rs"]
mod mongo_history;
mod refusals;
mod rights;
mod scenarios;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};

use mongo_history::killed::{self, SEQUENCER};
use mongo_history::overrun::{self, APPENDER};

/// A test that takes so long hangs: never a measure of speed.
const HANG: Duration = Duration::from_secs(900);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(SEQUENCER) => return killed::sequencer_main(&args[1..]),
        Some(APPENDER) => return overrun::appender_main(&args[1..]),
        Some(_) | None => {}
    }
    let mut trials = scenarios::trials();
    trials.extend(refusals::trials());
    trials.extend(rights::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test on real time and several threads.
fn trial(name: &str, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async { tokio::time::timeout(HANG, test).await.expect("hangs") });
        Ok(())
    })
}
