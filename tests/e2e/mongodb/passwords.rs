//! The password in the address of the store appears nowhere, whatever steps print and whatever goes wrong.

use mongodb::bson::doc;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use test_servers::ReplicaSet;

use super::store::{Store, wait_for};
use crate::secrets::{appears_nowhere, everything};
use crate::support::Place;

const PASSWORD: &str = "hunter2/correct horse@battery";

/// A server with a user; it asks nobody for a password, but who gives one is held to it.
fn secured() -> (ReplicaSet, Store, String) {
    let set = wait_for(ReplicaSet::start(1)).unwrap();
    Store::at(&set.uri("tests"), "tests").ask(async |database| {
        let user = doc! { "createUser": "ada", "pwd": PASSWORD, "roles": ["readWrite"] };
        database.run_command(user).await.unwrap();
    });
    let written = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC).to_string();
    let address = set.uri("tests").replace("mongodb://", &format!("mongodb://ada:{written}@"));
    let store = Store::at(&address, "tests");
    (set, store, written)
}

#[test]
fn what_steps_print_of_the_address_is_redacted() {
    let (_set, store, written) = secured();
    let place = Place::with(|_| store);
    let plan = r#"
suite: curious
cases:
  - id: c
    steps:
      - { id: all, run: "env; env >&2" }
      - { id: own, run: 'echo "$TESTLEDGER_STORE"; printf "%s" "$TESTLEDGER_STORE" | base64 -w0; exit 3' }
"#;
    let ended = place.plan(plan, &["--no-capture", "--junit", "out.xml"]).expect(100);
    assert!(ended.out().contains("mongodb://ada:***@127.0.0.1"), "{}", ended.all());
    let wrapped = place.run(&["run", "--", "env"]).expect(0);
    let settings = place.run(&["settings"]).expect(0);
    assert!(settings.out().contains("mongodb://ada:***@127.0.0.1"), "{}", settings.all());
    let mut all = everything(&place);
    // What a wrapped command says passes unchanged to the terminal, whose own it is; the log has it redacted.
    for (name, ended) in [("the run", ended), ("settings", settings)] {
        all.push((name.to_owned(), [ended.stdout, ended.stderr].concat()));
    }
    assert!(wrapped.out().contains("TESTLEDGER_STORE="), "{}", wrapped.all());
    appears_nowhere(PASSWORD, &all);
    appears_nowhere(&written, &all);
    let shown = place.events_of("StepFinished").iter().filter(|event| event.to_string().contains("ada:***@")).count();
    assert_eq!(shown, 3);
    place.verify();
}

#[test]
fn errors_and_hints_name_the_store_without_its_password() {
    let (_set, store, written) = secured();
    let (right, place) = (store.setting().unwrap().to_owned(), Place::with(|_| store));
    let mut all = vec![];
    let mut say = |store: &str, args: &[&str], code: i32| {
        let ended = place.run(&[args, &["--store", store]].concat()).expect(code);
        all.push((format!("{args:?} {store}"), [&ended.stdout[..], &ended.stderr[..]].concat()));
        ended
    };
    let none = say(&right, &["executions", "list"], 111);
    assert!(none.err().contains("no log at mongodb://ada:***@127.0.0.1"), "{}", none.all());
    let wrong = say(&right.replace("ada:", "eve:"), &["executions", "list"], 111);
    assert!(wrong.err().contains("does not accept this user and password"), "{}", wrong.all());
    place.file("plan.yaml", "suite: s\ncases: [{ id: c, steps: [{ id: a, run: [false] }] }]\n");
    let hint = say(&right, &["run", "plan.yaml", "-vv"], 100);
    assert!(hint.out().contains("--store 'mongodb://ada:***@127.0.0.1"), "{}", hint.all());
    for store in [
        right.replace("/tests", "/"),
        right.replace("127.0.0.1:", "127.0.0.1:x"),
        right.replace("replicaSet", "tls=maybe&replicaSet"),
        right.replace("mongodb:", "postgres:"),
        format!("mongodb://ada:{PASSWORD}@127.0.0.1:1/x"),
        format!("mongodb://ada:{PASSWORD}"),
    ] {
        say(&store, &["executions", "list"], 2);
    }
    appears_nowhere(PASSWORD, &all);
    appears_nowhere(&written, &all);
}
