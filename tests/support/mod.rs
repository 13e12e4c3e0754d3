//! What several test binaries need: commits made from numbers, and the end of a log once everything has its place.
#![allow(dead_code, reason = "each test binary uses its part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use testledger::event_store::{EventLog, StoreError};
use testledger_schemas::commit::{Commit, CommitId, Envelope, RecordedEvent, StreamHead};
use testledger_schemas::event::{ExecutionReady, ExecutionStarted, StartContent};
use testledger_schemas::ids::{EventId, ExecutionId, StreamId};
use testledger_schemas::page::Page;
use testledger_schemas::{Erasable, Event, Timestamp};
use uuid::Uuid;

/// A test that waits so long hangs: never a measure of speed.
pub const HANG: Duration = Duration::from_secs(120);

/// The stream with this number.
pub fn stream(number: u64) -> StreamId {
    ExecutionId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(number))).into()
}

/// An event without content.
pub fn bare_event() -> RecordedEvent {
    RecordedEvent::write(EventId(Uuid::now_v7()), String::new(), &ExecutionReady { parent_epoch: None }.into()).unwrap()
}

/// An event with content: `text` stands in it.
pub fn event(text: &str) -> RecordedEvent {
    let content = StartContent { host: text.to_owned(), ..StartContent::default() };
    let event: Event = ExecutionStarted { attempt: 1, content: Erasable::Kept(content) }.into();
    RecordedEvent::write(EventId(Uuid::now_v7()), Uuid::new_v4().simple().to_string(), &event).unwrap()
}

/// A commit with these events that continues `head`.
pub fn commit_of(stream: StreamId, head: StreamHead, events: Vec<RecordedEvent>) -> Commit {
    let envelope = Envelope {
        recorded_at: Timestamp::from_unix_ms(1_795_425_120_000),
        actor: "ada".to_owned(),
        worker: None,
        claim_epoch: None,
        correlation_id: None,
        causation_id: None,
    };
    Commit::seal(stream, head, envelope, events).unwrap()
}

/// A commit of so many events that continues `head`.
pub fn commit(stream: StreamId, head: StreamHead, events: usize) -> Commit {
    commit_of(stream, head, (0..events).map(|n| event(&format!("host-{n}"))).collect())
}

/// Appends so many commits of one event each, and gives them.
pub async fn append_many(log: &dyn EventLog, stream: StreamId, count: usize) -> Vec<Commit> {
    let mut head = log.stream_head(stream).await.unwrap();
    let mut commits = Vec::new();
    for _ in 0..count {
        let commit = commit(stream, head, 1);
        log.append(commit.clone()).await.unwrap();
        head = commit.head();
        commits.push(commit);
    }
    commits
}

/// Waits until so many events have their positions.
pub async fn until_position(log: &dyn EventLog, position: u64) {
    let mut head = log.head();
    tokio::time::timeout(HANG, head.wait_for(|head| *head >= position)).await.expect("hangs").unwrap();
}

/// All pages, read in pieces of `limit`.
pub async fn all_pages(log: &dyn EventLog, limit: usize) -> Result<Vec<Page>, StoreError> {
    let mut pages = Vec::new();
    loop {
        let some = log.read_pages(pages.len() as u64, limit).await?;
        if some.is_empty() {
            return Ok(pages);
        }
        pages.extend(some);
    }
}

/// Checks what every log keeps, whatever happened to it: pages chained, positions dense, each stored commit once and
/// in its stream's order. Gives the ids in the order of the log.
pub async fn check_whole(log: &dyn EventLog) -> Vec<CommitId> {
    let pages = all_pages(log, 7).await.unwrap();
    let mut order: Vec<CommitId> = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        assert_eq!(page.number, number as u64);
        assert_eq!(page.hash, page.computed_hash(), "page {number}");
        let before = number.checked_sub(1).map(|before| &pages[before]);
        let header = page.header.as_ref();
        let prev = before.map_or_else(|| Page::origin(header.unwrap().log_id), |before| before.hash);
        assert_eq!(page.prev_hash, prev, "page {number}");
        assert_eq!(page.first_position, before.map_or(1, Page::next_position), "page {number}");
        order.extend(page.entries.iter().map(|entry| entry.commit));
    }
    check_commits(log, &pages, &order).await;
    order
}

async fn check_commits(log: &dyn EventLog, pages: &[Page], order: &[CommitId]) {
    let mut heads = std::collections::HashMap::new();
    for chunk in pages.iter().flat_map(|page| &page.entries).collect::<Vec<_>>().chunks(100) {
        let ids: Vec<_> = chunk.iter().map(|entry| entry.commit).collect();
        for (entry, commit) in chunk.iter().zip(log.read_commits(&ids).await.unwrap()) {
            let commit = commit.expect("a sequenced commit is stored");
            commit.check().unwrap();
            let head = heads.insert(commit.id.stream, commit.head()).unwrap_or(StreamHead::EMPTY);
            assert_eq!((commit.id.number, commit.first_version), (head.number + 1, head.version + 1), "{}", commit.id);
            assert_eq!(commit.prev_hash, head.hash, "{}", commit.id);
            assert_eq!((entry.hash, entry.events), (commit.hash, commit.events.len() as u64));
            assert_eq!(entry.fault, None);
        }
    }
    assert_eq!(scan(log).await.len(), order.len(), "each stored commit has its place once");
}

/// The ids of all stored commits.
pub async fn scan(log: &dyn EventLog) -> Vec<CommitId> {
    let mut ids: Vec<CommitId> = Vec::new();
    loop {
        let some = log.scan_commits(ids.last().copied(), 50).await.unwrap();
        if some.is_empty() {
            return ids;
        }
        ids.extend(some.into_iter().map(|raw| raw.commit.unwrap().id));
    }
}
