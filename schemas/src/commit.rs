//! A commit: one append, one or more events of one stream, stored as one document and hashed into a chain.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::canonical::{
    NotCanonical, canonical_map_bytes, check_canonical, check_map_at, checked_bytes, is_sorted, sorted_bytes,
};
use crate::event::Event;
use crate::hash::Hash;
use crate::ids::{EventId, ExecutionId, InvalidId, StreamId, WorkerId};
use crate::text_serde::text_serde;
use crate::time::Timestamp;
use crate::upcast::{self, UnreadableEvent};

/// The most bytes a commit may have as JSON text: 1 MiB.
pub const MAX_COMMIT_BYTES: usize = 1 << 20;

/// The primary key of a commit: the stream and the commit's number in it, from 1, as one text that sorts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommitId {
    /// Whose events.
    pub stream: StreamId,
    /// 1 for the first commit of the stream.
    pub number: u64,
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:010}", self.stream, self.number)
    }
}

impl FromStr for CommitId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId { text: text.to_owned(), expected: "a commit id (`STREAM/0000000001`)" };
        let (stream, number) = text.rsplit_once('/').ok_or_else(invalid)?;
        let stream = stream.parse().map_err(|_| invalid())?;
        let id = Self { stream, number: number.parse().map_err(|_| invalid())? };
        if id.number > 0 && id.to_string() == text { Ok(id) } else { Err(invalid()) }
    }
}

text_serde!(CommitId, "CommitId", r"^(execution|worker)/[0-9a-f-]{36}/[0-9]{10,}$");

/// The content of an event as it is stored, with the nonce that keeps its hash from being guessed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredContent {
    /// 16 random bytes as 32 hexadecimal digits.
    pub nonce: String,
    /// The content's fields.
    pub value: Map<String, Value>,
}

impl StoredContent {
    /// SHA-256 over the nonce and the canonical form of the value.
    ///
    /// # Errors
    /// [`NotCanonical`] for numbers that have no canonical form.
    pub fn hash(&self) -> Result<Hash, NotCanonical> {
        let canonical = canonical_map_bytes(&self.value)?;
        Ok(Hash::of_parts(&[self.nonce.as_bytes(), &canonical]))
    }
}

/// An event as it is stored: its persisted shape, whatever version that has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordedEvent {
    /// Drawn by the writer.
    pub event_id: EventId,
    /// The name of the event.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The version of the persisted shape.
    pub schema_version: u32,
    /// What decides; never erased.
    pub data: Map<String, Value>,
    /// Text; may be erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<StoredContent>,
    /// The hash of the content; stays when the content is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<Hash>,
}

impl RecordedEvent {
    /// Writes an event in its newest shape.
    ///
    /// # Errors
    /// [`NotCanonical`] for numbers that have no canonical form.
    pub fn write(event_id: EventId, nonce: String, event: &Event) -> Result<Self, NotCanonical> {
        upcast::write(event_id, nonce, event)
    }

    /// Reads the event, whatever version its shape has.
    ///
    /// # Errors
    /// [`UnreadableEvent`] for an unknown name, a newer version, or fields that do not fit.
    pub fn read(&self) -> Result<Event, UnreadableEvent> {
        upcast::read(self)
    }

    /// Whether content was there once and is no more.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.content_hash.is_some() && self.content.is_none()
    }
}

/// One append: the unit of durability, of order and of concurrency control.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The stream, and this commit's number in it.
    #[serde(rename = "_id")]
    pub id: CommitId,
    /// The version of the first event: its 1-based index in the stream.
    pub first_version: u64,
    /// The events, in order; at least one.
    pub events: Vec<RecordedEvent>,
    /// When the writer wrote it, by the writer's clock.
    pub recorded_at: Timestamp,
    /// Who caused it: an opaque id, or `user@host` marked `unverified:`.
    pub actor: String,
    /// The engine that wrote it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The claim under which it was written, if under one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_epoch: Option<u64>,
    /// The root execution this belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<ExecutionId>,
    /// The event that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<EventId>,
    /// The hash of the stream's commit before; zeros for the first.
    pub prev_hash: Hash,
    /// SHA-256 over the canonical form of all the above, each `content` left out: its `content_hash` stands for it.
    pub hash: Hash,
}

/// What of an event is hashed. The fields stand in the order of their names, which is the canonical one.
#[derive(Serialize)]
struct HashedEvent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_hash: Option<Hash>,
    data: &'a Map<String, Value>,
    event_id: EventId,
    schema_version: u32,
    #[serde(rename = "type")]
    type_name: &'a str,
}

/// What of a commit is hashed: all but the contents and the hash itself. What is not there is left out. The fields stand
/// in the order of their names, which is the canonical one.
#[derive(Serialize)]
struct HashedCommit<'a> {
    #[serde(rename = "_id")]
    id: CommitId,
    actor: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<ExecutionId>,
    events: Vec<HashedEvent<'a>>,
    first_version: u64,
    prev_hash: Hash,
    recorded_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<WorkerId>,
}

