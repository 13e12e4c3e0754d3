//! Walks a whole log and compares everything that is stored with everything else.
//!
//! Two walks: the pages in order with their commits, and the stored commits by id against the pages. A log may be
//! appended to meanwhile: commits that are found without a place are looked for once more in pages that came later.

use std::time::Duration;

use testledger_schemas::commit::CommitId;
use testledger_schemas::hash::Hash;
use testledger_schemas::page::{Anchor, Page};
use tokio::time::Instant;

use crate::audit::checker::Checker;
use crate::audit::finding::Finding;
use crate::audit::report::AuditReport;
use crate::event_store::subscription::read_each;
use crate::event_store::{EventLog, RawCommit, StoreError};

/// How many pages are read at once.
const PAGES_AT_ONCE: usize = 64;
/// How many commits are read at once.
const COMMITS_AT_ONCE: usize = 64;
/// After so many pages in a row that cannot be read, the walk ends.
const MAX_UNREADABLE_PAGES: u64 = 1_000;
/// How many rows are asked for at once where many of their keys are no commit ids; more end the scan.
const MAX_SCAN: usize = 65_536;
/// How many commits without a place are remembered; each further one is a finding of its own at once.
const MAX_SUSPECTS: usize = 100_000;
/// How often a sequencer is looked for that may be behind.
const SEQUENCER_POLL: Duration = Duration::from_millis(50);

/// How a commit comes to its place in the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sequencing {
    /// In the transaction that appends it (SQLite): a commit without a place is always a finding.
    #[default]
    WithAppend,
    /// A sequencer comes after it (memory, MongoDB). What has no place after this time is counted as unsequenced, and
    /// is a finding only if pages were written since and passed it over.
    Behind {
        /// How long to wait for the sequencer.
        grace: Duration,
    },
}

/// What an audit is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VerifyOptions {
    /// A `PAGE:HASH` that somebody kept: finds a cut or a rewrite of the whole.
    pub expect: Option<Anchor>,
    /// How the log gives positions.
    pub sequencing: Sequencing,
}

/// How far an audit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VerifyProgress {
    /// Pages walked.
    pub pages: u64,
    /// Events walked.
    pub events: u64,
    /// Stored commits compared with the pages.
    pub scanned: u64,
    /// Findings so far.
    pub findings: u64,
}

/// Verifies a log. What is wrong with it is in the report, never an error.
///
/// # Errors
/// [`StoreError`] where the store could not be read at all (away, refused).
pub async fn verify(
    log: &dyn EventLog,
    options: &VerifyOptions,
    progress: &(dyn Fn(VerifyProgress) + Send + Sync),
) -> Result<AuditReport, StoreError> {
    let mut audit = Audit { log, checker: Checker::new(options.expect, true), scanned: 0, next_page: 0, progress };
    audit.walk_pages().await?;
    let suspects = audit.scan().await?;
    let walked = audit.next_page;
    audit.walk_pages().await?;
    audit.judge(suspects, options.sequencing, walked).await?;
    Ok(audit.checker.finish())
}

struct Audit<'a> {
    log: &'a dyn EventLog,
    checker: Checker,
    scanned: u64,
    next_page: u64,
    progress: &'a (dyn Fn(VerifyProgress) + Send + Sync),
}

/// A stored commit that no page has named so far.
struct Suspect {
    id: Option<CommitId>,
    row: String,
    unreadable: Option<String>,
}

