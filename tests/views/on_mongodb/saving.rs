//! Transactions that are in each other's way, batches larger than a command, and what is thrown away.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::options::WriteConcern;
use mongodb::{Client, ClientSession};
use testledger::views::mongodb::MongoViews;
use testledger_projections::ports::{Checkpoint, Saved, ViewStore};

use super::{Sample, Samples, sample};
use crate::folding::place;
use crate::mongodb_server::{TestDatabase, fresh_database};
use crate::stores::run;

async fn open(server: &TestDatabase) -> std::sync::Arc<MongoViews<Samples>> {
    MongoViews::<Samples>::open(&server.database).await.unwrap()
}

fn one(text: &str) -> Vec<(String, Sample)> {
    vec![("one".to_owned(), sample(text))]
}

async fn text(store: &MongoViews<Samples>) -> Option<String> {
    store.load(&["one".to_owned()]).await.unwrap().pop().unwrap().map(|view| view.text)
}

/// Another worker in the middle of its transaction: it has moved the checkpoint, and has not committed yet.
async fn another_worker(server: &TestDatabase) -> ClientSession {
    let client = Client::with_options(server.options().await).unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().write_concern(WriteConcern::majority()).await.unwrap();
    let checkpoints = client.database(server.database.name()).collection::<Document>("view_checkpoints");
    let moved =
        doc! { "$set": { "position": 20_i64, "page": 20_i64, "page_hash": place(20, "other").page_hash.to_string() } };
    checkpoints.update_one(doc! { "_id": "samples" }, moved).session(&mut session).await.unwrap();
    session
}

#[test]
fn who_meets_a_transaction_waits_for_its_end() {
    run(async {
        for commits in [true, false] {
            let server = fresh_database().await;
            let store = open(&server).await;
            store.save(&Checkpoint::START, one("before"), &place(10, "x")).await.unwrap();
            let mut other = another_worker(&server).await;
            let saving = tokio::spawn({
                let store = store.clone();
                async move { store.save(&place(10, "x"), one("after"), &place(20, "x")).await }
            });
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert!(!saving.is_finished(), "nobody knows yet who was first");
            assert_eq!(text(&store).await.as_deref(), Some("before"));
            if commits {
                other.commit_transaction().await.unwrap();
                assert_eq!(saving.await.unwrap().unwrap(), Saved::Overtaken);
                assert_eq!(store.checkpoint().await.unwrap(), place(20, "other"));
                assert_eq!(text(&store).await.as_deref(), Some("before"));
            } else {
                other.abort_transaction().await.unwrap();
                assert_eq!(saving.await.unwrap().unwrap(), Saved::Yes);
                assert_eq!(text(&store).await.as_deref(), Some("after"));
            }
        }
    });
}

/// Many workers at once: of each place exactly one leads on.
#[test]
fn of_many_that_save_the_same_batch_one_does() {
    run(async {
        let server = fresh_database().await;
        for round in 0..12 {
            let mut saving = Vec::new();
            for worker in 0..6 {
                let store = open(&server).await;
                let before = if round == 0 { Checkpoint::START } else { place(round, "x") };
                let text = format!("round {round} of {worker}");
                saving.push((
                    text.clone(),
                    tokio::spawn(async move { store.save(&before, one(&text), &place(round + 1, "x")).await.unwrap() }),
                ));
            }
            let mut winners = Vec::new();
            for (text, saving) in saving {
                if saving.await.unwrap() == Saved::Yes {
                    winners.push(text);
                }
            }
            assert_eq!(winners.len(), 1, "round {round}");
            let store = open(&server).await;
            assert_eq!(text(&store).await, winners.pop());
        }
    });
}