impl<'a> HashedCommit<'a> {
    fn of(commit: &'a Commit) -> Self {
        let event = |event: &'a RecordedEvent| HashedEvent {
            event_id: event.event_id,
            type_name: &event.type_name,
            schema_version: event.schema_version,
            data: &event.data,
            content_hash: event.content_hash,
        };
        Self {
            id: commit.id,
            first_version: commit.first_version,
            events: commit.events.iter().map(event).collect(),
            recorded_at: commit.recorded_at,
            actor: &commit.actor,
            worker: commit.worker,
            claim_epoch: commit.claim_epoch,
            correlation_id: commit.correlation_id,
            causation_id: commit.causation_id,
            prev_hash: commit.prev_hash,
        }
    }
}

/// What a commit says besides its events; [`Commit::seal`] makes the commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// When.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: String,
    /// The engine that writes it.
    pub worker: Option<WorkerId>,
    /// The claim under which it is written.
    pub claim_epoch: Option<u64>,
    /// The root execution.
    pub correlation_id: Option<ExecutionId>,
    /// The event that led to it.
    pub causation_id: Option<EventId>,
}

/// The end of a stream: what the next commit continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamHead {
    /// The number of the last commit; 0 if there is none.
    pub number: u64,
    /// The version of the last event; 0 if there is none.
    pub version: u64,
    /// The hash of the last commit; zeros if there is none.
    pub hash: Hash,
}

impl StreamHead {
    /// The end of a stream that has not begun.
    pub const EMPTY: Self = Self { number: 0, version: 0, hash: Hash::ZERO };
}

/// Why a commit cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// It would hold no event.
    #[error("a commit needs at least one event")]
    Empty,
    /// A number in it has no canonical form.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    /// It would be too large.
    #[error("the commit has {bytes} bytes and may have {MAX_COMMIT_BYTES}: keep long texts as artifacts")]
    TooLarge {
        /// Its size as JSON text.
        bytes: usize,
    },
}

/// What is wrong with a stored commit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommitFault {
    /// Its fields do not give its hash.
    #[error("its hash is not that of its fields")]
    Hash,
    /// The content of an event does not give its content hash.
    #[error("the content of event {0} is not what its hash says")]
    Content(EventId),
    /// It holds no event.
    #[error("it holds no event")]
    Empty,
    /// A field cannot be brought into canonical form.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
}

impl Commit {
    /// Makes the commit that continues `head`, with its hashes. `events` are recorded shapes, in order.
    ///
    /// # Errors
    /// [`SealError`] if there is no event, the commit is too large, or a number has no canonical form.
    pub fn seal(
        stream: StreamId,
        head: StreamHead,
        envelope: Envelope,
        events: Vec<RecordedEvent>,
    ) -> Result<Self, SealError> {
        if events.is_empty() {
            return Err(SealError::Empty);
        }
        let mut commit = Self {
            id: CommitId { stream, number: head.number + 1 },
            first_version: head.version + 1,
            events,
            recorded_at: envelope.recorded_at,
            actor: envelope.actor,
            worker: envelope.worker,
            claim_epoch: envelope.claim_epoch,
            correlation_id: envelope.correlation_id,
            causation_id: envelope.causation_id,
            prev_hash: head.hash,
            hash: Hash::ZERO,
        };
        commit.hash = commit.computed_hash()?;
        let bytes = commit.json_bytes();
        if bytes > MAX_COMMIT_BYTES {
            return Err(SealError::TooLarge { bytes });
        }
        Ok(commit)
    }

    /// The hash that its fields give.
    ///
    /// # Errors
    /// [`NotCanonical`] for numbers that have no canonical form.
    pub fn computed_hash(&self) -> Result<Hash, NotCanonical> {
        for (index, event) in self.events.iter().enumerate() {
            check_map_at(&event.data, format!("/events/{index}/data"))?;
            check_canonical(&event.schema_version.into())?;
        }
        check_canonical(&self.first_version.into())?;
        check_canonical(&self.claim_epoch.into())?;
        let hashed = HashedCommit::of(self);
        let is_sorted = self.events.iter().all(|event| is_sorted(&event.data));
        let bytes = if is_sorted { sorted_bytes(&hashed) } else { checked_bytes(&hashed) };
        bytes.map(|bytes| Hash::of(&bytes))
    }

