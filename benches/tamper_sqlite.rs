//! Show: whatever is changed in the database behind our back, `audit verify` finds it and names it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/tamper/cases.rs"]
mod cases;
#[path = "../tests/support/history.rs"]
#[allow(dead_code)]
mod history;
#[path = "../tests/support/show.rs"]
mod show;

use std::process::ExitCode;

use cases::{CASES, SEED, audit, build, try_case};

#[tokio::main]
async fn main() -> ExitCode {
    if !show::is_asked() {
        return ExitCode::SUCCESS;
    }
    let original = build().await;
    let mut found = 0;
    for (index, case) in CASES.iter().enumerate() {
        match try_case(&original, index, case).await {
            Ok(()) => found += 1,
            Err(missed) => eprintln!("{missed}"),
        }
    }
    let clean = audit(&original.copy("untouched"), Some(original.anchor)).await.findings_total;
    let mut show = show::Show::new(Some(SEED));
    show.figure("tamper_log_commits", original.commits, 300, original.commits >= 300);
    show.figure("tamper_cases_found", found, CASES.len(), found == CASES.len());
    show.figure("tamper_findings_untouched", clean, 0, clean == 0);
    show.end()
}
