//! The shared server: named by a variable, or private to a process.

use std::process::{Command, Output};

use mongodb::Client;
use test_servers::{ReplicaSet, VARIABLE, fresh_database};

use crate::support::{collection, port_of, with_arguments, write_and_count};

/// Runs with the server that is named, or with one of its own; the tests below start it in both ways.
#[tokio::test]
async fn fresh_databases_are_empty_and_share_a_server() {
    let (one, other) = (fresh_database().await.unwrap(), fresh_database().await.unwrap());
    assert_ne!(one.name(), other.name());
    assert!(one.uri().contains(&format!("/{}?replicaSet=rs0", one.name())), "{}", one.uri());
    assert_eq!(port_of(one.uri()), port_of(other.uri()));
    for database in [&one, &other] {
        assert_eq!(write_and_count(&collection(database.uri()).await).await, 1);
    }
    let port = port_of(one.uri());
    drop((one, other));
    if std::env::var_os(VARIABLE).is_none() {
        assert_eq!(
            with_arguments(&["--port", &port]),
            Vec::<u32>::new(),
            "the private server goes with the last database"
        );
    }
}

#[tokio::test]
async fn databases_on_a_named_server_are_dropped() {
    let set = ReplicaSet::start(1).await.unwrap();
    for base in [set.uri(""), set.uri("testledger")] {
        let output = run_the_other(Some(&base));
        assert!(output.status.success(), "{output:?}");
    }
    let client = Client::with_uri_str(set.uri("")).await.unwrap();
    let names = client.list_database_names().await.unwrap();
    assert!(names.iter().all(|name| !name.starts_with("tl_")), "{names:?}");
}

#[test]
fn a_process_without_the_variable_starts_a_server_of_its_own() {
    let output = run_the_other(None);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_named_server_that_is_away_is_told_with_its_mend() {
    let mut set = ReplicaSet::start(1).await.unwrap();
    set.kill(0).unwrap();
    let output = run_the_other(Some(&format!("{}&serverSelectionTimeoutMS=500", set.uri(""))));
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("make services-up"), "{told}");
}

fn run_the_other(base: Option<&str>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "shared::fresh_databases_are_empty_and_share_a_server", "--nocapture"]);
    match base {
        Some(base) => command.env(VARIABLE, base),
        None => command.env_remove(VARIABLE),
    };
    command.output().unwrap()
}
