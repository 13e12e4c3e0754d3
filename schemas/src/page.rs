//! A page: it fixes the order of many commits, and with it the position of each of their events in the whole log.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canonical::{MAX_EXACT_INTEGER, sorted_bytes};
use crate::commit::{Commit, CommitId};
use crate::hash::Hash;
use crate::ids::{InvalidId, LogId};
use crate::text_serde::text_serde;

/// The format of commits and pages that this program writes. A log of a newer one is refused.
pub const FORMAT_VERSION: u32 = 1;

/// What page 0 says of the log it opens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogHeader {
    /// The log's id.
    pub log_id: LogId,
    /// The format of its commits and pages.
    pub format_version: u32,
}

/// One commit at its place in the order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageEntry {
    /// The commit.
    pub commit: CommitId,
    /// How many events it has: how many positions it takes.
    pub events: u64,
    /// The commit's hash.
    pub hash: Hash,
    /// What was wrong with the commit when it was given its place; nothing halts because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl PageEntry {
    /// The entry of a commit that is as it should be.
    #[must_use]
    pub fn of(commit: &Commit) -> Self {
        Self { commit: commit.id, events: commit.events.len() as u64, hash: commit.hash, fault: None }
    }
}

/// A piece of the total order. Pages are numbered densely from 0, and each is chained to the one before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The page's number.
    #[serde(rename = "_id")]
    pub number: u64,
    /// The position of its first event: the 1-based index in the whole log.
    pub first_position: u64,
    /// Its commits, in order.
    pub entries: Vec<PageEntry>,
    /// Page 0 alone has this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<LogHeader>,
    /// Whether its order was found again after the store lost its history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
    /// Where the sequencer goes on after its last entry, in the store's own terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The hash of the page before; for page 0 that of the log's id.
    pub prev_hash: Hash,
    /// SHA-256 over the canonical form of all the above.
    pub hash: Hash,
}

/// What of a page is hashed: all but the hash itself, in the order of the fields' names, which is the canonical one.
#[derive(Serialize)]
struct HashedPage<'a> {
    #[serde(rename = "_id")]
    number: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    backfill: bool,
    entries: Vec<HashedEntry<'a>>,
    first_position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<HashedHeader>,
    prev_hash: Hash,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

#[derive(Serialize)]
struct HashedEntry<'a> {
    commit: CommitId,
    events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
    hash: Hash,
}

#[derive(Serialize)]
struct HashedHeader {
    format_version: u32,
    log_id: LogId,
}

impl<'a> HashedPage<'a> {
    fn of(page: &'a Page) -> Self {
        let entry = |entry: &'a PageEntry| HashedEntry {
            commit: entry.commit,
            events: entry.events,
            fault: entry.fault.as_deref(),
            hash: entry.hash,
        };
        let header = |header: &LogHeader| HashedHeader { format_version: header.format_version, log_id: header.log_id };
        Self {
            number: page.number,
            backfill: page.backfill,
            entries: page.entries.iter().map(entry).collect(),
            first_position: page.first_position,
            header: page.header.as_ref().map(header),
            prev_hash: page.prev_hash,
            token: page.token.as_deref(),
        }
    }
}

impl Page {
    /// Page 0 of a new log.
    #[must_use]
    pub fn genesis(log_id: LogId, token: Option<String>) -> Self {
        let header = LogHeader { log_id, format_version: FORMAT_VERSION };
        Self::sealed(Self {
            number: 0,
            first_position: 1,
            entries: vec![],
            header: Some(header),
            backfill: false,
            token,
            prev_hash: Self::origin(log_id),
            hash: Hash::ZERO,
        })
    }

    /// The page that follows `previous`.
    #[must_use]
    pub fn following(previous: &Self, entries: Vec<PageEntry>, token: Option<String>, backfill: bool) -> Self {
        Self::sealed(Self {
            number: previous.number + 1,
            first_position: previous.next_position(),
            entries,
            header: None,
            backfill,
            token,
            prev_hash: previous.hash,
            hash: Hash::ZERO,
        })
    }

    /// What page 0 has for the hash of a page before.
    #[must_use]
    pub fn origin(log_id: LogId) -> Hash {
        Hash::of(format!("testledger log {log_id}").as_bytes())
    }

    fn sealed(mut page: Self) -> Self {
        page.hash = page.computed_hash();
        page
    }

