//! Commits and pages as documents that any MongoDB tool shows well: the fields of their JSON, with texts for ids.

use mongodb::bson::serde_helpers::HumanReadable;
use mongodb::bson::{RawBsonRef, RawDocument, RawDocumentBuf, deserialize_from_slice, serialize_to_raw_document_buf};
use serde::Serialize;
use serde::de::DeserializeOwned;
use testledger_schemas::commit::Commit;
use testledger_schemas::page::Page;

/// What is said of a document that reads well and yet was not written so.
const INEXACT: &str = "it is not the document that this program wrote";

/// The document of a commit or a page.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<RawDocumentBuf, String> {
    serialize_to_raw_document_buf(&HumanReadable(value)).map_err(|error| error.to_string())
}

/// The commit in a document, if it can be read.
pub(super) fn commit_in(document: &RawDocument) -> Result<Commit, String> {
    decode(document)
}

/// As [`commit_in`], and the document is byte by byte the one this program wrote: a field that is there twice, or of
/// another type of number, would be read over and change no hash.
pub(super) fn exact_commit_in(document: &RawDocument) -> Result<Commit, String> {
    exact(document)
}

/// The page in a document, byte by byte as this program wrote it.
pub(super) fn page_in(document: &RawDocument) -> Result<Page, String> {
    exact(document)
}

/// The primary key as text, whatever it is.
pub(super) fn key_of(document: &RawDocument) -> String {
    match document.get("_id") {
        Ok(Some(RawBsonRef::String(text))) => text.to_owned(),
        Ok(Some(other)) => format!("{other:?}"),
        Ok(None) | Err(_) => String::new(),
    }
}

fn decode<T: DeserializeOwned>(document: &RawDocument) -> Result<T, String> {
    deserialize_from_slice::<HumanReadable<T>>(document.as_bytes())
        .map(|readable| readable.0)
        .map_err(|error| error.to_string())
}

fn exact<T: Serialize + DeserializeOwned>(document: &RawDocument) -> Result<T, String> {
    let value: T = decode(document)?;
    if encode(&value)?.as_bytes() == document.as_bytes() { Ok(value) } else { Err(INEXACT.to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};
    use testledger_schemas::canonical::MAX_EXACT_INTEGER;
    use testledger_schemas::commit::{Envelope, RecordedEvent, StoredContent, StreamHead};
    use testledger_schemas::ids::{EventId, ExecutionId, LogId, WorkerId};
    use testledger_schemas::page::PageEntry;
    use testledger_schemas::{Hash, Timestamp};
    use uuid::Uuid;

    use super::*;

    /// Any JSON of our own fields: no fractions, no NUL in a key (BSON has no such keys).
    fn json() -> impl Strategy<Value = Value> {
        let largest = MAX_EXACT_INTEGER as i64;
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-largest..=largest).prop_map(Value::from),
            ".*".prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 24, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                fields(inner).prop_map(Value::Object),
            ]
        })
    }

    fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
        // Names that MongoDB or extended JSON give a meaning are names like any other here.
        let name = prop_oneof!["[^\0]{0,8}", Just("$oid".to_owned()), Just("$date".to_owned()), Just("a.b".to_owned())];
        proptest::collection::btree_map(name, value, 0..6).prop_map(|fields| fields.into_iter().collect())
    }

    fn commit(data: Map<String, Value>, content: Map<String, Value>) -> Commit {
        let content = StoredContent { nonce: "00".repeat(16), value: content };
        let content_hash = Some(content.hash().unwrap());
        let event = RecordedEvent {
            event_id: EventId(Uuid::from_u128(7)),
            type_name: "Any".to_owned(),
            schema_version: 3,
            data,
            content: Some(content),
            content_hash,
        };
        let envelope = Envelope {
            recorded_at: Timestamp::from_unix_ms(1_795_425_120_007),
            actor: "ada".to_owned(),
            worker: Some(WorkerId(Uuid::from_u128(8))),
            claim_epoch: Some(2),
            correlation_id: None,
            causation_id: Some(EventId(Uuid::from_u128(9))),
        };
        Commit::seal(ExecutionId(Uuid::from_u128(1)).into(), StreamHead::EMPTY, envelope, vec![event]).unwrap()
    }

    proptest! {
        /// BSON -> JSON -> canonical bytes is the identity: hashes hold in the database as they do anywhere else.
        #[test]
        fn a_commit_survives_its_document(data in fields(json()), content in fields(json())) {
            let commit = commit(data, content);
            let document = encode(&commit).unwrap();
            let read = exact_commit_in(&document).unwrap();
            prop_assert_eq!(read.to_json(), commit.to_json());
            prop_assert_eq!(read.check(), Ok(()));
            prop_assert_eq!(read, commit);
        }
    }

    #[test]
    fn a_page_survives_its_document() {
        let commit = commit(Map::new(), Map::new());
        let zero = Page::genesis(LogId(Uuid::from_u128(1)), Some("t".to_owned()));
        let entry = PageEntry { fault: Some("flagged".to_owned()), ..PageEntry::of(&commit) };
        for page in [Page::following(&zero, vec![entry], None, true), zero] {
            assert_eq!(page_in(&encode(&page).unwrap()), Ok(page));
        }
    }

    #[test]
    fn ids_and_hashes_are_texts() {
        let document = encode(&commit(Map::new(), Map::new())).unwrap();
        assert_eq!(key_of(&document), "execution/00000000-0000-0000-0000-000000000001/0000000001");
        assert_eq!(document.get_str("worker").unwrap(), "00000000-0000-0000-0000-000000000008");
        assert_eq!(document.get_str("recorded_at").unwrap(), "2026-11-23T09:12:00.007Z");
        assert_eq!(document.get_str("prev_hash").unwrap(), Hash::ZERO.to_string());
    }

    #[test]
    fn a_document_that_reads_the_same_and_is_another_is_noticed() {
        let commit = commit(Map::new(), Map::new());
        let mut document = encode(&commit).unwrap();
        document.append(mongodb::bson::cstr!("actor"), "ada");
        assert_ne!(exact_commit_in(&document), Ok(commit.clone()));
        let mut narrow: mongodb::bson::Document = encode(&commit).unwrap().try_into().unwrap();
        narrow.insert("first_version", 1_i32);
        let narrow = RawDocumentBuf::try_from(narrow).unwrap();
        assert_eq!(commit_in(&narrow), Ok(commit));
        assert_eq!(exact_commit_in(&narrow), Err(INEXACT.to_owned()));
    }
}
