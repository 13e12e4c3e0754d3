//! The log in MongoDB: copies of its documents, each in a database of its own, as a restored backup would be.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::serde_helpers::HumanReadable;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, RawDocumentBuf, cstr, deserialize_from_slice, doc, serialize_to_raw_document_buf};
use mongodb::{Collection, IndexModel};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use testledger::audit::{AuditReport, Sequencing, VerifyOptions, verify};
use testledger::event_store::mongodb::{MongoAddress, MongoLog, MongoStore};
use testledger::event_store::{EventLog, StoreError};
use testledger_schemas::commit::Commit;
use testledger_schemas::page::{Anchor, Page};

use super::cases::*;
use super::documents::{Documents, MONGODB_CASES};
use super::mongo;
use super::original::{Written, write};
use super::stored::{Shape, Stored};

/// How long an audit waits for the sequencer: as that of the command line.
const GRACE: Duration = Duration::from_secs(5);
/// So many copies are audited side by side.
const AT_ONCE: usize = 4;
/// The index that keeps a commit from having two places.
const BY_COMMIT: &str = "by_commit";

/// A log as it was written.
pub struct Original {
    documents: Documents,
    indexes: Vec<IndexModel>,
    pub written: Written,
}

/// Writes the log.
pub async fn build() -> Original {
    let place = mongo::database().await;
    let log = place.open().await;
    let written = write(&*log).await;
    log.close().await;
    let copy = Copy { place };
    let indexes: Vec<IndexModel> = copy.collection("pages").list_indexes().await.unwrap().try_collect().await.unwrap();
    Original { documents: copy.documents().await, indexes, written }
}

/// A case of either list.
enum Either {
    Common(&'static Case<Stored>),
    Own(&'static Case<Documents>),
}

impl Original {
    /// A copy in a database of its own.
    pub async fn copy(&self) -> Copy {
        let copy = Copy { place: mongo::database().await };
        self.restore(&copy).await;
        copy
    }

    /// Makes everything in a copy as it was.
    async fn restore(&self, copy: &Copy) {
        copy.put(&copy.documents().await, &self.documents).await;
        copy.collection("pages").create_indexes(self.indexes.iter().cloned()).await.unwrap();
    }

    /// Tries every case on a copy. Returns what was missed, and how many there are.
    pub async fn try_all(&self) -> (Vec<String>, usize) {
        let all: Vec<Either> = CASES.iter().map(Either::Common).chain(MONGODB_CASES.iter().map(Either::Own)).collect();
        let turn = |first| self.try_some(all.iter().skip(first).step_by(AT_ONCE));
        let missed = futures::future::join_all((0..AT_ONCE).map(turn)).await;
        (missed.concat(), all.len())
    }

    /// Tries cases one after the other.
    async fn try_some(&self, cases: impl Iterator<Item = &Either>) -> Vec<String> {
        let copy = self.copy().await;
        let mut missed = vec![];
        for case in cases {
            self.restore(&copy).await;
            missed.extend(self.try_one(&copy, case).await.err());
        }
        missed
    }

    async fn try_one(&self, copy: &Copy, case: &Either) -> Result<(), String> {
        match case {
            Either::Common(case) => try_case(copy, self.written.anchor, case).await,
            Either::Own(case) => {
                let mut after = self.documents.clone();
                (case.tamper)(&mut after);
                copy.put(&self.documents, &after).await;
                judge(copy, self.written.anchor, case).await
            }
        }
    }
}

/// A copy of the documents.
pub struct Copy {
    place: mongo::Place,
}

impl Copy {
    /// The log, as a process of its own would open it.
    pub async fn open(&self) -> Result<std::sync::Arc<MongoLog>, StoreError> {
        let store = MongoStore::connect(MongoAddress::parse(&self.place.address).await?).await?;
        Ok(MongoLog::open_existing(store).await?.expect("a log"))
    }

    fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.place.client.database(&self.place.name).collection(name)
    }

    /// All documents as they are stored.
    pub async fn documents(&self) -> Documents {
        let read = async |name| {
            let found = self.collection(name).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
            found.try_collect().await.unwrap()
        };
        Documents { commits: read("commits").await, pages: read("pages").await, artifacts: read("artifacts").await }
    }

    /// Replaces, deletes and inserts what makes the difference.
    pub async fn put(&self, before: &Documents, after: &Documents) {
        for ((name, before), (_, after)) in before.collections().into_iter().zip(after.collections()) {
            let (old, new) = (by_key(before), by_key(after));
            let collection = self.collection(name);
            let mut added = vec![];
            for (_, (id, _)) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                assert_eq!(collection.delete_one(doc! { "_id": id }).await.unwrap().deleted_count, 1);
            }
            for (key, (id, document)) in &new {
                match old.get(key) {
                    Some((_, same)) if same == document => {}
                    Some(_) => {
                        let replaced = collection.replace_one(doc! { "_id": id }, *document).await.unwrap();
                        assert_eq!(replaced.modified_count, 1);
                    }
                    None => added.push(*document),
                }
            }
            self.insert(&collection, &added).await;
        }
    }

