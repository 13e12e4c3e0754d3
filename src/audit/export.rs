//! The log as JSON lines with its hashes, so that a second program can verify it without the store.
//!
//! The first line is the header, the last one the end. Between them each page stands as `{"page": …}`, followed by its
//! commits in order as `{"commit": …}` (or `{"missing": ID, "reason": …}` where the log is damaged). How to verify:
//! a page's hash is SHA-256 over the canonical form (RFC 8785) of its fields but `hash`; a commit's over its fields but
//! `hash`, each event without its `content`; a content's over its nonce followed by its canonical value. Artifacts are
//! not in an export.

use std::io::{BufRead, Read, Write};

use serde::{Deserialize, Serialize};
use testledger_schemas::commit::{Commit, CommitId};
use testledger_schemas::ids::LogId;
use testledger_schemas::page::{Anchor, FORMAT_VERSION, Page};

use crate::audit::checker::Checker;
use crate::audit::finding::Finding;
use crate::audit::report::AuditReport;
use crate::event_store::{EventLog, StoreError};

/// The version of the export's own lines.
pub const EXPORT_VERSION: u32 = 1;
/// A line may have so many bytes: a page of the largest batch, or a commit, with room to spare.
pub const MAX_LINE_BYTES: u64 = 16 << 20;
/// How many pages and commits are read at once.
const AT_ONCE: usize = 64;

/// Which pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageRange {
    /// The first.
    pub from: u64,
    /// The last; none is up to the end.
    pub to: Option<u64>,
}

/// Why an export could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be written or read.
    #[error("the export could not be written or read: {0}")]
    Io(#[from] std::io::Error),
    /// A line is not one of an export.
    #[error("line {line} of the export: {reason}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// The first line of an export.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportHeader {
    /// [`EXPORT_VERSION`].
    pub testledger_export: u32,
    /// The log.
    pub log_id: LogId,
    /// The format of commits and pages.
    pub format_version: u32,
    /// The first page of the export.
    pub from_page: u64,
}

/// How much was exported: the last line of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ExportTotals {
    /// How many pages.
    pub pages: u64,
    /// How many commits.
    pub commits: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Page { page: Page },
    Commit { commit: Box<Commit> },
    Missing { missing: CommitId, reason: String },
    End { end: ExportTotals },
}

/// Writes pages and their commits.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    log: &dyn EventLog,
    writer: &mut (dyn Write + Send),
    range: PageRange,
) -> Result<ExportTotals, ExportError> {
    let zero = log.read_pages(0, 1).await?;
    let header = zero.first().and_then(|page| page.header.clone());
    let header = header.ok_or_else(|| StoreError::Damaged("page 0 does not say which log it opens".to_owned()))?;
    let first = ExportHeader {
        testledger_export: EXPORT_VERSION,
        log_id: header.log_id,
        format_version: header.format_version,
        from_page: range.from,
    };
    write_line(writer, &first)?;
    let (mut next, mut totals) = (range.from, ExportTotals::default());
    loop {
        let pages = log.read_pages(next, AT_ONCE).await?;
        let Some(last) = pages.last() else { break };
        next = last.number.saturating_add(1);
        let is_over = range.to.is_some_and(|to| next > to);
        for page in pages.into_iter().filter(|page| range.to.is_none_or(|to| page.number <= to)) {
            export_page(log, writer, page, &mut totals).await?;
        }
        if is_over {
            break;
        }
    }
    write_line(writer, &Line::End { end: totals })?;
    writer.flush()?;
    Ok(totals)
}

async fn export_page(
    log: &dyn EventLog,
    writer: &mut (dyn Write + Send),
    page: Page,
    totals: &mut ExportTotals,
) -> Result<(), ExportError> {
    let ids: Vec<CommitId> = page.entries.iter().map(|entry| entry.commit).collect();
    write_line(writer, &Line::Page { page })?;
    totals.pages += 1;
    for ids in ids.chunks(AT_ONCE) {
        for (id, commit) in ids.iter().zip(read_commits(log, ids).await?) {
            totals.commits += u64::from(commit.is_ok());
            let line = match commit {
                Ok(commit) => Line::Commit { commit: Box::new(commit) },
                Err(reason) => Line::Missing { missing: *id, reason },
            };
            write_line(writer, &line)?;
        }
    }
    Ok(())
}

