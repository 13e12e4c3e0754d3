//! What is left of a world: the durable log, and what the outside saw of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use testledger::event_store::EventLog;
use testledger::event_store::memory::MemoryLog;
use testledger_schemas::{Commit, Event, ExecutionId, Hash, Page, Timestamp};

use crate::life::Shared;

/// What is left of a world: the durable log, and what the outside saw of it.
pub struct Run {
    pub root: ExecutionId,
    /// How many appends the first engine made.
    pub appends: u64,
    /// How many engines met their fate: died, or were cut off.
    pub fates_met: u64,
    pub pages: Vec<Page>,
    /// Every durable commit, sequenced or not.
    pub commits: Vec<Commit>,
    /// What was told to listeners: only what the log had acknowledged.
    pub told: Vec<(ExecutionId, Event)>,
    /// How often each simulated command began.
    pub begun: BTreeMap<String, u32>,
    /// The commands that began while an earlier one of the same step was alive.
    pub overlaps: Vec<String>,
    /// The durable log itself.
    pub truth: Arc<MemoryLog>,
}

impl Run {
    /// What is left when nobody writes any more.
    pub async fn of(root: ExecutionId, appends: u64, fates_met: u64, shared: &Shared) -> Self {
        let durable = shared.truth.reopen();
        // The sequencer of the reopened log starts with the first call, and seals what was not sealed yet.
        durable.last_page().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut pages = vec![];
        while let Some(next) =
            Some(durable.read_pages(pages.len() as u64, 1000).await.unwrap()).filter(|p| !p.is_empty())
        {
            pages.extend(next);
        }
        let scanned = durable.scan_commits(None, usize::MAX).await.unwrap();
        let commits = scanned.into_iter().map(|raw| raw.commit.unwrap()).collect();
        let told = shared.told.lock().unwrap().clone();
        let marks = std::mem::take(&mut *shared.marks.lock().unwrap());
        let (begun, overlaps) = (marks.begun, marks.overlaps);
        Self { root, appends, fates_met, pages, commits, told, begun, overlaps, truth: durable }
    }

    /// Every commit in the order of the log.
    pub fn in_order(&self) -> Vec<&Commit> {
        let by_id: BTreeMap<_, _> = self.commits.iter().map(|commit| (commit.id, commit)).collect();
        self.pages.iter().flat_map(|page| &page.entries).map(|entry| by_id[&entry.commit]).collect()
    }

    /// Every commit in the order of the log, with its time and its hash: the whole history in short.
    pub fn history(&self) -> Vec<(String, Timestamp, Hash)> {
        self.in_order().into_iter().map(|one| (one.id.to_string(), one.recorded_at, one.hash)).collect()
    }

    /// What happened, a line for each commit in the order of the log.
    pub fn story(&self) -> String {
        let line = |commit: &Commit| {
            let events: Vec<&str> = commit.events.iter().map(|event| event.type_name.as_str()).collect();
            let worker = commit.worker.map(|worker| worker.to_string()[30..].to_owned()).unwrap_or_default();
            let id = commit.id.to_string();
            let short = format!("{}…{}", &id[..18], &id[id.len() - 13..]);
            format!("{} {short} by {worker} {:?}: {}\n", commit.recorded_at, commit.claim_epoch, events.join(" "))
        };
        self.in_order().into_iter().map(line).collect()
    }
}