    /// Inserts documents. Where an index forbids it, the owner of the database drops that index.
    async fn insert(&self, collection: &Collection<RawDocumentBuf>, documents: &[&RawDocumentBuf]) {
        if !documents.is_empty() && collection.insert_many(documents.iter().copied()).await.is_err() {
            collection.drop_index(BY_COMMIT).await.unwrap();
            collection.insert_many(documents.iter().copied()).await.unwrap();
        }
    }
}

/// Documents by their ids and the types of those.
fn by_key(documents: &[RawDocumentBuf]) -> BTreeMap<String, (Bson, &RawDocumentBuf)> {
    let keyed = documents.iter().map(|document| {
        let id = document.get("_id").unwrap().unwrap();
        (format!("{id:?}"), (Bson::try_from(id).unwrap(), document))
    });
    keyed.collect()
}

impl Copied for Copy {
    async fn stored(&self) -> Stored {
        let documents = self.documents().await;
        let artifact = |it: &RawDocumentBuf| {
            (it.get_str("_id").unwrap().to_owned(), it.get_binary("bytes").unwrap().bytes.to_owned())
        };
        Stored {
            commits: documents
                .commits
                .iter()
                .map(|it| (it.get_str("_id").unwrap().to_owned(), json::<Commit>(it)))
                .collect(),
            pages: documents.pages.iter().map(|it| (it.get_i64("_id").unwrap() as u64, json::<Page>(it))).collect(),
            artifacts: documents.artifacts.iter().map(artifact).collect(),
        }
    }

    async fn change(&self, before: &Stored, after: &Stored) {
        let unchanged = self.documents().await;
        let mut changed = unchanged.clone();
        changed.commits = changes(&unchanged.commits, &before.commits, &after.commits, document::<Commit>);
        changed.pages = changes(&unchanged.pages, &before.pages, &after.pages, document::<Page>);
        changed.artifacts =
            changes(&unchanged.artifacts, &before.artifacts, &after.artifacts, |key, bytes| piece(key, bytes));
        self.put(&unchanged, &changed).await;
    }

    async fn audit(&self, expect: Option<Anchor>) -> Result<AuditReport, StoreError> {
        let log = self.open().await?;
        let options = VerifyOptions { expect, sequencing: Sequencing::Behind { grace: GRACE } };
        let report = verify(&*log, &options, &|_| {}).await;
        log.close().await;
        report
    }
}

fn json<T: Serialize + DeserializeOwned>(document: &RawDocumentBuf) -> Value {
    let read: HumanReadable<T> = deserialize_from_slice(document.as_bytes()).unwrap();
    serde_json::to_value(read.0).unwrap()
}

/// The documents of a collection with what was changed among their values, which are in the same order.
fn changes<K: Ord, V: PartialEq>(
    documents: &[RawDocumentBuf],
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    write: fn(&K, &V) -> RawDocumentBuf,
) -> Vec<RawDocumentBuf> {
    let old: BTreeMap<&K, &RawDocumentBuf> = before.keys().zip(documents).collect();
    let document = |(key, value): (&K, &V)| match old.get(key) {
        Some(document) if before.get(key) == Some(value) => (*document).clone(),
        Some(_) | None => write(key, value),
    };
    after.iter().map(document).collect()
}

/// The document of a commit or a page under its key: a document has one, and no other within.
fn document<T: Serialize + DeserializeOwned>(key: &(impl Serialize + Clone), value: &Value) -> RawDocumentBuf {
    let mut value = value.clone();
    value["_id"] = serde_json::to_value(key).unwrap();
    match Shape::<T>::of(&value) {
        Shape::Typed(typed) => serialize_to_raw_document_buf(&HumanReadable(&typed)).unwrap(),
        Shape::Other(value) => serialize_to_raw_document_buf(&HumanReadable(&value)).unwrap(),
    }
}

/// The only piece of a small artifact.
fn piece(key: &str, bytes: &[u8]) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), key);
    document.append(cstr!("pieces"), 1_i64);
    document.append(cstr!("bytes"), Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() });
    document
}
