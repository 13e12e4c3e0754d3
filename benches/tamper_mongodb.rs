//! Show: whatever is changed in a MongoDB database behind our back, `audit verify` finds it and names it.
#![allow(clippy::unwrap_used, missing_docs, dead_code, reason = "a bench")]

#[path = "../tests/tamper/cases.rs"]
mod cases;
#[path = "../tests/tamper/documents.rs"]
mod documents;
#[path = "../tests/support/history.rs"]
mod history;
#[path = "../tests/support/mongo.rs"]
mod mongo;
#[path = "../tests/tamper/on_mongodb.rs"]
mod on_mongodb;
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
    let original = on_mongodb::build().await;
    let (missed, count) = original.try_all().await;
    missed.iter().for_each(|missed| eprintln!("{missed}"));
    let found = count - missed.len();
    let written = original.written;
    let clean = original.copy().await.audit(Some(written.anchor)).await.unwrap().findings_total;
    let mut show = show::Show::new(Some(SEED));
    show.figure("tamper_mongodb_log_commits", written.commits, 300, written.commits >= 300);
    show.figure("tamper_mongodb_cases_found", found, count, found == count);
    show.figure("tamper_mongodb_findings_untouched", clean, 0, clean == 0);
    show.end()
}
