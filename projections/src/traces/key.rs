//! What names a document of a trace.

use std::fmt;
use std::str::FromStr;

use testledger_schemas::ExecutionId;
use testledger_schemas::ids::InvalidId;

use super::view::{COMMITS_PER_INDEX, ITEMS_PER_PARTITION};

/// A document of the trace of an execution. Written `UUID`, `UUID/items/0000000000`, `UUID/texts/0000000000`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TraceKey {
    /// The head: what the trace is of, its figures, and its items while they are few.
    Head(ExecutionId),
    /// The partition of this number, from 0: item `n` is in partition `n / 50`.
    Partition(ExecutionId, u64),
    /// Where the texts of some commits went, by the commits' numbers: for erasure.
    TextIndex(ExecutionId, u64),
}

impl TraceKey {
    /// Whose trace.
    #[must_use]
    pub fn execution(&self) -> ExecutionId {
        match self {
            Self::Head(execution) | Self::Partition(execution, _) | Self::TextIndex(execution, _) => *execution,
        }
    }

    /// The partition that has the item of this number, once the items are in partitions.
    #[must_use]
    pub fn partition_of(execution: ExecutionId, index: u64) -> Self {
        Self::Partition(execution, index / ITEMS_PER_PARTITION)
    }

    /// The index that knows where the texts of this commit are.
    #[must_use]
    pub(super) fn index_of(execution: ExecutionId, commit: u64) -> Self {
        Self::TextIndex(execution, commit / COMMITS_PER_INDEX)
    }
}

impl fmt::Display for TraceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(execution) => write!(f, "{execution}"),
            Self::Partition(execution, number) => write!(f, "{execution}/items/{number:010}"),
            Self::TextIndex(execution, number) => write!(f, "{execution}/texts/{number:010}"),
        }
    }
}

impl FromStr for TraceKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let expected = "a document of a trace (`UUID`, `UUID/items/0000000000` or `UUID/texts/0000000000`)";
        let invalid = || InvalidId { text: text.to_owned(), expected };
        let parts: Vec<&str> = text.split('/').collect();
        let execution = |id: &str| id.parse::<ExecutionId>().map_err(|_| invalid());
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| invalid());
        let key = match parts.as_slice() {
            [id] => Self::Head(execution(id)?),
            [id, "items", digits] => Self::Partition(execution(id)?, number(digits)?),
            [id, "texts", digits] => Self::TextIndex(execution(id)?, number(digits)?),
            _ => return Err(invalid()),
        };
        if key.to_string() == text { Ok(key) } else { Err(invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        let id = ExecutionId(uuid::Uuid::from_u128(7));
        for key in [TraceKey::Head(id), TraceKey::Partition(id, 3), TraceKey::TextIndex(id, 12_345_678_901)] {
            assert_eq!(key.to_string().parse(), Ok(key));
            assert_eq!(key.execution(), id);
        }
        for text in ["", "x", &format!("{id}/items/3"), &format!("{id}/items"), &format!("{id}/else/0000000003")] {
            assert!(text.parse::<TraceKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn fifty_items_share_a_partition() {
        let id = ExecutionId(uuid::Uuid::from_u128(7));
        let number = |index| TraceKey::partition_of(id, index);
        assert_eq!((number(0), number(49)), (TraceKey::Partition(id, 0), TraceKey::Partition(id, 0)));
        assert_eq!((number(50), number(99_999)), (TraceKey::Partition(id, 1), TraceKey::Partition(id, 1999)));
    }
}
