//! The ids: who is meant. Every id is opaque, except that new ones sort by the time they were drawn (UUIDv7).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::text_serde::text_serde;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map($name)
            }
        }
    };
}

uuid_id! {
    /// One run of a case or of a suite.
    ExecutionId
}
uuid_id! {
    /// One fact. Drawn by the writer (UUIDv7), so that the same commit sent twice is known for the same.
    EventId
}
uuid_id! {
    /// One engine process, from its start to its end.
    WorkerId
}
uuid_id! {
    /// One log, from its page 0 on.
    LogId
}
uuid_id! {
    /// The identity of a step over all its runs: UUIDv5 of suite, case, matrix and step id (or reported name).
    StepKey
}

/// The namespace below which this program derives its UUIDv5 ids (RFC 9562): drawn once, never to change.
const NAMESPACE: Uuid = Uuid::from_u128(0x2f0c_3f0c_94a5_5d0e_8a63_6b2d_7c1e_4f90);

/// Joins parts so that no two different lists of parts give the same bytes: each is led by its length.
fn derive(kind: &str, parts: &[&str]) -> Uuid {
    let mut name = String::from(kind);
    for part in parts {
        name.push_str(&format!("\n{}:{part}", part.len()));
    }
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

impl ExecutionId {
    /// The execution that a request with this idempotency key means, in every process and at any time.
    #[must_use]
    pub fn for_key(idempotency_key: &str) -> Self {
        Self(derive("request", &[idempotency_key]))
    }

    /// The child of a suite execution that runs this case (with this matrix cell).
    #[must_use]
    pub fn child_of(suite: ExecutionId, case: &str, matrix: &str) -> Self {
        Self(derive("child", &[&suite.to_string(), case, matrix]))
    }
}

impl StepKey {
    /// The identity of a step of a plan, or of a test case that a tool's report names.
    #[must_use]
    pub fn derive(suite: &str, case: &str, matrix: &str, step: &str) -> Self {
        Self(derive("step", &[suite, case, matrix, step]))
    }
}

/// Whose events a stream holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StreamKind {
    /// The events of one execution.
    Execution,
    /// The events of one engine.
    Worker,
}

/// The name of a stream: the events of one execution, or of one engine. Written `execution/UUID`, `worker/UUID`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId {
    /// Whose events these are.
    pub kind: StreamKind,
    /// The id of the execution or of the engine.
    pub id: Uuid,
}

impl StreamId {
    /// The execution this stream belongs to, if it belongs to one.
    #[must_use]
    pub fn execution(&self) -> Option<ExecutionId> {
        (self.kind == StreamKind::Execution).then_some(ExecutionId(self.id))
    }
}

impl From<ExecutionId> for StreamId {
    fn from(id: ExecutionId) -> Self {
        Self { kind: StreamKind::Execution, id: id.0 }
    }
}

impl From<WorkerId> for StreamId {
    fn from(id: WorkerId) -> Self {
        Self { kind: StreamKind::Worker, id: id.0 }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            StreamKind::Execution => "execution",
            StreamKind::Worker => "worker",
        };
        write!(f, "{kind}/{}", self.id)
    }
}

/// A text that should have been an id of this log and is not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct InvalidId {
    /// What was found.
    pub text: String,
    /// What would be right.
    pub expected: &'static str,
}

impl FromStr for StreamId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid =
            || InvalidId { text: text.to_owned(), expected: "a stream name (`execution/UUID` or `worker/UUID`)" };
        let (kind, id) = text.split_once('/').ok_or_else(invalid)?;
        let kind = match kind {
            "execution" => StreamKind::Execution,
            "worker" => StreamKind::Worker,
            _ => return Err(invalid()),
        };
        // Only the one spelling: two spellings of one name would be two primary keys.
        let id = Uuid::from_str(id).map_err(|_| invalid())?;
        let stream = Self { kind, id };
        if stream.to_string() == text { Ok(stream) } else { Err(invalid()) }
    }
}

text_serde!(StreamId, "StreamId", r"^(execution|worker)/[0-9a-f-]{36}$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_parts_never_derive_the_same_id() {
        assert_ne!(StepKey::derive("a", "b", "", "c"), StepKey::derive("a", "", "b", "c"));
        assert_ne!(StepKey::derive("a\n1:b", "", "", ""), StepKey::derive("a", "b", "", ""));
    }

    #[test]
    fn derived_ids_never_change() {
        assert_eq!(ExecutionId::for_key("nightly-7").to_string(), "574c452c-4b88-56f8-8761-c102dd23c62b");
    }

    #[test]
    fn a_stream_name_has_one_spelling() {
        let stream = StreamId::from(ExecutionId(Uuid::from_u128(7)));
        assert_eq!(stream.to_string().parse(), Ok(stream));
        assert!(stream.to_string().to_uppercase().parse::<StreamId>().is_err());
        assert!("execution/00000000000000000000000000000007".parse::<StreamId>().is_err());
    }
}
