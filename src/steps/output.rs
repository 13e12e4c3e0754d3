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
        self.redact_anew();
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

    /// A secret that was learnt on the way may stand in what came before: what is kept is redacted once more.
    fn redact_anew(&mut self) {
        let Some(redactor) = self.redactor.has_learnt() else { return };
        let dropped = self.bytes - self.kept.len() as u64;
        self.kept = redactor.bytes(&self.kept);
        self.last = redactor.bytes(&self.last);
        self.bytes = dropped + self.kept.len() as u64;
        if dropped == 0 {
            self.digest = Sha256::new();
            self.digest.update(&self.kept);
        }
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;
    use crate::event_store::memory::MemoryLog;

    const SECRET: &str = "hunter22";

    #[test]
    fn a_secret_that_is_learnt_on_the_way_is_taken_from_what_came_before() {
        let redactor = Redactor::default();
        let limits = OutputLimits { excerpt_bytes: 100, kept_bytes: 100 };
        let mut recorder = Recorder::new(OutputStream::Stdout, limits, &redactor, None);
        recorder.push(b"issued hunter22\n");
        redactor.learn(SECRET);
        recorder.push(b"used hunter22\n");
        let log: SharedLog = MemoryLog::new();
        let recorded = wait(recorder.finish(&log)).unwrap();
        assert_eq!(recorded.excerpt.head, "issued ***\nused ***\n");
        assert_eq!(recorded.facts.bytes, 20);
        assert_eq!(recorded.excerpt.sha256, Hash::of(b"issued ***\nused ***\n"));
    }

    fn record(chunks: &[Vec<u8>], limits: OutputLimits) -> (Recorded, SharedLog, Vec<u8>) {
        let seen = Arc::new(Mutex::new(vec![]));
        let sink = seen.clone();
        let live: StreamSink = Box::new(move |bytes| sink.lock().unwrap().extend(bytes));
        let redactor = Redactor::new([SECRET.to_owned()]);
        let mut recorder = Recorder::new(OutputStream::Stdout, limits, &redactor, Some(live));
        chunks.iter().for_each(|chunk| recorder.push(chunk));
        let log: SharedLog = MemoryLog::new();
        let recorded = wait(recorder.finish(&log)).unwrap();
        let live = seen.lock().unwrap().clone();
        (recorded, log, live)
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// Bytes, some of them a secret, some of them text beyond ASCII, some of them no text.
    fn chunk() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => "[a-z \n]{0,40}".prop_map(String::into_bytes),
            2 => "[\u{e9}\u{20ac}\u{1f600}a]{0,20}".prop_map(String::into_bytes),
            1 => Just(SECRET.as_bytes().to_vec()),
            1 => Just(SECRET.as_bytes()[..5].to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..20),
        ]
    }

    proptest! {
        #[test]
        fn facts_excerpt_and_artifact_say_the_same_of_any_output(
            chunks in proptest::collection::vec(chunk(), 0..30),
            excerpt_bytes in 8..200_usize,
            kept_bytes in 0..400_usize,
        ) {
            let limits = OutputLimits { excerpt_bytes, kept_bytes };
            let (recorded, log, live) = record(&chunks, limits);
            let Recorded { facts, excerpt, raw, raw_is_whole } = recorded;
            let whole = chunks.concat();
            prop_assert_eq!(&raw[..], &whole[..whole.len().min(kept_bytes)]);
            prop_assert_eq!(raw_is_whole, whole.len() <= kept_bytes);
            prop_assert!(!live.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
            prop_assert_eq!(facts.bytes, live.len() as u64);
            prop_assert_eq!(excerpt.sha256, Hash::of(&live));
            let kept = facts.artifact.map(|hash| wait(log.get_artifact(hash)).unwrap().unwrap());
            let text = String::from_utf8_lossy(&live);
            match &kept {
                Some(kept) => {
                    prop_assert_eq!(&kept[..], &live[..live.len().min(kept_bytes)]);
                    prop_assert_eq!(facts.dropped_bytes, (live.len() - kept.len()) as u64);
                }
                None => prop_assert_eq!(excerpt.head.as_bytes(), &live[..]),
            }
            prop_assert!(text.starts_with(&excerpt.head), "{:?} of {:?}", excerpt.head, text);
            prop_assert!(text.ends_with(&excerpt.tail), "{:?} of {:?}", excerpt.tail, text);
            prop_assert!(excerpt.head.len() + excerpt.tail.len() <= excerpt_bytes);
        }
    }

    #[test]
    fn a_long_output_has_head_and_tail_cut_between_characters() {
        let limits = OutputLimits { excerpt_bytes: 10, kept_bytes: 100 };
        let (recorded, _, _) = record(&["€€€€ end".into(), "ing €€".into()], limits);
        assert_eq!((recorded.excerpt.head.as_str(), recorded.excerpt.tail.as_str()), ("€", "€"));
        assert_eq!(recorded.facts.bytes, 26);
    }
}