    /// The hash that its fields give.
    #[must_use]
    pub fn computed_hash(&self) -> Hash {
        let largest = self.entries.iter().map(|entry| entry.events).chain([self.number, self.first_position]).max();
        // Such counts and positions have no canonical form; zeros never verify.
        if largest > Some(MAX_EXACT_INTEGER) {
            return Hash::ZERO;
        }
        sorted_bytes(&HashedPage::of(self)).map_or(Hash::ZERO, |bytes| Hash::of(&bytes))
    }

    /// How many events its commits have.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.entries.iter().map(|entry| entry.events).fold(0, u64::saturating_add)
    }

    /// The position after its last event.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.first_position.saturating_add(self.events())
    }

    /// The last position it gives; that of the page before, where it is empty.
    #[must_use]
    pub fn last_position(&self) -> u64 {
        self.next_position().saturating_sub(1)
    }

    /// What proves everything up to this page.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        Anchor { page: self.number, hash: self.hash }
    }
}

/// A page's number and hash, written `PAGE:HASH`: whoever keeps one can detect any rewrite of what came before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// The page.
    pub page: u64,
    /// Its hash.
    pub hash: Hash,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.page, self.hash)
    }
}

impl FromStr for Anchor {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid =
            || InvalidId { text: text.to_owned(), expected: "an anchor (`PAGE:HASH`, as each run prints it)" };
        let (page, hash) = text.split_once(':').ok_or_else(invalid)?;
        Ok(Self { page: page.parse().map_err(|_| invalid())?, hash: hash.parse().map_err(|_| invalid())? })
    }
}

text_serde!(Anchor, "Anchor", r"^[0-9]+:[0-9a-f]{64}$");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::canonical_hash;
    use uuid::Uuid;

    fn log() -> LogId {
        LogId(Uuid::from_u128(1))
    }

    fn entry(number: u64, events: u64) -> PageEntry {
        let stream = crate::ExecutionId(Uuid::from_u128(2)).into();
        PageEntry { commit: CommitId { stream, number }, events, hash: Hash::of(&number.to_be_bytes()), fault: None }
    }

    #[test]
    fn positions_are_dense_over_pages() {
        let zero = Page::genesis(log(), None);
        let one = Page::following(&zero, vec![entry(1, 2), entry(2, 1)], None, false);
        let two = Page::following(&one, vec![], None, false);
        let three = Page::following(&two, vec![entry(3, 1)], None, false);
        assert_eq!((zero.last_position(), one.first_position, one.last_position()), (0, 1, 3));
        assert_eq!((two.last_position(), three.first_position), (3, 4));
    }

    #[test]
    fn a_page_survives_its_json_and_every_change_shows() {
        let page = Page::following(&Page::genesis(log(), None), vec![entry(1, 2)], Some("t".into()), true);
        let json = serde_json::to_value(&page).unwrap();
        assert_eq!(serde_json::from_value::<Page>(json.clone()).unwrap(), page);
        for (pointer, value) in [
            ("/first_position", 2.into()),
            ("/entries/0/events", 1.into()),
            ("/entries/0/hash", serde_json::to_value(Hash::ZERO).unwrap()),
            ("/token", "u".into()),
            ("/prev_hash", serde_json::to_value(Hash::ZERO).unwrap()),
        ] {
            let mut changed = json.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            let changed: Page = serde_json::from_value(changed).unwrap();
            assert_ne!(changed.computed_hash(), changed.hash, "{pointer}");
        }
    }

    #[test]
    fn the_hash_of_a_page_is_that_of_its_canonical_form() {
        let zero = Page::genesis(log(), Some("t\u{1}\u{1f600}".into()));
        let flagged = PageEntry { fault: Some("a \"fault\"".into()), ..entry(1, 2) };
        let one = Page::following(&zero, vec![flagged, entry(2, 1)], Some("u".into()), true);
        for page in [zero, one] {
            let mut value = serde_json::to_value(&page).unwrap();
            value.as_object_mut().unwrap().remove("hash");
            assert_eq!(canonical_hash(&value), Ok(page.hash));
        }
    }

    #[test]
    fn an_anchor_is_read_as_it_is_written() {
        let anchor = Page::genesis(log(), None).anchor();
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        assert!("7".parse::<Anchor>().is_err());
    }
}
