//! Results in numbered chunks, so that each commit stays far below its limit.

use crate::steps::Reported;

/// The most bytes a chunk is estimated to have as JSON: half of what a commit may have.
pub const MAX_CHUNK_BYTES: usize = 512 * 1024;
/// What a result has as JSON besides its texts: keys, ids, numbers, and its part of the envelope; rounded up.
const RESULT_BYTES: usize = 320;

/// The results in order, in chunks that each make one `StepResultsReported` of far less than 1 MiB. No results are no
/// chunks.
#[must_use]
pub fn chunks(reported: Vec<Reported>) -> Vec<Vec<Reported>> {
    let mut chunks: Vec<Vec<Reported>> = Vec::new();
    let mut filled = MAX_CHUNK_BYTES;
    for result in reported {
        let bytes = estimated_bytes(&result);
        match chunks.last_mut() {
            Some(chunk) if filled + bytes <= MAX_CHUNK_BYTES => {
                filled += bytes;
                chunk.push(result);
            }
            Some(_) | None => {
                filled = bytes;
                chunks.push(vec![result]);
            }
        }
    }
    chunks
}

/// The bytes of a result as JSON, never fewer than it has.
fn estimated_bytes(result: &Reported) -> usize {
    let detail = result.result.detail.as_deref().map_or(0, json_bytes);
    RESULT_BYTES + json_bytes(&result.case.name) + json_bytes(&result.case.message) + detail
}

/// The bytes of a text within JSON: a control character takes up to six (`\u001b`), quote and backslash two.
fn json_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| {
            if byte < 0x20 {
                6
            } else if matches!(byte, b'"' | b'\\') {
                2
            } else {
                1
            }
        })
        .sum()
}