/// The commits with these ids, each that is not there or cannot be read with the reason.
async fn read_commits(log: &dyn EventLog, ids: &[CommitId]) -> Result<Vec<Result<Commit, String>>, StoreError> {
    let missing = || "it is not in the log".to_owned();
    match log.read_commits(ids).await {
        Ok(commits) => return Ok(commits.into_iter().map(|commit| commit.ok_or_else(missing)).collect()),
        Err(StoreError::Damaged(_)) => {}
        Err(error) => return Err(error),
    }
    let mut commits = Vec::with_capacity(ids.len());
    for id in ids {
        commits.push(match log.read_commits(&[*id]).await {
            Ok(mut found) => found.pop().flatten().ok_or_else(missing),
            Err(StoreError::Damaged(reason)) => Err(reason),
            Err(error) => return Err(error),
        });
    }
    Ok(commits)
}

fn write_line(writer: &mut (dyn Write + Send), line: &impl Serialize) -> Result<(), ExportError> {
    serde_json::to_writer(&mut *writer, line).map_err(std::io::Error::from)?;
    Ok(writer.write_all(b"\n")?)
}

/// Verifies an export without the store: everything but what only the store can show (commits without a page,
/// artifacts). Where it begins in the middle, what came before is taken on trust.
///
/// # Errors
/// [`ExportError`] where it cannot be read as an export; what is wrong with the log is in the report.
pub fn verify_export(reader: &mut dyn BufRead, expect: Option<Anchor>) -> Result<AuditReport, ExportError> {
    let mut lines = Lines { reader, number: 0 };
    let first = lines.next()?.ok_or_else(|| lines.error("the export is empty".to_owned()))?;
    let header: ExportHeader = lines.parse(&first)?;
    if header.testledger_export != EXPORT_VERSION || header.format_version > FORMAT_VERSION {
        return Err(lines.error("the export is of a newer format: use a newer testledger".to_owned()));
    }
    let mut offline = Offline { checker: Checker::new(expect, header.from_page == 0), open: None, commits: 0 };
    while let Some(text) = lines.next()? {
        let line: Line = lines.parse(&text)?;
        if let Some(end) = offline.line(line).map_err(|reason| lines.error(reason))? {
            let seen = ExportTotals { pages: offline.checker.report().pages, commits: offline.commits };
            if end != seen {
                return Err(lines.error("the last line counts other pages and commits than there are".to_owned()));
            }
            return Ok(offline.checker.finish());
        }
    }
    Err(lines.error("the export ends without its last line: it was cut off".to_owned()))
}

/// The page whose commits follow.
struct Open {
    page: Page,
    next: usize,
    position: u64,
}

struct Offline {
    checker: Checker,
    open: Option<Open>,
    commits: u64,
}

impl Offline {
    /// Takes one line; gives the totals of the last one. The error says what does not belong there.
    fn line(&mut self, line: Line) -> Result<Option<ExportTotals>, String> {
        match line {
            Line::Page { page } => {
                self.close_page()?;
                self.checker.page(&page);
                let position = page.first_position;
                self.open = Some(Open { page, next: 0, position });
            }
            Line::Commit { commit } => {
                self.commits += 1;
                self.entry(Some(&commit))?;
            }
            Line::Missing { missing, reason } => {
                let page = self.open.as_ref().map_or(0, |open| open.page.number);
                tracing::debug!(page, commit = %missing, reason, "the export says that a commit is missing");
                self.entry(None)?;
            }
            Line::End { end } => {
                self.close_page()?;
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn entry(&mut self, commit: Option<&Commit>) -> Result<(), String> {
        let open = self.open.as_mut().ok_or("a commit before the first page")?;
        let entry = open.page.entries.get(open.next).ok_or("a commit that its page does not name")?;
        // Artifacts are not in an export, so those that are named cannot be compared.
        self.checker.entry(open.page.number, entry, open.position, Ok(commit));
        open.position = open.position.saturating_add(entry.events);
        open.next += 1;
        Ok(())
    }

    /// All commits of the page were there.
    fn close_page(&mut self) -> Result<(), String> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        while let Some(entry) = open.page.entries.get(open.next) {
            let (page, commit, position) = (open.page.number, entry.commit, open.position);
            self.checker.find(Finding::CommitMissing { page, commit, position });
            open.position = open.position.saturating_add(entry.events);
            open.next += 1;
        }
        Ok(())
    }
}

/// Lines of bounded length, counted.
struct Lines<'a> {
    reader: &'a mut dyn BufRead,
    number: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, ExportError> {
        let mut line = Vec::new();
        self.number += 1;
        let read = (&mut *self.reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if read as u64 >= MAX_LINE_BYTES {
            return Err(self.error(format!("it is longer than {MAX_LINE_BYTES} bytes")));
        }
        Ok((read > 0).then_some(line))
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self, line: &[u8]) -> Result<T, ExportError> {
        serde_json::from_slice(line).map_err(|error| self.error(error.to_string()))
    }

    fn error(&self, reason: String) -> ExportError {
        ExportError::Line { line: self.number, reason }
    }
}
