//! Sets of one server in the shapes that some tests need.

use mongodb::Client;
use mongodb::bson::doc;
use mongodb::error::ErrorKind;
use test_servers::{ReplicaSet, ReplicaSetOptions};

use crate::support::{collection, write_and_count};

/// What a server answers to a change stream whose place in the oplog is gone.
const HISTORY_LOST: i32 = 286;

#[tokio::test]
async fn an_oplog_that_is_overrun_has_lost_its_history() {
    let set = ReplicaSet::start_with(ReplicaSetOptions::new(1).small_oplog()).await.unwrap();
    let facts = collection(&set.uri("db")).await;
    let mut stream = facts.watch().await.unwrap();
    write_and_count(&facts).await;
    stream.next_if_any().await.unwrap();
    let token = stream.resume_token().unwrap();
    assert!(facts.watch().resume_after(token.clone()).await.is_ok(), "its place is there still");
    set.overrun_oplog().await.unwrap();
    let error = facts.watch().resume_after(token).await.map(drop).unwrap_err();
    let ErrorKind::Command(refused) = error.kind.as_ref() else { panic!("{error}") };
    assert_eq!(refused.code, HISTORY_LOST, "{error}");
    assert_eq!(facts.count_documents(doc! {}).await.unwrap(), 1, "the data are as they were");
}

#[tokio::test]
async fn a_majority_need_not_journal() {
    for (options, expected) in
        [(ReplicaSetOptions::new(1), true), (ReplicaSetOptions::new(1).unjournaled_majority(), false)]
    {
        let set = ReplicaSet::start_with(options).await.unwrap();
        let client = Client::with_uri_str(set.uri("db")).await.unwrap();
        let answer = client.database("admin").run_command(doc! { "replSetGetConfig": 1 }).await.unwrap();
        let config = answer.get_document("config").unwrap();
        assert_eq!(config.get_bool("writeConcernMajorityJournalDefault").unwrap(), expected);
    }
}
