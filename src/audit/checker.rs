//! The checks themselves, without IO: fed with pages and commits in order, they say what does not fit.
//!
//! A page is trusted for what its chain proves: the hash and size of each commit. So one damaged commit is one finding,
//! and what follows it is still checked. Memory is one head for each stream, one hash for each artifact, and what is
//! erased or found wrong: a commit's place follows from its stream's head, as numbers are given densely.

use std::collections::{BTreeMap, HashMap, HashSet};

use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::event::Event;
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, LogId, StreamId};
use testledger_schemas::page::{Anchor, FORMAT_VERSION, Page, PageEntry};

use crate::audit::artifacts::artifacts_of;
use crate::audit::finding::Finding;
use crate::audit::report::{AuditReport, Erased, MAX_LISTED};

/// How many numbers of skipped commits are remembered, to tell "without page" from "later".
const MAX_SKIPPED: u64 = 100_000;

/// The end of what was checked so far.
#[derive(Clone, Copy)]
struct End {
    page: u64,
    hash: Hash,
    next_position: u64,
}

/// Checks one log in the order of its pages.
pub struct Checker {
    expect: Option<Anchor>,
    expected_seen: bool,
    from_the_start: bool,
    end: Option<End>,
    heads: HashMap<StreamId, StreamHead>,
    skipped: BTreeMap<StreamId, HashSet<u64>>,
    gone: BTreeMap<(CommitId, EventId), u64>,
    named_artifacts: HashSet<Hash>,
    missing_artifacts: BTreeMap<Hash, u64>,
    erased_artifacts: HashSet<Hash>,
    unreadable: HashSet<CommitId>,
    report: AuditReport,
}