    /// Checks the commit by itself: its hash, and the content of each event that still has one.
    ///
    /// # Errors
    /// The first [`CommitFault`] found.
    pub fn check(&self) -> Result<(), CommitFault> {
        if self.events.is_empty() {
            return Err(CommitFault::Empty);
        }
        if self.computed_hash()? != self.hash {
            return Err(CommitFault::Hash);
        }
        for event in &self.events {
            match &event.content {
                Some(content) if Some(content.hash()?) != event.content_hash => {
                    return Err(CommitFault::Content(event.event_id));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// The end of the stream after this commit.
    #[must_use]
    pub fn head(&self) -> StreamHead {
        StreamHead { number: self.id.number, version: self.last_version(), hash: self.hash }
    }

    /// The version of the last event.
    #[must_use]
    pub fn last_version(&self) -> u64 {
        self.first_version.saturating_add(self.events.len() as u64).saturating_sub(1)
    }

    /// Whether both are the same append: the same events at the same place. Tells a repeated send from a conflict.
    #[must_use]
    pub fn is_same_append(&self, other: &Self) -> bool {
        let ids = |commit: &Self| commit.events.iter().map(|event| event.event_id).collect::<Vec<_>>();
        self.id == other.id && self.hash == other.hash && ids(self) == ids(other)
    }

    /// How many bytes the commit has as JSON text.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        struct Count(usize);
        impl std::io::Write for Count {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 += bytes.len();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut count = Count(0);
        // As in `to_json`: there is no reason to refuse.
        drop(serde_json::to_writer(&mut count, self));
        count.0
    }

    /// The commit as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Maps with text keys and no fractions: serde_json has no reason to refuse them.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Erasable;
    use crate::event::{ExecutionReady, ExecutionStarted, StartContent};
    use uuid::Uuid;

    fn commit() -> Commit {
        let started = ExecutionStarted {
            attempt: 1,
            content: Erasable::Kept(StartContent { host: "ada".into(), ..StartContent::default() }),
        };
        let write =
            |n: u128, event: Event| RecordedEvent::write(EventId(Uuid::from_u128(n)), format!("{n:032x}"), &event);
        Commit::seal(
            ExecutionId(Uuid::from_u128(9)).into(),
            StreamHead::EMPTY,
            Envelope {
                recorded_at: Timestamp::from_unix_ms(0),
                actor: "ada".into(),
                worker: None,
                claim_epoch: None,
                correlation_id: None,
                causation_id: None,
            },
            vec![write(1, ExecutionReady { parent_epoch: None }.into()).unwrap(), write(2, started.into()).unwrap()],
        )
        .unwrap()
    }

    #[test]
    fn a_commit_survives_its_json() {
        let commit = commit();
        assert_eq!(serde_json::from_str::<Commit>(&commit.to_json()).unwrap(), commit);
        assert_eq!(commit.check(), Ok(()));
    }

    #[test]
    fn the_hash_of_a_commit_never_changes() {
        assert_eq!(commit().hash.to_string(), "0176af002d052432b81e9acfdde763f347b885e7b0a71ba868f340c599f38b97");
    }

    #[test]
    fn what_is_hashed_stands_in_canonical_order() {
        let mut commit = commit();
        commit.worker = Some(WorkerId(Uuid::from_u128(3)));
        commit.claim_epoch = Some(2);
        commit.correlation_id = Some(ExecutionId(Uuid::from_u128(9)));
        commit.causation_id = Some(EventId(Uuid::from_u128(4)));
        let hashed = HashedCommit::of(&commit);
        assert_eq!(sorted_bytes(&hashed), checked_bytes(&hashed));
    }

    #[test]
    fn every_changed_field_is_found() {
        let json: Value = serde_json::from_str(&commit().to_json()).unwrap();
        let change = |pointer: &str, value: Value| {
            let mut changed = json.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            serde_json::from_value::<Commit>(changed).unwrap().check()
        };
        assert_eq!(change("/actor", "eve".into()), Err(CommitFault::Hash));
        assert_eq!(change("/recorded_at", "1970-01-01T00:00:00.001Z".into()), Err(CommitFault::Hash));
        assert_eq!(change("/events/0/type", "ExecutionPassed".into()), Err(CommitFault::Hash));
        assert_eq!(change("/events/1/data/attempt", 2.into()), Err(CommitFault::Hash));
        assert_eq!(change("/first_version", 2.into()), Err(CommitFault::Hash));
        assert!(matches!(change("/events/1/content/value/host", "eve".into()), Err(CommitFault::Content(_))));
        assert!(matches!(change("/events/1/content/nonce", "00".into()), Err(CommitFault::Content(_))));
        assert_eq!(change("/events", Value::Array(vec![])), Err(CommitFault::Empty));
    }

    #[test]
    fn erased_content_still_verifies() {
        let mut commit = commit();
        commit.events[1].content = None;
        assert_eq!(commit.check(), Ok(()));
        assert!(commit.events[1].is_erased() && !commit.events[0].is_erased());
        let Ok(Event::ExecutionStarted(started)) = commit.events[1].read() else { panic!("unreadable") };
        assert_eq!(started.content, Erasable::Erased);
    }

    #[test]
    fn a_commit_id_sorts_by_number_and_has_one_spelling() {
        let id = |number| CommitId { stream: ExecutionId(Uuid::from_u128(9)).into(), number };
        assert!(id(9).to_string() < id(10).to_string());
        assert_eq!(id(3).to_string().parse(), Ok(id(3)));
        assert!(id(3).to_string().replace("0000000003", "3").parse::<CommitId>().is_err());
        assert!(id(3).to_string().replace('3', "0").parse::<CommitId>().is_err());
    }
}
