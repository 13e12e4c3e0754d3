//! Show: whatever is changed in the database behind our back, `audit verify` finds it and names it.
#![allow(clippy::unwrap_used, missing_docs, dead_code, reason = "a bench")]

#[path = "../tests/tamper/cases.rs"]
mod cases;
#[path = "../tests/support/history.rs"]
mod history;
#[path = "../tests/tamper/on_sqlite.rs"]
mod on_sqlite;
#[path = "../tests/tamper/original.rs"]
mod original;
#[path = "../tests/support/show.rs"]
mod show;
#[path = "../tests/tamper/stored.rs"]
mod stored;

use std::process::ExitCode;

use cases::Copied;
use original::SEED;

#[tokio::main]
async fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let original = on_sqlite::build().await;
    let (missed, count) = original.try_all().await;
    missed.iter().for_each(|missed| eprintln!("{missed}"));
    let found = count - missed.len();
    let written = original.written;
    let clean = original.copy("untouched").audit(Some(written.anchor)).await.unwrap().findings_total;
    let mut show = show::Show::new(Some(SEED));
    show.figure("tamper_log_commits", written.commits, 300, written.commits >= 300);
    show.figure("tamper_cases_found", found, count, found == count);
    show.figure("tamper_findings_untouched", clean, 0, clean == 0);
    show.end()
}
