//! What must not be seen, found across chunk borders and in its common encodings, and shown as `***`.
//!
//! Every stretch of text that is covered by a secret, or by overlapping ones, is replaced by one `***`. How a secret may
//! look is in `variants`: as it is, in Base64, percent-encoded, hexadecimal, and escaped for JSON, HTML and shells;
//! a secret of several lines also line by line.
//!
//! Limits, on purpose: secrets of fewer than [`MIN_SECRET_CHARS`] characters are not redacted (`1` or `no` would make
//! every output unreadable and hide nothing). Not found are: a secret within compressed or encrypted data, encoded twice, in
//! Base64 that is broken into lines, spelled backwards or with something in between, or printed in two streams. The
//! few bits that the first and last Base64 character share with their neighbours may be seen. A secret that itself
//! looks like `***` next to a redaction is beyond help.

mod variants;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};

pub use variants::MIN_SECRET_CHARS;

/// What stands where a secret was.
pub const MASK: &str = "***";

/// What must not be seen. Cheap to clone; what one clone learns, all know.
#[derive(Clone, Default)]
pub struct Redactor {
    inner: Arc<RwLock<Arc<Inner>>>,
}

/// The secrets, and how to find them.
#[derive(Default)]
struct Inner {
    secrets: Vec<String>,
    /// Every look of every secret, sorted.
    patterns: Vec<Vec<u8>>,
    /// Finds them; none where there is nothing to find.
    finder: Option<AhoCorasick>,
    /// The longest pattern, in bytes.
    longest: usize,
}

impl Redactor {
    /// A redactor of these secrets. Those that are too short are passed over.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        Self { inner: Arc::new(RwLock::new(Arc::new(Inner::new(secrets)))) }
    }

    fn now(&self) -> Arc<Inner> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more secret (a captured one), for this redactor and all its clones.
    pub fn learn(&self, secret: &str) {
        self.learn_all([secret.to_owned()]);
    }

    /// More secrets, for this redactor and all its clones.
    pub fn learn_all(&self, secrets: impl IntoIterator<Item = String>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let unknown: BTreeSet<String> =
            secrets.into_iter().filter(|secret| !inner.secrets.iter().any(|known| known == secret)).collect();
        if !unknown.is_empty() {
            *inner = Arc::new(Inner::new(inner.secrets.iter().cloned().chain(unknown)));
        }
    }

    /// This redactor, after it has learnt one more secret.
    #[must_use]
    pub fn with(&self, secret: &str) -> Self {
        self.learn(secret);
        self.clone()
    }

    /// Whether there is nothing to redact.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.now().finder.is_none()
    }

    /// The text without secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        let bytes = self.bytes(text.as_bytes());
        // Secrets begin and end at character borders, so this is UTF-8 as the text was.
        String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// The bytes without secrets.
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut redacted = stream.push(bytes);
        redacted.extend(stream.finish());
        redacted
    }

    /// A redactor of bytes that come piece by piece.
    #[must_use]
    pub fn stream(&self) -> StreamRedactor {
        let inner = self.now();
        StreamRedactor { redactor: self.clone(), began_with: Arc::clone(&inner), inner, held: vec![], covered: 0 }
    }
}

/// Redacts bytes that come piece by piece; holds back what may be the start of a secret, and no more.
pub struct StreamRedactor {
    redactor: Redactor,
    began_with: Arc<Inner>,
    inner: Arc<Inner>,
    /// Not given out yet.
    held: Vec<u8>,
    /// So many of the held bytes belong to a secret whose mask was given out already.
    covered: usize,
}

impl StreamRedactor {
    /// Takes more bytes; gives back what is certain by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.inner = self.redactor.now();
        let Some(finder) = self.inner.finder.clone() else { return bytes.to_vec() };
        self.held.extend_from_slice(bytes);
        let certain = self.inner.uncertain_from(&self.held);
        self.release(&finder, certain)
    }

    /// The redactor, if it has learnt a secret since this began: what was given back before may hold it.
    #[must_use]
    pub fn has_learnt(&self) -> Option<&Redactor> {
        (!Arc::ptr_eq(&self.began_with, &self.redactor.now())).then_some(&self.redactor)
    }

    /// Gives back the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        let Some(finder) = self.inner.finder.clone() else { return vec![] };
        self.release(&finder, self.held.len())
    }

    /// Gives out the held bytes before `certain`, where every secret that begins there is in view as a whole.
    fn release(&mut self, finder: &AhoCorasick, certain: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(certain);
        // Up to here everything is given out, or covered by a mask that is.
        let mut done = 0;
        for (start, end) in stretches(finder, &self.held, certain, self.covered) {
            out.extend_from_slice(self.held.get(done..start).unwrap_or_default());
            let masked_before = start == 0 && self.covered > 0;
            if end > start && !masked_before {
                out.extend_from_slice(MASK.as_bytes());
            }
            done = end;
        }
        if done < certain {
            out.extend_from_slice(&self.held[done..certain]);
        }
        self.covered = done.saturating_sub(certain);
        self.held.drain(..certain);
        out
    }
}

/// The stretches that secrets cover, in order, overlapping ones joined; those that begin before `certain` only. The
/// first `covered` bytes are a stretch already.
fn stretches(finder: &AhoCorasick, bytes: &[u8], certain: usize, covered: usize) -> Vec<(usize, usize)> {
    let mut found = vec![];
    // This search is quick where nothing is found, which is nearly always.
    if finder.is_match(bytes) {
        let matches = finder.find_overlapping_iter(bytes).map(|found| (found.start(), found.end()));
        found.extend(matches.filter(|(start, _)| *start < certain));
        found.sort_unstable();
    }
    let mut joined: Vec<(usize, usize)> = vec![(0, covered)];
    for (start, end) in found {
        match joined.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            Some(_) | None => joined.push((start, end)),
        }
    }
    joined
}

impl Inner {
    fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> =
            secrets.into_iter().filter(|secret| secret.chars().count() >= MIN_SECRET_CHARS).collect();
        secrets.sort();
        secrets.dedup();
        let mut patterns: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| variants::of(secret)).collect();
        patterns.sort();
        patterns.dedup();
        let build = |patterns: &[Vec<u8>]| AhoCorasick::builder().match_kind(MatchKind::Standard).build(patterns);
        let mut finder = (!patterns.is_empty()).then(|| build(&patterns));
        if let Some(Err(_)) = finder {
            // More than 2^31 states: secrets of gigabytes. As they are, they need fewer.
            patterns = secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect();
            finder = Some(build(&patterns));
        }
        let finder = finder.and_then(Result::ok);
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        Self { secrets, patterns, finder, longest }
    }

    /// The first position from which on a secret may begin whose end is not in view.
    fn uncertain_from(&self, bytes: &[u8]) -> usize {
        let first = (bytes.len() + 1).saturating_sub(self.longest);
        (first..bytes.len()).find(|start| self.begins_a_pattern(&bytes[*start..])).unwrap_or(bytes.len())
    }

    /// Whether some pattern begins with this and goes on.
    fn begins_a_pattern(&self, bytes: &[u8]) -> bool {
        let next = self.patterns.partition_point(|pattern| pattern.as_slice() <= bytes);
        self.patterns.get(next).is_some_and(|pattern| pattern.starts_with(bytes))
    }
}

#[cfg(test)]
mod tests;
