//! The sequencer: turns commits, in the order of a change stream, into pages. A pure state machine.
//!
//! Whoever drives it reads the change stream from [`Sequencer::token`] on, offers each commit, seals a page, and tries
//! to insert it under its number. If another sequencer was quicker, or the answer is anything but an
//! acknowledgement, it goes on from the page that is the last one then ([`Sequencer::resume`]).

use std::collections::{HashMap, HashSet};

use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::ids::StreamId;
use testledger_schemas::page::{Page, PageEntry};

/// The most commits of one page.
pub const MAX_PAGE_ENTRIES: usize = 256;

/// What the pages so far say of a commit that is offered, and of its stream.
#[derive(Clone, Copy, Debug)]
pub struct Sequenced {
    /// Whether the commit has its place already.
    pub commit: bool,
    /// The end of its stream, as far as the stream has places.
    pub head: StreamHead,
}

/// What became of an offered commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offered {
    /// It stands in the page that is being made.
    Taken,
    /// It has its place already, here or in an earlier page: delivered again, and passed over.
    Known,
    /// The page is full: seal it, then offer the commit again.
    Full,
}

/// Makes the next page.
#[derive(Clone, Debug)]
pub struct Sequencer {
    last: Page,
    entries: Vec<PageEntry>,
    taken: HashSet<CommitId>,
    heads: HashMap<StreamId, StreamHead>,
    token: Option<String>,
}

impl Sequencer {
    /// Goes on after the last page of the log.
    #[must_use]
    pub fn resume(last: Page) -> Self {
        let token = last.token.clone();
        Self { last, entries: Vec::new(), taken: HashSet::new(), heads: HashMap::new(), token }
    }

    /// Where to read the change stream from.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Takes the next commit of the change stream, whose token follows it. A bad commit gets its place too, flagged:
    /// nothing halts because of it.
    pub fn offer(&mut self, commit: &Commit, token: &str, sequenced: Sequenced) -> Offered {
        if sequenced.commit || self.taken.contains(&commit.id) {
            self.token = Some(token.to_owned());
            return Offered::Known;
        }
        if self.entries.len() >= MAX_PAGE_ENTRIES {
            return Offered::Full;
        }
        let head = self.heads.get(&commit.id.stream).copied().unwrap_or(sequenced.head);
        let fault = fault_of(commit, head);
        self.heads.insert(commit.id.stream, head_after(commit, head));
        self.entries.push(PageEntry { fault, ..PageEntry::of(commit) });
        self.taken.insert(commit.id);
        self.token = Some(token.to_owned());
        Offered::Taken
    }

    /// The page of all that was taken; none if nothing was. It becomes the last one by [`Sequencer::resume`], once it
    /// is durable.
    #[must_use]
    pub fn seal(&self) -> Option<Page> {
        let entries = self.entries.clone();
        (!entries.is_empty()).then(|| Page::following(&self.last, entries, self.token.clone(), false))
    }
}

/// The end of a stream after a commit got its place, good or bad: what the next one has to continue.
#[must_use]
pub fn head_after(commit: &Commit, head: StreamHead) -> StreamHead {
    if commit.id.number <= head.number {
        return head;
    }
    // Not `Commit::head`: a bad commit may have any numbers.
    let version = commit.first_version.saturating_add(commit.events.len() as u64).saturating_sub(1);
    StreamHead { number: commit.id.number, version, hash: commit.hash }
}

fn fault_of(commit: &Commit, head: StreamHead) -> Option<String> {
    if let Err(fault) = commit.check() {
        return Some(fault.to_string());
    }
    if commit.id.number != head.number.saturating_add(1) {
        return Some(format!("its number should be {}", head.number.saturating_add(1)));
    }
    if commit.first_version != head.version.saturating_add(1) {
        return Some(format!("its first version should be {}", head.version.saturating_add(1)));
    }
    (commit.prev_hash != head.hash).then(|| format!("the commit before it has the hash {}", head.hash))
}
