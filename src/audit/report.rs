//! The result of an audit: what was walked, what was found, what was lawfully erased.

use schemars::JsonSchema;
use serde::Serialize;
use testledger_schemas::commit::CommitId;
use testledger_schemas::ids::{EventId, LogId};
use testledger_schemas::page::Anchor;

use crate::audit::finding::Finding;

/// How many findings (and erasures) a report lists; more are only counted.
pub const MAX_LISTED: usize = 10_000;

/// What an audit saw. The log is as it was written where `findings_total` is 0.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct AuditReport {
    /// The log's id; none where page 0 cannot be read.
    pub log_id: Option<LogId>,
    /// The last page and its hash: keep it, and `--expect` it next time.
    pub anchor: Option<Anchor>,
    /// How many pages were read.
    pub pages: u64,
    /// How many commits were read.
    pub commits: u64,
    /// How many events were read.
    pub events: u64,
    /// How many streams there are.
    pub streams: u64,
    /// How many artifacts were compared with their hashes.
    pub artifacts: u64,
    /// Commits that are durable and have no place yet, because the sequencer has not come to them. No finding.
    pub unsequenced: u64,
    /// How many findings there are.
    pub findings_total: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
    /// How many events had their content lawfully erased.
    pub erased_total: u64,
    /// The first of them.
    pub erased: Vec<Erased>,
    /// Events that a `DataErased` names and whose content is still there: the erasure was cut short, run it again.
    pub unfinished_erasures: Vec<Erased>,
}

/// An event whose content was lawfully erased.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Erased {
    /// Its position; none where it was not found before its erasure.
    pub position: Option<u64>,
    /// Its commit.
    pub commit: CommitId,
    /// The event.
    pub event: EventId,
    /// The position of the `DataErased` that names it.
    pub erased_by: u64,
}

impl AuditReport {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings_total == 0
    }

    pub(super) fn find(&mut self, finding: Finding) {
        self.findings_total += 1;
        if self.findings.len() < MAX_LISTED {
            self.findings.push(finding);
        }
    }

    /// The report for people: one line each for findings and erasures, and a last line that says it all.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines: Vec<String> = self.findings.iter().map(|finding| format!("FINDING {finding}")).collect();
        lines.extend(self.erased.iter().map(Erased::line));
        lines.extend(self.unfinished_erasures.iter().map(|it| {
            format!(
                "note: {} still has the content that position {} erased: run the erasure again",
                it.event, it.erased_by
            )
        }));
        if self.unsequenced > 0 {
            lines.push(format!("note: {} durable commits have no position yet", self.unsequenced));
        }
        lines.push(self.summary());
        lines.join("\n") + "\n"
    }

    fn summary(&self) -> String {
        let verdict = match self.findings_total {
            0 => "the log is as it was written".to_owned(),
            1 => "1 finding: the log is NOT as it was written".to_owned(),
            n => format!("{n} findings: the log is NOT as it was written"),
        };
        let anchor = self.anchor.map_or_else(|| "no page".to_owned(), |anchor| anchor.to_string());
        format!(
            "{verdict} · {} events in {} commits of {} streams on {} pages · {} artifacts · {} erased · {anchor}",
            self.events, self.commits, self.streams, self.pages, self.artifacts, self.erased_total
        )
    }
}

impl Erased {
    fn line(&self) -> String {
        let place = self.position.map_or_else(|| "an unknown position".to_owned(), |at| format!("position {at}"));
        format!(
            "erased: the content of {} at {place} (commit {}), by position {}",
            self.event, self.commit, self.erased_by
        )
    }
}
