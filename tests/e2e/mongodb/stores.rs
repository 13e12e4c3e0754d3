//! Databases that cannot be used, each with a clear word: no log, another program's, a newer log's, out of reach.

use std::time::{Duration, Instant};

use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};

use crate::service::free_port;
use crate::support::{Ended, Place};

/// "Within seconds", for a program that looks for a primary for five.
const SECONDS: Duration = Duration::from_secs(15);

fn both(place: &Place, store: &str, code: i32) -> [Ended; 2] {
    let run = place.run(&["run", "--store", store, "--", "touch", "ran"]).expect(code);
    let list = place.run(&["executions", "list", "--store", store]).expect(code);
    assert!(!place.path().join("ran").exists());
    assert!(run.stdout.is_empty() && list.stdout.is_empty(), "{}{}", run.all(), list.all());
    [run, list]
}

#[test]
fn the_place_where_there_is_no_log_is_named() {
    let place = Place::new();
    let ended = place.run(&["executions", "list"]).expect(111);
    let wanted = format!("there is no log at {}", place.store.setting().unwrap());
    assert!(ended.err().contains(&wanted), "{}", ended.all());
}

#[test]
fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let foreign = [
        ("commits", doc! { "_id": "a1b2c3", "message": "first commit" }),
        ("commits", doc! { "_id": ObjectId::from_bytes([7; 12]), "message": "first commit" }),
        ("pages", doc! { "_id": "home", "title": "Welcome" }),
        ("pages", doc! { "_id": 0_i32, "title": "Welcome" }),
    ];
    for (collection, document) in foreign {
        let place = Place::new();
        insert(&place, collection, document);
        let before = place.store.contents();
        for ended in both(&place, place.store.setting().unwrap(), 111) {
            let said = ended.err();
            assert!(said.contains(&format!("`{collection}`")), "{}", ended.all());
            assert!(said.contains("another program") && said.contains("another database"), "{}", ended.all());
        }
        assert_eq!(place.store.contents(), before);
    }
}

fn insert(place: &Place, collection: &str, document: Document) {
    place.store.ask(async |database: Database| {
        database.collection(collection).insert_one(document).await.unwrap();
    });
}

#[test]
fn a_newer_format_is_refused() {
    let place = Place::new();
    place.run(&["run", "--", "true"]).expect(0);
    place.store.ask(async |database: Database| {
        let newer = doc! { "$set": { "header.format_version": 4711_i64 } };
        database.collection::<Document>("pages").update_one(doc! { "_id": 0 }, newer).await.unwrap();
    });
    for ended in both(&place, place.store.setting().unwrap(), 111) {
        assert!(ended.err().contains("newer testledger") && ended.err().contains("4711"), "{}", ended.all());
    }
    place.run(&["audit", "verify"]).expect(111);
}

#[test]
fn a_log_that_lost_its_beginning_is_no_log_to_go_on_with() {
    let place = Place::new();
    place.run(&["run", "--", "true"]).expect(0);
    place.store.ask(async |database: Database| {
        database.collection::<Document>("pages").delete_one(doc! { "_id": 0 }).await.unwrap();
    });
    let ended = both(&place, place.store.setting().unwrap(), 112);
    let verified = place.run(&["audit", "verify"]).expect(112);
    for ended in ended.iter().chain([&verified]) {
        assert!(ended.err().contains("page 0") && ended.err().contains("restore"), "{}", ended.all());
    }
}

#[test]
fn an_address_that_cannot_be_meant_is_bad_usage() {
    let place = Place::new();
    for (store, words) in [
        ("mongodb://127.0.0.1:1", "name the database in the address"),
        ("mongodb://127.0.0.1:1/?replicaSet=rs0", "name the database in the address"),
        ("mongodb://", "cannot be read"),
        ("mongodb://127.0.0.1:1/x?replicaSet", "cannot be read"),
        ("mongodb://127.0.0.1:port/x", "cannot be read"),
    ] {
        for ended in both(&place, store, 2) {
            assert!(ended.err().contains(words), "{store}: {}", ended.all());
        }
    }
}

#[test]
fn a_server_that_does_not_answer_is_given_up_within_seconds() {
    let place = Place::new();
    let store = format!("mongodb://127.0.0.1:{}/x?replicaSet=rs0", free_port());
    for args in [&["run", "--store", &store, "--", "touch", "ran"][..], &["events", "--follow", "--store", &store]] {
        let began = Instant::now();
        let ended = place.run(args).expect(111);
        assert!(began.elapsed() < SECONDS, "{:?}", began.elapsed());
        assert!(ended.err().contains("no primary answers"), "{}", ended.all());
    }
    assert!(!place.path().join("ran").exists());
}

#[test]
fn a_replica_set_of_another_name_is_not_the_one_that_was_meant() {
    let place = Place::new();
    let store = place.store.setting().unwrap().replace("replicaSet=rs0", "replicaSet=other");
    let ended = place.run(&["executions", "list", "--store", &store]).expect(111);
    assert!(ended.err().contains("is called `rs0`"), "{}", ended.all());
}
