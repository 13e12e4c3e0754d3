//! What a step prints: read, redacted, counted, hashed, kept up to a cap.

use testledger_schemas::event::{OutputExcerpt, OutputFacts, OutputStream};
use testledger_schemas::hash::Hash;

use crate::event_store::{SharedLog, StoreError};
use crate::steps::context::OutputLimits;
use crate::steps::redact::Redactor;

/// One stream of output.
pub struct Recorder {
    stream: OutputStream,
    limits: OutputLimits,
    redactor: Redactor,
    live: Option<Box<dyn Fn(Vec<u8>) + Send>>,
    raw: Vec<u8>,
    bytes: u64,
}

/// What was recorded of a stream.
pub struct Recorded {
    /// The facts.
    pub facts: OutputFacts,
    /// What an event holds of it.
    pub excerpt: OutputExcerpt,
    /// The unredacted bytes up to the cap.
    pub raw: Vec<u8>,
}

impl Recorder {
    /// A recorder.
    #[must_use]
    pub fn new(
        stream: OutputStream,
        limits: OutputLimits,
        redactor: &Redactor,
        live: Option<Box<dyn Fn(Vec<u8>) + Send>>,
    ) -> Self {
        Self { stream, limits, redactor: redactor.clone(), live, raw: vec![], bytes: 0 }
    }

    /// Takes more.
    pub fn push(&mut self, raw: &[u8]) {
        self.bytes += raw.len() as u64;
        let room = self.limits.kept_bytes - self.raw.len();
        self.raw.extend_from_slice(&raw[..raw.len().min(room)]);
        if let Some(live) = &self.live {
            live(self.redactor.text(&String::from_utf8_lossy(raw)).into_bytes());
        }
    }

    /// Ends.
    ///
    /// # Errors
    /// None.
    pub async fn finish(self, _log: &SharedLog) -> Result<Recorded, StoreError> {
        let text = self.redactor.text(&String::from_utf8_lossy(&self.raw));
        let dropped_bytes = self.bytes - self.raw.len() as u64;
        let facts = OutputFacts { stream: self.stream, bytes: self.bytes, dropped_bytes, artifact: None };
        let sha256 = Hash::of(text.as_bytes());
        let excerpt = OutputExcerpt { stream: self.stream, head: text, tail: String::new(), sha256 };
        Ok(Recorded { facts, excerpt, raw: self.raw })
    }
}