#[test]
fn a_batch_may_be_larger_than_a_command() {
    run(async {
        let server = fresh_database().await;
        let store = open(&server).await;
        let large = "x".repeat(5 << 19);
        let views: Vec<_> = (0..4).map(|number| (number.to_string(), sample(&format!("{number}{large}")))).collect();
        let keys: Vec<_> = views.iter().map(|(key, _)| key.clone()).collect();
        store.save(&Checkpoint::START, views.clone(), &place(1, "x")).await.unwrap();
        assert_eq!(store.load(&keys).await.unwrap(), views.into_iter().map(|(_, view)| Some(view)).collect::<Vec<_>>());

        let views: Vec<_> = (0..10_050).map(|number| (number.to_string(), sample("small"))).collect();
        let keys: Vec<_> = views.iter().map(|(key, _)| key.clone()).collect();
        store.save(&place(1, "x"), views.clone(), &place(2, "x")).await.unwrap();
        assert_eq!(store.load(&keys).await.unwrap(), views.into_iter().map(|(_, view)| Some(view)).collect::<Vec<_>>());
    });
}

/// All of a batch or nothing of it.
#[test]
fn a_view_that_the_server_refuses_leaves_everything_as_it_was() {
    run(async {
        let server = fresh_database().await;
        let store = open(&server).await;
        store.save(&Checkpoint::START, one("before"), &place(1, "x")).await.unwrap();
        let mut views = one("after");
        views.push(("too large".to_owned(), sample(&"x".repeat(17 << 20))));
        let error = store.save(&place(1, "x"), views, &place(2, "x")).await.unwrap_err().to_string();
        assert!(error.contains("too large") || error.contains("TooLarge"), "{error}");
        assert!(error.len() < 1_000, "{error}");
        assert_eq!((store.checkpoint().await.unwrap(), text(&store).await.as_deref()), (place(1, "x"), Some("before")));
        assert_eq!(store.save(&place(1, "x"), one("after"), &place(2, "x")).await.unwrap(), Saved::Yes);
    });
}

async fn collections(server: &TestDatabase) -> Vec<String> {
    let mut names = server.database.list_collection_names().await.unwrap();
    names.retain(|name| name != "view_sessions");
    names.sort_unstable();
    names
}

#[test]
fn what_no_checkpoint_names_is_dropped() {
    run(async {
        let server = fresh_database().await;
        let store = open(&server).await;
        assert_eq!(collections(&server).await, ["view_checkpoints"]);
        store.save(&Checkpoint::START, one("first"), &place(1, "x")).await.unwrap();
        assert_eq!(collections(&server).await, ["view_checkpoints", "view_samples_v7_1"]);
        store.reset().await.unwrap();
        assert_eq!(collections(&server).await, ["view_checkpoints"]);
        let start = store.checkpoint().await.unwrap();
        let there = Checkpoint { epoch: start.epoch, ..place(1, "x") };
        store.save(&start, one("second"), &there).await.unwrap();
        let second = collections(&server).await;
        assert_eq!(second.len(), 2, "{second:?}");

        let database = &server.database;
        for kept in ["view_samples_v7_99", "view_samples_more_v1_1", "view_samples_v7", "commits"] {
            database.create_collection(kept).await.unwrap();
        }
        database.create_collection("view_samples_v6_1").await.unwrap();
        open(&server).await;
        let all = collections(&server).await;
        assert!(!all.contains(&"view_samples_v6_1".to_owned()), "{all:?}");
        assert_eq!(all.len(), 6, "{all:?}");
        assert_eq!(text(&store).await.as_deref(), Some("second"));
    });
}

/// Whoever loses the checkpoints alone loses nothing else: the views that lie around do not come back.
#[test]
fn a_lost_checkpoint_means_a_fold_from_the_start() {
    run(async {
        let server = fresh_database().await;
        let store = open(&server).await;
        store.save(&Checkpoint::START, one("old"), &place(9, "x")).await.unwrap();
        server.database.collection::<Document>("view_checkpoints").drop().await.unwrap();
        assert_eq!(store.checkpoint().await.unwrap(), Checkpoint::START);
        assert_eq!(text(&store).await, None);
        let two = vec![("two".to_owned(), sample("new"))];
        assert_eq!(store.save(&Checkpoint::START, two, &place(1, "x")).await.unwrap(), Saved::Yes);
        assert_eq!(text(&store).await, None);
    });
}
