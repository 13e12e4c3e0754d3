//! Addresses and deployments that are refused, each with the mend in the text, and no password in any.

use libtest_mimic::Trial;
use test_servers::{Node, NodeOptions, ReplicaSet, ReplicaSetOptions};
use testledger::event_store::StoreError;
use testledger::event_store::mongodb::{MongoAddress, MongoStore};

use crate::trial;

/// What an address looks like.
const LIKE: &str = "mongodb://HOST:PORT/DATABASE?replicaSet=NAME";
/// What is said of a user or a password with signs of an address in it.
const ENCODE: &str = "percent-encode";

/// Addresses that are none, and the mend of each.
const ADDRESSES: &[(&str, &str)] = &[
    ("", LIKE),
    ("mongodb", LIKE),
    ("mongodb://", LIKE),
    ("http://127.0.0.1/db", LIKE),
    ("mongodb://127.0.0.1:port/db", LIKE),
    ("mongodb://127.0.0.1:27017", "name the database in the address"),
    ("mongodb://127.0.0.1:27017/?replicaSet=rs0", "name the database in the address"),
    ("mongodb://127.0.0.1:27017/db?replicaSet", LIKE),
    ("mongodb://127.0.0.1:27017/a b/c?replicaSet=rs0", LIKE),
    ("mongodb://ada:SECRET@127.0.0.1:27017/?replicaSet=rs0", "name the database in the address"),
    ("mongodb://ada:SECRET@127.0.0.1:port/db", LIKE),
    ("mongodb://ada:SECRET@/db", LIKE),
    ("mongodb://ada:SEC/RET@127.0.0.1:27017/db", ENCODE),
    ("mongodb://ada:12/SECRET@127.0.0.1:27017", ENCODE),
    ("mongodb://ada:12/SECRET@127.0.0.1", ENCODE),
    ("mongodb://ada:SEC@RET@127.0.0.1:27017/db", ENCODE),
    ("mongodb://ada:SEC:RET@127.0.0.1:27017/db", ENCODE),
    ("mongodb://ada:SEC%RET@127.0.0.1:27017/db", ENCODE),
    ("mongodb://ada:SEC?RET@127.0.0.1:27017/db", ENCODE),
    ("mongodb://SECRET@127.0.0.1:port/db", LIKE),
    ("mongodb://ada:x@127.0.0.1:1/db?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN%SECRET", LIKE),
    ("mongodb://127.0.0.1:1/db?tls=true&tlsCertificateKeyFilePassword=SECRET&tlsInsecure=SECRET", LIKE),
];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("refusals::addresses", addresses()),
        trial("refusals::a_server_that_is_no_replica_set", no_replica_set()),
        trial("refusals::a_majority_that_does_not_journal", unjournaled()),
        trial("refusals::nobody_there", nobody()),
    ]
}

async fn addresses() {
    for (address, mend) in ADDRESSES {
        let error = MongoAddress::parse(address).await.map(drop).expect_err(address);
        is_told(&error, mend, address);
    }
}

fn is_told(error: &StoreError, mend: &str, of: &str) {
    let text = error.to_string();
    assert!(matches!(error, StoreError::Refused(_)), "{of}: {text}");
    assert!(text.contains(mend), "{of}: {text}");
    assert!(!["SEC", "RET"].iter().any(|part| text.contains(part)), "{of}: {text}");
}

async fn connect(address: &str) -> StoreError {
    let address = MongoAddress::parse(address).await.unwrap();
    MongoStore::connect(address).await.map(drop).unwrap_err()
}

async fn no_replica_set() {
    let mend = "start mongod with --replSet rs0 and run rs.initiate()";
    let alone = Node::start(NodeOptions::standalone()).await.unwrap();
    let not_initiated = Node::start(NodeOptions::member()).await.unwrap();
    for node in [alone, not_initiated] {
        let bare = format!("mongodb://127.0.0.1:{}/db", node.port());
        is_told(&connect(&bare).await, mend, "an address without replicaSet");
        is_told(&connect(&node.uri("db")).await, mend, "a direct connection");
        // Who names the set is told so as well: the driver alone would only say that nobody answers.
        is_told(&connect(&format!("{bare}?replicaSet=rs0")).await, mend, "an address with replicaSet");
    }
}

async fn unjournaled() {
    let set = ReplicaSet::start_with(ReplicaSetOptions::new(1).unjournaled_majority()).await.unwrap();
    is_told(&connect(&set.uri("db")).await, "set writeConcernMajorityJournalDefault to true", "unjournaled");
}

async fn nobody() {
    let node = Node::start(NodeOptions::standalone()).await.unwrap();
    let address = format!("mongodb://ada:SECRET@127.0.0.1:{}/db?replicaSet=rs0", node.port());
    drop(node);
    let error = connect(&address).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("is the replica set running and initiated, and this address right?"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");
}
