//! The reports that test tools write: JUnit XML in all its dialects, read into step results.

mod chunks;
mod decode;
mod duration;
mod error;
mod escape;
mod name;
mod outcome;
mod parse;
mod raw;
#[cfg(test)]
mod tests;

use testledger_schemas::StepKey;
use testledger_schemas::StepOutcome;
use testledger_schemas::event::{ErrorKind, ReportedCase, ReportedResult, StepErrorFacts};

pub use chunks::{MAX_CHUNK_BYTES, chunks};
pub use error::ReportError;
pub use name::MAX_NAME_BYTES;
pub use parse::{MAX_CASES, MAX_DEPTH};

use crate::steps::Reported;
use crate::steps::fingerprint::fingerprint;
use outcome::Judged;
use raw::{RawCase, RawVerdict};

/// The most bytes of a report that are read: 256 MiB. Look at the file's size before it is loaded.
pub const MAX_REPORT_BYTES: usize = 256 * 1024 * 1024;
/// The most bytes a message has: 4 KiB. Of a longer one the beginning and the end are kept.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// What stands for the middle of a long message.
const CUT: &str = "\n[...]\n";

/// The test cases of a JUnit report, in its order, each with its outcome by the one table in `outcome.rs`, a name that is
/// unique in the report, and an identity derived from suite, case, matrix and that name. Test cases are taken from
/// test suites nested at any depth.
///
/// Names and messages are what the file says; where there are secrets, use [`read_redacted`].
///
/// # Errors
/// [`ReportError`] with place and mend: too large, too deep, too many cases, another encoding, a document type
/// declaration, not well-formed, cut short, not a JUnit report.
pub fn read(xml: &[u8], identity: (&str, &str, &str)) -> Result<Vec<Reported>, ReportError> {
    read_redacted(xml, identity, &str::to_owned)
}

/// The same as [`read`], with every text redacted before it is cut to its bound: of a secret in the middle of a cut, no
/// half stays. Identities and fingerprints are made of the redacted texts.
///
/// # Errors
/// As [`read`].
pub fn read_redacted(
    xml: &[u8],
    identity: (&str, &str, &str),
    redact: &dyn Fn(&str) -> String,
) -> Result<Vec<Reported>, ReportError> {
    if xml.len() > MAX_REPORT_BYTES {
        return Err(ReportError::TooLarge { bytes: xml.len(), limit: MAX_REPORT_BYTES });
    }
    let mut cases = parse::parse(&decode::decode(xml)?)?;
    cases.iter_mut().for_each(|case| case.change_texts(redact));
    let names = name::names(&cases);
    Ok(cases.iter().zip(names).map(|(case, name)| reported(case, name, identity)).collect())
}

fn reported(case: &RawCase, name: String, (suite, id, matrix): (&str, &str, &str)) -> Reported {
    let judged = outcome::judge(case);
    let message = judged.verdict.map(message_of).unwrap_or_default();
    let result = ReportedResult {
        step_key: StepKey::derive(suite, id, matrix, &name),
        outcome: judged.outcome,
        duration_ms: duration::milliseconds(case.time.as_deref()),
        detail: judged.detail.map(str::to_owned),
        error: error_of(&judged),
    };
    Reported { result, case: ReportedCase { name, message } }
}

/// What went wrong, where something did.
fn error_of(judged: &Judged) -> Option<StepErrorFacts> {
    let kind = match judged.outcome {
        StepOutcome::Failed | StepOutcome::Error => ErrorKind::Assertion,
        StepOutcome::Timeout => ErrorKind::Timeout,
        StepOutcome::Passed
        | StepOutcome::Skipped
        | StepOutcome::Cancelled
        | StepOutcome::Interrupted
        | StepOutcome::Blocked => return None,
    };
    Some(StepErrorFacts { kind, fingerprint: fingerprint(judged.verdict.map_or("", telling)) })
}

/// What tells one error from another: the short message, since a stack trace changes with every edit of the code; but the
/// text where that begins with the message and says more (nextest), or the message is one word (`Failed`, as gotestsum
/// and CTest write for all).
fn telling(verdict: &RawVerdict) -> &str {
    let (message, text) = (verdict.message.trim(), verdict.text.trim());
    let says_little = !message.contains(char::is_whitespace) && !text.is_empty();
    if says_little || text.starts_with(message) { text } else { message }
}

/// The message and the text below it, without saying the same twice; bounded.
fn message_of(verdict: &RawVerdict) -> String {
    let (message, text) = (verdict.message.trim(), verdict.text.trim());
    let whole = if message.is_empty() || text.starts_with(message) {
        text.to_owned()
    } else if text.is_empty() {
        message.to_owned()
    } else {
        format!("{message}\n{text}")
    };
    // Where a tool says nothing else, the type is all there is (nextest's `test timeout`).
    bounded(if whole.is_empty() { verdict.kind.clone() } else { whole })
}

/// The text, with its middle cut out where it is longer than [`MAX_MESSAGE_BYTES`].
fn bounded(text: String) -> String {
    if text.len() <= MAX_MESSAGE_BYTES {
        return text;
    }
    let half = (MAX_MESSAGE_BYTES - CUT.len()) / 2;
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    format!("{head}{CUT}{tail}")
}
