//! What a step prints: redacted, counted, hashed, shown as an excerpt, kept up to a cap.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use testledger_schemas::Hash;
use testledger_schemas::event::{OutputExcerpt, OutputFacts, OutputStream};

use crate::event_store::{SharedLog, StoreError};
use crate::steps::context::OutputLimits;
use crate::steps::redact::{Redactor, StreamRedactor};

/// Where one stream's redacted bytes go while it runs.
pub type StreamSink = Box<dyn Fn(Vec<u8>) + Send>;

/// Records one stream of output. Its memory is bounded by the limits: the kept bytes, and the same number unredacted.
pub struct Recorder {
    stream: OutputStream,
    limits: OutputLimits,
    redactor: StreamRedactor,
    live: Option<StreamSink>,
    /// The first bytes as they came; memory only.
    raw: Vec<u8>,
    wants_raw: bool,
    /// Whether [`Self::raw`] is all that came.
    raw_is_whole: bool,
    /// The first bytes, redacted.
    kept: Vec<u8>,
    /// The last bytes, redacted: as many as the tail of an excerpt needs, up to twice that.
    last: Vec<u8>,
    /// How many redacted bytes there were.
    bytes: u64,
    digest: Sha256,
}

/// What was recorded of one stream.
#[derive(Debug)]
pub struct Recorded {
    /// How much there was; an artifact named here is durable.
    pub facts: OutputFacts,
    /// What an event holds of it.
    pub excerpt: OutputExcerpt,
    /// The first bytes, up to the cap, with secrets in clear: for expectations and captures, in memory only.
    pub raw: Vec<u8>,
    /// Whether that is all there was.
    pub raw_is_whole: bool,
}

impl Recorder {
    /// Records this stream.
    #[must_use]
    pub fn new(stream: OutputStream, limits: OutputLimits, redactor: &Redactor, live: Option<StreamSink>) -> Self {
        let redactor = redactor.stream();
        Self {
            stream,
            limits,
            redactor,
            live,
            raw: vec![],
            wants_raw: true,
            raw_is_whole: true,
            kept: vec![],
            last: vec![],
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// The same without [`Recorded::raw`], where nobody needs it: half the memory.
    #[must_use]
    pub fn without_raw(mut self) -> Self {
        self.wants_raw = false;
        self
    }

    /// Takes what was printed.
    pub fn push(&mut self, raw: &[u8]) {
        let room = if self.wants_raw { self.limits.kept_bytes.saturating_sub(self.raw.len()) } else { 0 };
        self.raw.extend_from_slice(&raw[..raw.len().min(room)]);
        self.raw_is_whole &= raw.len() <= room;
        let redacted = self.redactor.push(raw);
        self.take(redacted);
    }

    /// Takes redacted bytes.
    fn take(&mut self, redacted: Vec<u8>) {
        if redacted.is_empty() {
            return;
        }
        self.bytes += redacted.len() as u64;
        self.digest.update(&redacted);
        let room = self.limits.kept_bytes.max(self.limits.excerpt_bytes).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&redacted[..redacted.len().min(room)]);
        self.remember_last(&redacted);
        if let Some(live) = &self.live {
            live(redacted);
        }
    }

    fn remember_last(&mut self, redacted: &[u8]) {
        let wanted = self.limits.excerpt_bytes;
        self.last.extend_from_slice(&redacted[redacted.len().saturating_sub(wanted)..]);
        if self.last.len() > 2 * wanted {
            self.last.drain(..self.last.len() - wanted);
        }
    }

    /// Ends the recording. The artifact, where there is one, is durable before this returns.
    ///
    /// # Errors
    /// [`StoreError`] if the artifact could not be kept.
    pub async fn finish(mut self, log: &SharedLog) -> Result<Recorded, StoreError> {
        let rest = self.redactor.finish();
        self.take(rest);
        let (head, tail, is_all) = self.excerpt();
        self.kept.truncate(self.limits.kept_bytes);
        self.kept.shrink_to_fit();
        let dropped_bytes = self.bytes - self.kept.len() as u64;
        let artifact = match is_all {
            true => None,
            false => Some(log.put_artifact(std::mem::take(&mut self.kept)).await?),
        };
        let sha256 = Hash(self.digest.finalize().into());
        Ok(Recorded {
            facts: OutputFacts { stream: self.stream, bytes: self.bytes, dropped_bytes, artifact },
            excerpt: OutputExcerpt { stream: self.stream, head, tail, sha256 },
            raw: self.raw,
            raw_is_whole: self.raw_is_whole,
        })
    }

    /// Head and tail as text of at most the excerpt's bytes, and whether the head alone is all there was.
    fn excerpt(&self) -> (String, String, bool) {
        let limit = self.limits.excerpt_bytes;
        let half = limit / 2;
        if self.bytes <= limit as u64 {
            let text = String::from_utf8_lossy(&self.kept);
            // U+FFFD is longer than the byte it stands for.
            if text.len() <= limit {
                let is_all = matches!(text, Cow::Borrowed(_));
                return (text.into_owned(), String::new(), is_all);
            }
        }
        let first = whole_chars_at_end(&self.kept[..self.kept.len().min(half)]);
        let last = whole_chars_at_start(&self.last[self.last.len().saturating_sub(half)..]);
        let (head, tail) = (String::from_utf8_lossy(first), String::from_utf8_lossy(last));
        (
            head[..head.floor_char_boundary(half)].to_owned(),
            tail[tail.ceil_char_boundary(tail.len().saturating_sub(half))..].to_owned(),
            false,
        )
    }
}

/// Without the beginning of a character at the end.
fn whole_chars_at_end(bytes: &[u8]) -> &[u8] {
    let longest = bytes.len().saturating_sub(3);
    // A character's first byte says how long it is.
    let cut = (longest..bytes.len()).rev().find(|&at| {
        let length = match bytes[at] {
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
            _ => 1,
        };
        at + length > bytes.len()
    });
    &bytes[..cut.unwrap_or(bytes.len())]
}

/// Without the rest of a character at the start.
fn whole_chars_at_start(bytes: &[u8]) -> &[u8] {
    let rest = bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
    &bytes[rest..]
}
