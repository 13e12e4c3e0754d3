//! Live output of many steps at once: whole lines, each led by the label of its case.

use std::collections::HashMap;

use testledger_schemas::ExecutionId;
use testledger_schemas::event::OutputStream;

use super::style::{DIM, styled};
use crate::steps::context::LiveOutput;

/// A line that is longer than this is shown in pieces: 16 KiB.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// The streams of one step.
const STREAMS: [OutputStream; 3] = [OutputStream::Stdout, OutputStream::Stderr, OutputStream::Body];

/// Holds back the begun line of each stream.
#[derive(Default)]
pub(super) struct Prefixer {
    begun: HashMap<(ExecutionId, String, OutputStream), Vec<u8>>,
}

impl Prefixer {
    /// The lines that are complete with this piece.
    pub(super) fn push(&mut self, output: &LiveOutput, label: &str) -> String {
        let key = (output.execution, output.step.clone(), output.stream);
        let begun = self.begun.entry(key).or_default();
        begun.extend_from_slice(&output.bytes);
        let end = begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = if end == 0 && begun.len() > MAX_LINE_BYTES { begun.len() } else { end };
        let complete: Vec<u8> = begun.drain(..end).collect();
        led(label, &complete)
    }

    /// What is left of a step's streams when it has ended.
    pub(super) fn finish(&mut self, execution: ExecutionId, step: &str, label: &str) -> String {
        let rest = STREAMS.into_iter().filter_map(|stream| self.begun.remove(&(execution, step.to_owned(), stream)));
        rest.map(|bytes| led(label, &bytes)).collect()
    }
}

fn led(label: &str, bytes: &[u8]) -> String {
    let leader = styled(DIM, &format!("{label} |"));
    String::from_utf8_lossy(bytes).lines().map(|line| format!("{leader} {line}\n")).collect()
}
