//! The events of the log as people and programs read them, in order: all of them, or those of one execution.

use std::collections::{BTreeSet, VecDeque};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use testledger_schemas::commit::{Commit, CommitId, RecordedEvent};
use testledger_schemas::ids::{EventId, ExecutionId, StreamId, WorkerId};
use testledger_schemas::page::Page;
use testledger_schemas::time::Timestamp;

use crate::event_store::subscription::{COMMITS_AT_ONCE, Subscription};
use crate::event_store::{SharedLog, StoreError};
use crate::views::phrase::phrase;

/// One event at its place in the log: a line of `events --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct EventLine {
    /// Its 1-based index in the whole log.
    pub position: u64,
    /// The execution; null for the events of an engine.
    pub execution_id: Option<ExecutionId>,
    /// The stream.
    pub stream: StreamId,
    /// Its 1-based index in the stream.
    pub version: u64,
    /// Its id.
    pub event_id: EventId,
    /// Its name.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The version of the shape it was written in.
    pub schema_version: u32,
    /// When it was written, by the writer's clock.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: String,
    /// The engine that wrote it.
    pub worker: Option<WorkerId>,
    /// The claim under which it was written.
    pub claim_epoch: Option<u64>,
    /// What decides.
    pub data: Map<String, Value>,
    /// Text; null where there is none, or where it was erased.
    pub content: Option<Map<String, Value>>,
    /// In words, for people. Not a part of the JSON.
    #[serde(skip)]
    pub phrase: String,
}

impl EventLine {
    fn of(commit: &Commit, index: usize, event: &RecordedEvent, position: u64) -> Self {
        Self {
            position,
            execution_id: commit.id.stream.execution(),
            stream: commit.id.stream,
            version: commit.first_version.saturating_add(index as u64),
            event_id: event.event_id,
            type_name: event.type_name.clone(),
            schema_version: event.schema_version,
            recorded_at: commit.recorded_at,
            actor: commit.actor.clone(),
            worker: commit.worker,
            claim_epoch: commit.claim_epoch,
            data: event.data.clone(),
            content: event.content.as_ref().map(|content| content.value.clone()),
            phrase: phrase(event),
        }
    }

    /// The line for people: position, time, whose, what.
    #[must_use]
    pub fn to_text(&self) -> String {
        let whose = self.stream.id.to_string();
        let whose = whose.get(..13).unwrap_or(&whose);
        format!("{:>8}  {}  {whose} v{:<4} {}", self.position, self.recorded_at, self.version, self.phrase)
    }
}

/// Which events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventsQuery {
    /// Only those of these streams; empty is all.
    pub streams: BTreeSet<StreamId>,
    /// Only those after this position.
    pub after: u64,
    /// Whether to wait for more at the end.
    pub follow: bool,
}

/// Walks the log in order.
pub struct Events {
    log: SharedLog,
    query: EventsQuery,
    position: u64,
    pages: Subscription,
    due: VecDeque<(CommitId, u64)>,
    ready: VecDeque<EventLine>,
}

impl Events {
    /// A walk that begins after `query.after`.
    #[must_use]
    pub fn new(log: SharedLog, query: EventsQuery) -> Self {
        Self {
            pages: Subscription::after(&*log, query.after),
            log,
            position: query.after,
            query,
            due: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next event; none at the end of the log, unless more is waited for. May be dropped at any time.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Damaged`] where a commit is missing: `audit verify` has the whole picture.
    pub async fn next(&mut self) -> Result<Option<EventLine>, StoreError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            if !self.due.is_empty() {
                self.read_commits().await?;
            } else if let Some(page) = self.pages.next(&*self.log).await? {
                self.open(&page);
            } else if !self.query.follow {
                return Ok(None);
            } else if !self.pages.more().await {
                return Err(StoreError::Unavailable("the log was closed".to_owned()));
            }
        }
    }

    fn open(&mut self, page: &Page) {
        let mut position = page.first_position;
        for entry in &page.entries {
            let is_wanted = self.query.streams.is_empty() || self.query.streams.contains(&entry.commit.stream);
            let next = position.saturating_add(entry.events);
            if is_wanted && next > self.position.saturating_add(1) {
                self.due.push_back((entry.commit, position));
            }
            position = next;
        }
    }

    async fn read_commits(&mut self) -> Result<(), StoreError> {
        let count = self.due.len().min(COMMITS_AT_ONCE);
        let ids: Vec<CommitId> = self.due.iter().take(count).map(|(id, _)| *id).collect();
        let commits = self.log.read_commits(&ids).await?;
        // Nothing is awaited from here on, so a dropped future loses nothing.
        for ((id, first), commit) in self.due.drain(..count).zip(commits) {
            let damaged = || StoreError::Damaged(format!("position {first}: the commit {id} is missing"));
            let commit = commit.ok_or_else(damaged)?;
            let lines = commit.events.iter().enumerate();
            let lines = lines.map(|(index, event)| EventLine::of(&commit, index, event, first + index as u64));
            self.ready.extend(lines.filter(|line| line.position > self.position));
        }
        self.position = self.ready.back().map_or(self.position, |line| line.position);
        Ok(())
    }
}
