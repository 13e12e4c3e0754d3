//! The sequencer: turns commits, in the order of a change stream, into pages. A pure state machine.
//!
//! Whoever drives it reads the change stream from [`Sequencer::token`] on, offers each commit, seals a page, and tries
//! to insert it under its number. If another sequencer was quicker, or the answer is anything but an
//! acknowledgement, it goes on from the page that is the last one then ([`Sequencer::resume`]).

use std::collections::{HashMap, HashSet};

use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;
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

/// A commit that waits for its place: what its entry and the check of its chain need.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its entry; what is wrong with the commit by itself is its fault.
    pub entry: PageEntry,
    first_version: u64,
    prev_hash: Hash,
}

impl Candidate {
    /// Of a commit that another process wrote: it is checked by itself.
    #[must_use]
    pub fn checked(commit: &Commit) -> Self {
        let fault = commit.check().err().map(|fault| fault.to_string());
        let trusted = Self::trusted(commit);
        Self { entry: PageEntry { fault, ..trusted.entry }, ..trusted }
    }

    /// Of a commit that was checked before.
    #[must_use]
    pub fn trusted(commit: &Commit) -> Self {
        Self { entry: PageEntry::of(commit), first_version: commit.first_version, prev_hash: commit.prev_hash }
    }

    /// Which commit.
    #[must_use]
    pub fn id(&self) -> CommitId {
        self.entry.commit
    }
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
    pub fn offer(&mut self, commit: &Candidate, token: &str, sequenced: Sequenced) -> Offered {
        let id = commit.id();
        let own = self.heads.get(&id.stream).copied();
        let head = own.filter(|own| own.number >= sequenced.head.number).unwrap_or(sequenced.head);
        if sequenced.commit || self.taken.contains(&id) {
            // What is passed over is followed by what is not: its stream's end is after it.
            self.heads.insert(id.stream, head_after(commit, head));
            self.token = Some(token.to_owned());
            return Offered::Known;
        }
        if self.entries.len() >= MAX_PAGE_ENTRIES {
            return Offered::Full;
        }
        let fault = fault_of(commit, head);
        self.heads.insert(id.stream, head_after(commit, head));
        self.entries.push(PageEntry { fault, ..commit.entry.clone() });
        self.taken.insert(id);
        self.token = Some(token.to_owned());
        Offered::Taken
    }

    /// The page of all that was taken; none if nothing was. It becomes the last one by [`Sequencer::resume`], once it
    /// is durable.
    #[must_use]
    pub fn seal(&self) -> Option<Page> {
        self.sealed(self.token.clone(), false)
    }

    /// As [`Sequencer::seal`], for commits that were found without a place after the change stream's history was lost:
    /// the page is marked, and has no token to go on from.
    #[must_use]
    pub fn seal_backfill(&self) -> Option<Page> {
        self.sealed(None, true)
    }

    fn sealed(&self, token: Option<String>, backfill: bool) -> Option<Page> {
        let entries = self.entries.clone();
        (!entries.is_empty()).then(|| Page::following(&self.last, entries, token, backfill))
    }
}

/// The end of a stream after a commit got its place, good or bad: what the next one has to continue.
#[must_use]
pub fn head_after(commit: &Candidate, head: StreamHead) -> StreamHead {
    let number = commit.id().number;
    if number <= head.number {
        return head;
    }
    // A bad commit may have any numbers.
    let version = commit.first_version.saturating_add(commit.entry.events).saturating_sub(1);
    StreamHead { number, version, hash: commit.entry.hash }
}