impl Checker {
    /// Begins with page 0; or in the middle (`from_the_start` false), where what came before is taken on trust.
    #[must_use]
    pub fn new(expect: Option<Anchor>, from_the_start: bool) -> Self {
        Self {
            expect,
            expected_seen: false,
            from_the_start,
            end: None,
            heads: HashMap::new(),
            skipped: BTreeMap::new(),
            gone: BTreeMap::new(),
            named_artifacts: HashSet::new(),
            missing_artifacts: BTreeMap::new(),
            erased_artifacts: HashSet::new(),
            unreadable: HashSet::new(),
            report: AuditReport::default(),
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn report(&self) -> &AuditReport {
        &self.report
    }

    /// Adds a finding of the one who reads.
    pub fn find(&mut self, finding: Finding) {
        self.report.find(finding);
    }

    /// Checks a page by itself and against the page before. Its entries follow, one by one, through [`Self::entry`].
    pub fn page(&mut self, page: &Page) {
        let number = page.number;
        self.report.pages += 1;
        self.check_expected(page);
        if page.computed_hash() != page.hash {
            self.find(Finding::PageEdited { page: number });
        }
        self.check_header(page);
        self.check_follows(page);
        self.report.anchor = Some(page.anchor());
        self.end = Some(End { page: number, hash: page.hash, next_position: page.next_position() });
    }

    fn check_expected(&mut self, page: &Page) {
        let Some(expect) = self.expect.filter(|expect| expect.page == page.number) else { return };
        self.expected_seen = true;
        let found = page.hash;
        if found != expect.hash {
            self.find(Finding::Rewritten { page: expect.page, expected: expect.hash, found });
        }
    }

    fn check_header(&mut self, page: &Page) {
        let wrong = |reason: &str| Finding::Header { page: page.number, reason: reason.to_owned() };
        match (&page.header, page.number) {
            (Some(header), 0) => {
                self.report.log_id = Some(header.log_id);
                if page.prev_hash != Page::origin(header.log_id) {
                    self.find(wrong("it does not derive from the log's id"));
                }
                if header.format_version > FORMAT_VERSION {
                    self.find(wrong("the log's format is newer than this program"));
                }
            }
            (None, 0) => self.find(wrong("it does not say which log it opens")),
            (Some(_), _) => self.find(wrong("it says that it opens a log, and only page 0 does")),
            (None, _) => {}
        }
    }

    fn check_follows(&mut self, page: &Page) {
        let (due, position, hash) = match self.end {
            Some(end) => (end.page + 1, end.next_position, Some(end.hash)),
            None if self.from_the_start => (0, 1, None),
            None => (page.number, page.first_position, None),
        };
        if page.number > due {
            // What follows a gap is taken on trust, so that the gap is one finding.
            self.find(Finding::PagesMissing { page: due, last: page.number - 1 });
            return;
        }
        if page.first_position != position {
            self.find(Finding::PagePosition { page: page.number, expected: position, found: page.first_position });
        }
        if hash.is_some_and(|hash| hash != page.prev_hash) {
            self.find(Finding::PageChainBroken { page: page.number });
        }
    }

    /// Checks one entry of a page, whose first event stands at `position`, with the commit as it is stored (none where
    /// it is not there, an error where it cannot be read). Returns artifacts that are named for the first time.
    pub fn entry(
        &mut self,
        page: u64,
        entry: &PageEntry,
        position: u64,
        stored: Result<Option<&Commit>, String>,
    ) -> Vec<Hash> {
        let commit = entry.commit;
        if let Some(fault) = entry.fault.clone() {
            self.find(Finding::SealedFaulty { page, commit, fault });
        }
        let head = self.place(page, entry, position);
        match stored {
            Ok(Some(found)) => {
                self.report.commits += 1;
                self.check_commit(page, entry, position, found, head);
                self.events(found, position)
            }
            Ok(None) => {
                self.find(Finding::CommitMissing { page, commit, position });
                vec![]
            }
            Err(reason) => {
                self.unreadable.insert(commit);
                self.find(Finding::CommitUnreadable { page, commit, position, reason });
                vec![]
            }
        }
    }

    /// Gives the commit its place in its stream; returns the head it has to continue, where that is known.
    fn place(&mut self, page: u64, entry: &PageEntry, position: u64) -> Option<StreamHead> {
        let id = entry.commit;
        let head = match self.heads.get(&id.stream) {
            Some(head) => *head,
            None if self.from_the_start => StreamHead::EMPTY,
            None => StreamHead { number: id.number.saturating_sub(1), ..StreamHead::EMPTY },
        };
        let is_known = self.from_the_start || self.heads.contains_key(&id.stream);
        let due = head.number.saturating_add(1);
        if id.number < due {
            if self.skipped.get_mut(&id.stream).is_some_and(|numbers| numbers.remove(&id.number)) {
                self.find(Finding::CommitOrder { page, commit: id, expected: due });
            } else {
                self.find(Finding::CommitTwice { page, commit: id, position });
            }
            return None;
        }
        if id.number > due {
            self.find(Finding::CommitOrder { page, commit: id, expected: due });
            let last = id.number.min(due.saturating_add(MAX_SKIPPED));
            self.skipped.entry(id.stream).or_default().extend(due..last);
        }
        let version = head.version.saturating_add(entry.events);
        self.heads.insert(id.stream, StreamHead { number: id.number, version, hash: entry.hash });
        (is_known && id.number == due).then_some(head)
    }

    fn check_commit(&mut self, page: u64, entry: &PageEntry, position: u64, found: &Commit, head: Option<StreamHead>) {
        let commit = entry.commit;
        if let Err(fault) = found.check() {
            self.find(Finding::CommitEdited { commit, position, fault: fault.to_string() });
            return;
        }
        let events = found.events.len() as u64;
        let reason = if found.id != commit {
            Some(format!("the row holds {}", found.id))
        } else if found.hash != entry.hash {
            Some("its hash is another".to_owned())
        } else if events != entry.events {
            Some(format!("it has {events} events and its page says {}", entry.events))
        } else {
            None
        };
        if let Some(reason) = reason {
            self.find(Finding::CommitReplaced { page, commit, position, reason });
            return;
        }
        let Some(head) = head else {
            self.settle_version(found);
            return;
        };
        if found.prev_hash != head.hash {
            let reason = "its hash of the commit before is another".to_owned();
            self.find(Finding::StreamChainBroken { commit, position, reason });
        }
        if found.first_version != head.version.saturating_add(1) {
            let reason = format!("it begins at version {} and {} is due", found.first_version, head.version + 1);
            self.find(Finding::StreamChainBroken { commit, position, reason });
            self.settle_version(found);
        }
    }

    /// Goes on from the version that the commit itself has, where the one before is not known.
    fn settle_version(&mut self, found: &Commit) {
        if let Some(head) = self.heads.get_mut(&found.id.stream).filter(|head| head.number == found.id.number) {
            head.version = found.first_version.saturating_add(found.events.len() as u64).saturating_sub(1);
        }
    }

    fn events(&mut self, commit: &Commit, first: u64) -> Vec<Hash> {
        let mut named = Vec::new();
        for (position, recorded) in (first..).zip(&commit.events) {
            self.report.events += 1;
            if recorded.is_erased() {
                self.gone.insert((commit.id, recorded.event_id), position);
            }
            match recorded.read() {
                Ok(event) => self.event(&event, position, &mut named),
                Err(error) => self.find(Finding::EventUnreadable {
                    position,
                    commit: commit.id,
                    event: recorded.event_id,
                    reason: error.to_string(),
                }),
            }
        }
        named
    }

    fn event(&mut self, event: &Event, position: u64, named: &mut Vec<Hash>) {
        if let Event::DataErased(erasure) = event {
            self.erased_artifacts.extend(&erasure.artifacts);
            let target = self.gone.remove(&(erasure.commit, erasure.event_id));
            let erased =
                Erased { position: target, commit: erasure.commit, event: erasure.event_id, erased_by: position };
            self.note_erasure(erased);
        }
        for artifact in artifacts_of(event) {
            if self.named_artifacts.insert(artifact) {
                named.push(artifact);
            }
        }
    }

    /// An erasure may be recorded twice (it was run again): the second finds nothing more to name.
    fn note_erasure(&mut self, erased: Erased) {
        let is_same = |it: &Erased| it.commit == erased.commit && it.event == erased.event;
        let report = &mut self.report;
        if erased.position.is_some() {
            report.erased_total += 1;
            if report.erased.len() < MAX_LISTED {
                report.erased.push(erased);
            }
        } else if !report.erased.iter().chain(&report.unfinished_erasures).any(is_same) {
            report.unfinished_erasures.push(erased);
        }
    }

    /// What the store has under the hash of an artifact that is named at `position`.
    pub fn artifact(&mut self, artifact: Hash, position: u64, stored: Option<&[u8]>) {
        match stored {
            Some(bytes) if Hash::of(bytes) == artifact => self.report.artifacts += 1,
            Some(_) => self.find(Finding::ArtifactEdited { artifact, position }),
            None => {
                self.missing_artifacts.insert(artifact, position);
            }
        }
    }

    /// A stored commit that has its place, but whose stored text is not what it should be.
    pub fn altered(&mut self, id: CommitId, reason: String) {
        if self.unreadable.insert(id) {
            self.find(Finding::CommitAltered { commit: id, reason });
        }
    }

    /// Counts a commit that is durable and has no place yet.
    pub fn note_unsequenced(&mut self) {
        self.report.unsequenced += 1;
    }

    /// Whether a page has given this commit its place.
    #[must_use]
    pub fn has_place(&self, id: CommitId) -> bool {
        let is_skipped = || self.skipped.get(&id.stream).is_some_and(|numbers| numbers.contains(&id.number));
        self.heads.get(&id.stream).is_some_and(|head| id.number <= head.number) && !is_skipped()
    }

    /// The number of the page that comes next.
    #[must_use]
    pub fn next_page(&self) -> u64 {
        self.end.map_or(0, |end| end.page + 1)
    }

    /// The log's id, where page 0 was read.
    #[must_use]
    pub fn log_id(&self) -> Option<LogId> {
        self.report.log_id
    }

    /// Says what is only known at the end, and gives the report.
    #[must_use]
    pub fn finish(mut self) -> AuditReport {
        for ((commit, event), position) in std::mem::take(&mut self.gone) {
            self.find(Finding::ContentGone { position, commit, event });
        }
        for (artifact, position) in std::mem::take(&mut self.missing_artifacts) {
            if !self.erased_artifacts.contains(&artifact) {
                self.find(Finding::ArtifactGone { artifact, position });
            }
        }
        if let Some(expect) = self.expect.filter(|_| !self.expected_seen) {
            self.find(Finding::TailCut { page: expect.page, last: self.end.map(|end| end.page) });
        }
        self.report.streams = self.heads.len() as u64;
        self.report
    }
}
