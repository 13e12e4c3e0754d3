//! A view comes back as it was, and its document can be read by people.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};
use testledger::views::mongodb::MongoViews;
use testledger_projections::ports::{Checkpoint, Saved, ViewStore, ViewStoreError};

use super::{Kind, Sample, Samples, Shape, sample};
use crate::folding::{place, view};
use crate::mongodb_server::fresh_database;
use crate::stores::{Ledger, run};

/// Names that mean something to MongoDB, to BSON, to JSON or to nobody.
const NAMES: [&str; 14] = [
    "a.b",
    "$set",
    "$",
    ".",
    "",
    " ",
    "_id",
    "$oid",
    "$date",
    "$numberLong",
    "nul\0nul",
    "\u{2400}",
    "\u{2400}0\0\u{2400}1",
    "ключ-鍵-🔑",
];

fn strange() -> Sample {
    let names = || NAMES.iter().map(|name| (*name).to_owned());
    let shapes =
        vec![Some(Shape::Circle(u32::MAX)), None, Some(Shape::Box { width: 1 << 53, tags: names().collect() })];
    Sample {
        text: "a text with a \0 and a $ and a .".to_owned(),
        whole: 1 << 53,
        signed: -(1 << 53),
        small: u8::MAX,
        fraction: -0.1,
        is: true,
        none: None,
        pair: Some(("x".to_owned(), 0)),
        unit: (),
        shape: Shape::Box { width: 0, tags: vec![] },
        by_text: names().zip(0..).collect(),
        by_number: BTreeMap::from([(i32::MIN, vec![]), (0, shapes), (20_260_101, vec![None])]),
        by_shape: [(Kind::AndTwo, names().map(|name| (name.clone(), name)).collect()), (Kind::One, BTreeMap::new())]
            .into(),
        flat: BTreeMap::from([("more".to_owned(), 1), ("even.more".to_owned(), i64::MIN)]),
    }
}

#[test]
fn every_view_comes_back_as_it_was() {
    run(async {
        let server = fresh_database().await;
        let store = MongoViews::<Samples>::open(&server.database).await.unwrap();
        let wide = |whole, signed| Sample { whole, signed, ..sample("wide") };
        let mut samples =
            vec![strange(), Sample::default(), wide(u64::MAX, i64::MIN), wide(i64::MAX as u64 + 1, i64::MAX)];
        samples.extend((0..64).map(|bit| wide(1 << bit, -(1_i64 << bit.min(62)))));
        let keys = NAMES.iter().map(|name| (*name).to_owned()).chain((0..).map(|number| number.to_string()));
        let views: Vec<(String, Sample)> = keys.zip(samples).collect();
        let keys: Vec<String> = views.iter().map(|(key, _)| key.clone()).collect();
        for round in 0..2 {
            let (before, after) = (place(round, "x"), place(round + 1, "x"));
            let before = if round == 0 { Checkpoint::START } else { before };
            assert_eq!(store.save(&before, views.clone(), &after).await.unwrap(), Saved::Yes);
            let loaded = store.load(&keys).await.unwrap();
            assert_eq!(loaded, views.iter().map(|(_, view)| Some(view.clone())).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_document_can_be_read_by_people() {
    run(async {
        let ledger = Ledger::mongodb().await;
        let crate::stores::Kind::Mongodb(server) = &ledger.kind else { panic!("on MongoDB") };
        let (id, mut stored) = view(7, "suite/case");
        stored.children.statuses.insert(testledger_schemas::ExecutionStatus::Passed, 3);
        stored.tags = vec!["smoke".to_owned()];
        let store = ledger.store().await;
        store.save(&Checkpoint::START, vec![(id, stored)], &place(9, "nine")).await.unwrap();
        let views = server.database.collection::<Document>("view_executions_v2_1");
        let found = views.find_one(doc! {}).await.unwrap().unwrap();
        assert_eq!(found.get_str("_id").unwrap(), "00000000-0000-0000-0000-000000000007");
        assert_eq!(found.get_str("status").unwrap(), "PENDING");
        assert_eq!(found.get_str("requested_at").unwrap(), "1970-01-01T00:00:00.007Z");
        assert_eq!(
            found.get_document("children").unwrap().get_document("statuses").unwrap(),
            &doc! { "PASSED": 3_i64 }
        );
        assert_eq!(found.get_array("tags").unwrap(), &[Bson::from("smoke")]);
        let at = bson::DateTime::from_millis(7);
        assert_eq!(
            found.get_document("_place").unwrap(),
            &doc! { "at": at, "id": "00000000-0000-0000-0000-000000000007" }
        );
        let checkpoints = server.database.collection::<Document>("view_checkpoints");
        let mut stored = checkpoints.find_one(doc! { "_id": "executions" }).await.unwrap().unwrap();
        assert!(matches!(stored.remove("saved_by"), Some(Bson::ObjectId(_))));
        let hash = place(9, "nine").page_hash.to_string();
        let expected = doc! {
            "_id": "executions", "version": 2_i64, "build": 1_i64, "collection": "view_executions_v2_1",
            "position": 9_i64, "page": 9_i64, "page_hash": hash, "paused": null, "epoch": 0_i64, "held": null, "setting": 0_i64,
        };
        assert_eq!(stored, expected);
    });
}

#[test]
fn a_document_that_is_no_view_is_named() {
    run(async {
        let server = fresh_database().await;
        let store = MongoViews::<Samples>::open(&server.database).await.unwrap();
        store.save(&Checkpoint::START, vec![("k-1".to_owned(), strange())], &place(1, "x")).await.unwrap();
        let views = server.database.collection::<Document>("view_samples_v7_1");
        for change in [
            doc! { "$set": { "whole": -1_i64 } },
            doc! { "$unset": { "text": "" } },
            doc! { "$set": { "is": bson::oid::ObjectId::new() } },
        ] {
            views.update_one(doc! {}, change).await.unwrap();
            let error = store.load(&["k-1".to_owned()]).await.unwrap_err();
            assert!(
                matches!(&error, ViewStoreError::Unreadable(why) if why.contains(server.database.name())),
                "{error}"
            );
        }
        let refused = Sample { flat: BTreeMap::from([("$set".to_owned(), 1)]), ..Sample::default() };
        let error = store.save(&place(1, "x"), vec![("k-2".to_owned(), refused)], &place(2, "x")).await.unwrap_err();
        assert!(
            matches!(&error, ViewStoreError::Unreadable(why) if why.contains("k-2") && why.contains("$set")),
            "{error}"
        );
        assert_eq!(store.checkpoint().await.unwrap(), place(1, "x"));
    });
}
