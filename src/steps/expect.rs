//! stub: what was expected and does not hold.

use testledger_schemas::plan::TextExpect;

/// stub.
pub fn check_text(expect: &TextExpect, subject: &str, text: &str) -> Vec<String> {
    let missing = expect.contains.iter().filter(|wanted| !text.contains(wanted.as_str()));
    missing.map(|wanted| format!("{subject} does not contain `{wanted}`")).collect()
}

/// stub.
pub fn check_within(within_ms: Option<u64>, took_ms: u64) -> Option<String> {
    within_ms.filter(|limit| took_ms > *limit).map(|limit| format!("took {took_ms} ms, not within {limit} ms"))
}