impl Audit<'_> {
    fn tell(&self) {
        let report = self.checker.report();
        (self.progress)(VerifyProgress {
            pages: report.pages,
            events: report.events,
            scanned: self.scanned,
            findings: report.findings_total,
        });
    }

    /// Walks all pages from the next one to the last.
    async fn walk_pages(&mut self) -> Result<(), StoreError> {
        loop {
            let pages = match self.log.read_pages(self.next_page, PAGES_AT_ONCE).await {
                Err(StoreError::Damaged(_)) => self.read_around_damage().await?,
                pages => pages?,
            };
            if pages.is_empty() {
                return Ok(());
            }
            for page in &pages {
                self.walk_page(page).await?;
            }
            self.tell();
        }
    }

    /// Reads page by page where one of many cannot be read: each that cannot is a finding. Empty at the end.
    async fn read_around_damage(&mut self) -> Result<Vec<Page>, StoreError> {
        let mut last_reason = None;
        for _ in 0..MAX_UNREADABLE_PAGES {
            match self.log.read_pages(self.next_page, 1).await {
                Err(StoreError::Damaged(reason)) => {
                    // The same words again: the row stands further on, behind a gap.
                    if last_reason.as_ref() != Some(&reason) {
                        self.checker.find(Finding::PageUnreadable { page: self.next_page, reason: reason.clone() });
                    }
                    last_reason = Some(reason);
                    self.next_page = self.next_page.saturating_add(1);
                }
                pages => return pages,
            }
        }
        let reason = format!("{MAX_UNREADABLE_PAGES} pages in a row cannot be read: the audit of the order ends here");
        self.checker.find(Finding::Unreadable { reason });
        Ok(vec![])
    }

    async fn walk_page(&mut self, page: &Page) -> Result<(), StoreError> {
        self.checker.page(page);
        self.next_page = page.number.saturating_add(1);
        let mut position = page.first_position;
        for entries in page.entries.chunks(COMMITS_AT_ONCE) {
            let ids: Vec<CommitId> = entries.iter().map(|entry| entry.commit).collect();
            for (entry, stored) in entries.iter().zip(read_each(self.log, &ids).await?) {
                let stored = stored.as_ref().map(Option::as_ref).map_err(Clone::clone);
                let named = self.checker.entry(page.number, entry, position, stored);
                self.compare_artifacts(&named, position).await?;
                position = position.saturating_add(entry.events);
            }
        }
        Ok(())
    }

    async fn compare_artifacts(&mut self, named: &[Hash], position: u64) -> Result<(), StoreError> {
        for artifact in named {
            match self.log.get_artifact(*artifact).await {
                Ok(stored) => self.checker.artifact(*artifact, position, stored.as_deref()),
                Err(StoreError::Damaged(_)) => {
                    self.checker.find(Finding::ArtifactEdited { artifact: *artifact, position });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes through all stored commits by id and returns those that no page has named.
    async fn scan(&mut self) -> Result<Vec<Suspect>, StoreError> {
        let (mut after, mut limit, mut suspects) = (None, COMMITS_AT_ONCE * 4, Vec::new());
        loop {
            let rows = match self.log.scan_commits(after, limit).await {
                Err(StoreError::Damaged(reason)) => {
                    let reason = format!("the audit of the stored commits ends here: {reason}");
                    self.checker.find(Finding::Unreadable { reason });
                    return Ok(suspects);
                }
                rows => rows?,
            };
            let Some(last) = rows.iter().rev().find_map(|row| row.id.parse::<CommitId>().ok()) else {
                if rows.len() < limit {
                    self.compare(rows, &mut suspects);
                    return Ok(suspects);
                }
                // None of the keys is a commit id, so none leads on: ask for more at once.
                if limit >= MAX_SCAN {
                    let reason = format!("{limit} rows in a row have no commit id: the audit of the commits ends here");
                    self.checker.find(Finding::Unreadable { reason });
                    return Ok(suspects);
                }
                limit *= 4;
                continue;
            };
            let is_end = rows.len() < limit;
            let rows = if is_end { rows } else { up_to(rows, last) };
            self.compare(rows, &mut suspects);
            self.tell();
            if is_end {
                return Ok(suspects);
            }
            after = Some(last);
            limit = COMMITS_AT_ONCE * 4;
        }
    }

    fn compare(&mut self, rows: Vec<RawCommit>, suspects: &mut Vec<Suspect>) {
        for RawCommit { id: row, commit } in rows {
            self.scanned += 1;
            let id = row.parse::<CommitId>().ok();
            if let Some(id) = id.filter(|id| self.checker.has_place(*id)) {
                if let Err(reason) = commit {
                    self.checker.altered(id, reason);
                }
                continue;
            }
            if suspects.len() < MAX_SUSPECTS {
                suspects.push(Suspect { id, row, unreadable: commit.err() });
            } else {
                self.checker.find(Finding::CommitWithoutPage { row, unreadable: commit.err() });
            }
        }
    }

    /// Decides about the commits that no page had named when they were found. `walked` is the page that was next then.
    async fn judge(
        &mut self,
        mut suspects: Vec<Suspect>,
        sequencing: Sequencing,
        walked: u64,
    ) -> Result<(), StoreError> {
        let is_open = |checker: &Checker, it: &Suspect| !it.id.is_some_and(|id| checker.has_place(id));
        suspects.retain(|it| is_open(&self.checker, it));
        // No sequencer ever comes to these.
        for Suspect { row, unreadable, .. } in suspects.extract_if(.., |it| it.id.is_none() || it.unreadable.is_some())
        {
            self.checker.find(Finding::CommitWithoutPage { row, unreadable });
        }
        let mut passed_over = true;
        if let Sequencing::Behind { grace } = sequencing {
            let until = Instant::now() + grace;
            while !suspects.is_empty() && Instant::now() < until {
                tokio::time::sleep(SEQUENCER_POLL).await;
                self.walk_pages().await?;
                suspects.retain(|it| is_open(&self.checker, it));
            }
            passed_over = self.next_page > walked;
        }
        for Suspect { row, unreadable, .. } in suspects {
            if passed_over {
                self.checker.find(Finding::CommitWithoutPage { row, unreadable });
            } else {
                self.checker.note_unsequenced();
            }
        }
        Ok(())
    }
}

/// The rows up to the last one whose key leads on: the others come again.
fn up_to(mut rows: Vec<RawCommit>, last: CommitId) -> Vec<RawCommit> {
    let last = last.to_string();
    if let Some(index) = rows.iter().rposition(|row| row.id == last) {
        rows.truncate(index + 1);
    }
    rows
}
