//! Show: whatever is changed in the database behind our back, `audit verify` finds it and names it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

#[path = "../tests/tamper/cases.rs"]
mod cases;
#[path = "../tests/support/history.rs"]
#[allow(dead_code)]
mod history;

use std::process::{Command, ExitCode};

use cases::{CASES, SEED, audit, build, try_case};

/// The short hash of the checked-out commit, `+dirty` where the working tree has changes of its own.
fn commit() -> String {
    let git = |args: &[&str]| Command::new("git").args(args).output().ok().map(|out| out.stdout).unwrap_or_default();
    let hash = String::from_utf8_lossy(&git(&["rev-parse", "--short", "HEAD"])).trim().to_owned();
    let dirty = if git(&["status", "--porcelain"]).is_empty() { "" } else { "+dirty" };
    format!("{hash}{dirty}")
}

#[tokio::main]
async fn main() -> ExitCode {
    let original = build().await;
    let mut found = 0;
    for (index, case) in CASES.iter().enumerate() {
        match try_case(&original, index, case).await {
            Ok(()) => found += 1,
            Err(missed) => eprintln!("{missed}"),
        }
    }
    let clean = audit(&original.copy("untouched"), Some(original.anchor)).await.findings_total;
    let (limit, commit) = (CASES.len(), commit());
    let met = |is_met: bool| if is_met { "met" } else { "MISSED" };
    let commits = original.commits;
    println!("SHOW tamper_log_commits value={commits} limit=300 seed={SEED} commit={commit} {}", met(commits >= 300));
    println!("SHOW tamper_cases_found value={found} limit={limit} seed={SEED} commit={commit} {}", met(found == limit));
    println!("SHOW tamper_findings_untouched value={clean} limit=0 seed={SEED} commit={commit} {}", met(clean == 0));
    if found == limit && clean == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