fn fault_of(commit: &Candidate, head: StreamHead) -> Option<String> {
    if commit.entry.fault.is_some() {
        return commit.entry.fault.clone();
    }
    if commit.id().number != head.number.saturating_add(1) {
        return Some(format!("its number should be {}", head.number.saturating_add(1)));
    }
    if commit.first_version != head.version.saturating_add(1) {
        return Some(format!("its first version should be {}", head.version.saturating_add(1)));
    }
    (commit.prev_hash != head.hash).then(|| format!("the commit before it has the hash {}", head.hash))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use testledger_schemas::commit::Envelope;
    use testledger_schemas::event::ExecutionReady;
    use testledger_schemas::ids::{EventId, LogId};
    use testledger_schemas::{ExecutionId, RecordedEvent, Timestamp};
    use uuid::Uuid;

    use super::*;

    const NEW: Sequenced = Sequenced { commit: false, head: StreamHead::EMPTY };

    fn genesis() -> Page {
        Page::genesis(LogId(Uuid::from_u128(1)), Some("0".to_owned()))
    }

    fn commits(stream: u128, count: usize) -> Vec<Commit> {
        let mut head = StreamHead::EMPTY;
        let next = |number: usize| {
            let envelope = Envelope {
                recorded_at: Timestamp::from_unix_ms(0),
                actor: "ada".to_owned(),
                worker: None,
                claim_epoch: None,
                correlation_id: None,
                causation_id: None,
            };
            let id = EventId(Uuid::from_u128(stream << 64 | number as u128));
            let event = RecordedEvent::write(id, String::new(), &ExecutionReady { parent_epoch: None }.into()).unwrap();
            let commit =
                Commit::seal(ExecutionId(Uuid::from_u128(stream)).into(), head, envelope, vec![event]).unwrap();
            head = commit.head();
            commit
        };
        (0..count).map(next).collect()
    }

    fn faults(page: &Page) -> Vec<Option<&str>> {
        page.entries.iter().map(|entry| entry.fault.as_deref()).collect()
    }

    #[test]
    fn a_page_has_what_was_offered_in_order_and_the_token_after_it() {
        let commits = commits(1, 2);
        let mut sequencer = Sequencer::resume(genesis());
        assert_eq!((sequencer.token(), sequencer.seal()), (Some("0"), None));
        assert_eq!(sequencer.offer(&Candidate::checked(&commits[0]), "1", NEW), Offered::Taken);
        assert_eq!(sequencer.offer(&Candidate::checked(&commits[1]), "2", NEW), Offered::Taken);
        let page = sequencer.seal().unwrap();
        assert_eq!((page.number, page.token.as_deref(), faults(&page)), (1, Some("2"), vec![None, None]));
        assert_eq!(page.entries.iter().map(|entry| entry.commit).collect::<Vec<_>>(), [commits[0].id, commits[1].id]);
    }

    #[test]
    fn a_commit_never_gets_a_second_place() {
        let commits = commits(1, 1);
        let mut sequencer = Sequencer::resume(genesis());
        assert_eq!(sequencer.offer(&Candidate::checked(&commits[0]), "1", NEW), Offered::Taken);
        assert_eq!(sequencer.offer(&Candidate::checked(&commits[0]), "2", NEW), Offered::Known);
        let page = sequencer.seal().unwrap();
        assert_eq!((page.entries.len(), page.token.as_deref()), (1, Some("2")));
        let mut next = Sequencer::resume(page);
        let sequenced = Sequenced { commit: true, head: commits[0].head() };
        assert_eq!(next.offer(&Candidate::checked(&commits[0]), "3", sequenced), Offered::Known);
        assert_eq!((next.seal(), next.token()), (None, Some("3")), "what was passed over is not read again");
    }

    #[test]
    fn what_follows_a_commit_that_is_passed_over_is_no_gap() {
        let commits = commits(1, 3);
        let mut sequencer = Sequencer::resume(genesis());
        let stale = Sequenced { commit: true, head: commits[0].head() };
        assert_eq!(sequencer.offer(&Candidate::checked(&commits[1]), "1", stale), Offered::Known);
        let next = Sequenced { commit: false, ..stale };
        assert_eq!(sequencer.offer(&Candidate::checked(&commits[2]), "2", next), Offered::Taken);
        assert_eq!(faults(&sequencer.seal().unwrap()), [None]);
    }

    #[test]
    fn bad_commits_are_sealed_flagged_and_nothing_halts() {
        let good = commits(1, 4);
        let mut forged = good[1].clone();
        forged.actor = "eve".to_owned();
        let mut sequencer = Sequencer::resume(genesis());
        for (commit, token) in [&good[0], &forged, &good[2]].into_iter().zip(["1", "2", "3"]) {
            assert_eq!(sequencer.offer(&Candidate::checked(commit), token, NEW), Offered::Taken);
        }
        let gap = commits(2, 2).remove(1);
        assert_eq!(sequencer.offer(&Candidate::checked(&gap), "4", NEW), Offered::Taken);
        let mut unchained = commits(3, 2).remove(1);
        unchained.prev_hash = Hash::ZERO;
        unchained.hash = unchained.computed_hash().unwrap();
        let head = commits(3, 1)[0].head();
        assert_eq!(
            sequencer.offer(&Candidate::checked(&unchained), "5", Sequenced { commit: false, head }),
            Offered::Taken
        );
        let wild = Commit { first_version: u64::MAX, ..commits(4, 1).remove(0) };
        assert_eq!(sequencer.offer(&Candidate::checked(&wild), "6", NEW), Offered::Taken);
        let page = sequencer.seal().unwrap();
        let flagged: Vec<_> = faults(&page).iter().map(Option::is_some).collect();
        assert_eq!(flagged, [false, true, false, true, true, true], "{:?}", faults(&page));
    }

    #[test]
    fn a_full_page_takes_no_more() {
        let commits = commits(1, MAX_PAGE_ENTRIES + 1);
        let mut sequencer = Sequencer::resume(genesis());
        for commit in &commits[..MAX_PAGE_ENTRIES] {
            assert_eq!(sequencer.offer(&Candidate::checked(commit), "t", NEW), Offered::Taken);
        }
        assert_eq!(sequencer.offer(&Candidate::checked(&commits[MAX_PAGE_ENTRIES]), "u", NEW), Offered::Full);
        assert_eq!(sequencer.token(), Some("t"), "what was not taken is read again");
    }

    proptest! {
        /// However often and from wherever the change stream repeats itself, each commit gets one place, in order.
        #[test]
        fn any_redelivery_gives_each_commit_one_place(
            lengths in proptest::collection::vec(0_usize..12, 1..40),
            back in proptest::collection::vec(0_usize..6, 40),
        ) {
            let all = commits(1, 30);
            let (mut last, mut order, mut next) = (genesis(), Vec::new(), 0_usize);
            for (length, back) in lengths.into_iter().zip(back) {
                let mut sequencer = Sequencer::resume(last.clone());
                let from = next.saturating_sub(back);
                for (place, commit) in all.iter().enumerate().skip(from).take(length) {
                    let placed = order.iter().filter(|id| **id == commit.id).count() == 1;
                    let head = order.len().checked_sub(1).map_or(StreamHead::EMPTY, |last| all[last].head());
                    let _ = sequencer.offer(&Candidate::checked(commit), &place.to_string(), Sequenced { commit: placed, head });
                }
                if let Some(page) = sequencer.seal() {
                    prop_assert!(page.entries.iter().all(|entry| entry.fault.is_none()));
                    prop_assert_eq!(page.first_position, order.len() as u64 + 1);
                    order.extend(page.entries.iter().map(|entry| entry.commit));
                    last = page;
                }
                next = order.len();
            }
            prop_assert_eq!(&order, &all[..order.len()].iter().map(|commit| commit.id).collect::<Vec<_>>());
        }
    }
}
