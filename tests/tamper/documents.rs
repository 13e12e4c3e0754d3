//! What can be done to documents and to nothing else: types that read the same, fields there twice, keys of any type.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::CStr;
use mongodb::bson::serde_helpers::HumanReadable;
use mongodb::bson::{
    Bson, DateTime, Document, RawArrayBuf, RawBson, RawDocument, RawDocumentBuf, cstr, deserialize_from_slice, doc,
    serialize_to_raw_document_buf,
};
use testledger::audit::Finding;
use testledger_schemas::commit::Commit;

use super::cases::*;
use super::stored::continuing;

/// The documents of a log, in the order of their keys.
#[derive(Clone)]
pub struct Documents {
    pub commits: Vec<RawDocumentBuf>,
    pub pages: Vec<RawDocumentBuf>,
    pub artifacts: Vec<RawDocumentBuf>,
}

impl Documents {
    /// By name.
    pub fn collections(&self) -> [(&'static str, &[RawDocumentBuf]); 3] {
        [("commits", &self.commits), ("pages", &self.pages), ("artifacts", &self.artifacts)]
    }
}

/// What only documents allow.
pub const MONGODB_CASES: &[Case<Documents>] = &[
    case("a null field added to the commit", |d| step(d).append(cstr!("worker"), RawBson::Null), is_altered),
    case("a field there twice", |d| step(d).append(cstr!("actor"), "eve"), tells_of_a_commit),
    case("a field of data there twice", field_of_data_twice, is_altered),
    case("a number of data made narrower", |d| data(d, "index", Bson::Int32(0)), is_altered),
    case("a number of data made a double", |d| data(d, "index", Bson::Double(0.0)), tells_of_a_commit),
    case(
        "a number of data made a decimal",
        |d| data(d, "index", Bson::Decimal128("0".parse().unwrap())),
        tells_of_a_commit,
    ),
    case("a version made narrower", |d| retype(step(d), "first_version", narrower), is_altered),
    case("a version made a double", |d| retype(step(d), "first_version", double), tells_of_a_commit),
    case("the order of fields changed", |d| move_to_the_end(step(d), "actor"), is_altered),
    case("the order of data's fields changed", order_of_data, is_altered),
    case("a time made a date", |d| retype(step(d), "recorded_at", |_| DateTime::from_millis(0).into()), is_unreadable),
    case("a hash made a symbol", |d| retype(step(d), "hash", |hash| Bson::Symbol(text(hash))), tells_of_a_commit),
    case("the events made a document", |d| retype(step(d), "events", |_| doc! { "0": 1 }.into()), is_unreadable),
    case("a commit inserted under a number", |d| insert(d, Bson::Int64(7)), is_unpaged),
    case("a commit inserted under null", |d| insert(d, Bson::Null), is_unpaged),
    case("a commit inserted under an object id", |d| insert(d, ObjectId::from_bytes([7; 12]).into()), is_unpaged),
    case("a commit inserted under a document", |d| insert(d, doc! { "a": 1 }.into()), is_unpaged),
    case(
        "a commit's key made an object id",
        |d| retype(step(d), "_id", |_| ObjectId::from_bytes([7; 12]).into()),
        is_missing,
    ),
    case("a commit inserted that leaves a gap", |d| insert_wrong(d, |it| it.id.number += 3), is_sealed_faulty),
    case("a commit inserted with a wrong version", |d| insert_wrong(d, |it| it.first_version += 1), is_sealed_faulty),
    case("a commit inserted with a wrong hash", |d| insert_wrong(d, |it| it.actor = "eve".into()), is_sealed_faulty),
    case("a page's number made narrower", |d| retype(&mut d.pages[9], "_id", narrower), is_page_unreadable),
    case("a page's number made a double", |d| retype(&mut d.pages[9], "_id", double), is_page_unreadable),
    case("a page's position made a double", |d| retype(&mut d.pages[9], "first_position", double), is_page_unreadable),
    case(
        "the order of a page's fields changed",
        |d| move_to_the_end(&mut d.pages[9], "first_position"),
        is_page_unreadable,
    ),
    case("a page's field there twice", |d| d.pages[9].append(cstr!("first_position"), 1_i64), is_page_unreadable),
    case("a page inserted before the first one", |d| copy_page(d, Bson::Int64(-1)), is_page_unreadable),
    case("a page inserted under null", |d| copy_page(d, Bson::Null), is_page_unreadable),
    damage("a page inserted under a text", |d| copy_page(d, "x".into()), "page x"),
    damage("page 0 cut", |d| drop(d.pages.remove(0)), "page 0 is missing"),
    damage("page 0 cut, and all pages after it", |d| d.pages.clear(), "page 0 is missing"),
    case(
        "a piece of an artifact missing",
        |d| retype(&mut d.artifacts[0], "pieces", |_| Bson::Int64(2)),
        is_artifact_gone,
    ),
    case("an artifact made a text", |d| retype(&mut d.artifacts[0], "bytes", |_| "the plan".into()), is_artifact_gone),
    // The sequencer gives the commits their places again: as new pages, which are not those that somebody knows.
    anchored(
        "the last pages cut without their commits",
        |d| d.pages.truncate(d.pages.len() - 5),
        |f| matches!(f, Finding::Rewritten { .. } | Finding::TailCut { .. }),
    ),
];

const fn damage(name: &'static str, tamper: fn(&mut Documents), words: &'static str) -> Case<Documents> {
    Case { name, tamper, names: Names::Damage(words), needs_anchor: false }
}

/// Reads that are not strict about a type may pass it over, the comparison byte by byte does not.
fn tells_of_a_commit(finding: &Finding) -> bool {
    is_altered(finding) || is_edited(finding) || is_unreadable(finding)
}

fn is_sealed_faulty(finding: &Finding) -> bool {
    matches!(finding, Finding::SealedFaulty { .. })
}

/// A commit in the middle of the log whose second event is a step's start.
fn step(documents: &mut Documents) -> &mut RawDocumentBuf {
    let is_one = |it: &RawDocumentBuf| read(it).events.get(1).is_some_and(|event| event.type_name == "StepStarted");
    documents.commits.iter_mut().find(|it| is_one(it)).unwrap()
}

fn read(document: &RawDocument) -> Commit {
    deserialize_from_slice::<HumanReadable<Commit>>(document.as_bytes()).unwrap().0
}

fn tree(document: &RawDocument) -> Document {
    document.try_into().unwrap()
}

fn put(document: &mut RawDocumentBuf, tree: &Document) {
    let changed = RawDocumentBuf::try_from(tree).unwrap();
    assert_ne!(changed, *document);
    *document = changed;
}

/// Gives a field another value.
fn retype(document: &mut RawDocumentBuf, field: &str, to: fn(&Bson) -> Bson) {
    let mut changed = tree(document);
    let value = changed.get_mut(field).unwrap();
    *value = to(value);
    put(document, &changed);
}

fn narrower(number: &Bson) -> Bson {
    Bson::Int32(number.as_i64().unwrap().try_into().unwrap())
}

fn double(number: &Bson) -> Bson {
    Bson::Double(number.as_i64().unwrap() as f64)
}

fn text(value: &Bson) -> String {
    value.as_str().unwrap().to_owned()
}

fn move_to_the_end(document: &mut RawDocumentBuf, field: &str) {
    let mut changed = tree(document);
    let value = changed.remove(field).unwrap();
    changed.insert(field, value);
    put(document, &changed);
}

/// The data of the step's start.
fn data_of(commit: &mut Document) -> &mut Document {
    let event = commit.get_array_mut("events").unwrap()[1].as_document_mut().unwrap();
    event.get_document_mut("data").unwrap()
}

fn data(documents: &mut Documents, field: &str, value: Bson) {
    let document = step(documents);
    let mut changed = tree(document);
    assert_eq!(data_of(&mut changed).insert(field, value), Some(Bson::Int64(0)));
    put(document, &changed);
}

fn order_of_data(documents: &mut Documents) {
    let document = step(documents);
    let mut changed = tree(document);
    let data = data_of(&mut changed);
    let (field, value) = data.iter().next().map(|(field, value)| (field.clone(), value.clone())).unwrap();
    data.remove(&field);
    data.insert(field, value);
    put(document, &changed);
}

/// The first of two values is another; what reads one by the other's name takes the last.
fn field_of_data_twice(documents: &mut Documents) {
    let document = step(documents);
    let commit = tree(document);
    let events = commit.get_array("events").unwrap().iter().enumerate().map(|(index, event)| {
        let event = event.as_document().unwrap();
        if index == 1 { with_twice(event, "data", "index") } else { RawDocumentBuf::try_from(event).unwrap() }
    });
    let mut array = RawArrayBuf::new();
    events.for_each(|event| array.push(event));
    *document = with(&commit, "events", array.into());
    assert_eq!(read(document).check(), Ok(()), "no hash tells");
}

fn with_twice(event: &Document, part: &str, field: &str) -> RawDocumentBuf {
    let inner = event.get_document(part).unwrap();
    let mut twice = RawDocumentBuf::new();
    for (name, value) in inner {
        if name == field {
            twice.append(key(name), 77_i64);
        }
        twice.append(key(name), RawBson::try_from(value.clone()).unwrap());
    }
    with(event, part, twice.into())
}

fn key(name: &str) -> &CStr {
    name.try_into().unwrap()
}

/// A document with another value of a field, at the same place.
fn with(document: &Document, field: &str, value: RawBson) -> RawDocumentBuf {
    let mut changed = RawDocumentBuf::new();
    for (name, own) in document {
        let own = if name == field { value.clone() } else { RawBson::try_from(own.clone()).unwrap() };
        changed.append(key(name), own);
    }
    changed
}

/// A copy of a commit under another key.
fn insert(documents: &mut Documents, key: Bson) {
    let mut copy = tree(step(documents));
    copy.insert("_id", key);
    documents.commits.push(RawDocumentBuf::try_from(&copy).unwrap());
}

/// A commit that does not continue its stream.
fn insert_wrong(documents: &mut Documents, change: fn(&mut Commit)) {
    let mut next = continuing(&read(documents.commits.last().unwrap()));
    let right = next.hash;
    change(&mut next);
    if next.actor != "eve" {
        next.hash = next.computed_hash().unwrap();
        assert_ne!(next.hash, right);
    }
    documents.commits.push(serialize_to_raw_document_buf(&HumanReadable(&next)).unwrap());
}

/// A copy of a page without entries under another key.
fn copy_page(documents: &mut Documents, key: Bson) {
    let mut copy = tree(&documents.pages[9]);
    copy.insert("_id", key);
    copy.insert("entries", Vec::<Bson>::new());
    documents.pages.push(RawDocumentBuf::try_from(&copy).unwrap());
}
