//! The SQLite file: one that cannot be used, one of another program, one that may not be written, one that is locked.

use std::os::unix::fs::PermissionsExt;

use crate::support::Place;

#[test]
fn a_store_that_cannot_be_used_is_refused_with_a_mend() {
    let place = Place::new();
    place.file("text.db", "this is no database, and was never meant to be one; it is a text of some length\n");
    std::fs::create_dir(place.path().join("folder")).unwrap();
    let cases = [
        ("sqlite:folder", 111, "is a folder"),
        ("sqlite:text.db", 111, "is not a SQLite database"),
        ("sqlite:text.db/ledger.db", 111, "text.db"),
        ("postgres://127.0.0.1/x", 2, "write sqlite:PATH"),
        ("ledger.db", 2, "write sqlite:PATH"),
        ("sqlite:", 2, "write sqlite:PATH"),
    ];
    for (store, code, words) in cases {
        for args in [&["run", "--store", store, "--", "true"][..], &["executions", "list", "--store", store]] {
            let ended = place.run(args).expect(code);
            let said = ended.err();
            assert!(
                said.contains(words) || (code == 111 && said.contains("there is no log at")),
                "{store}: {}",
                ended.all()
            );
            assert!(ended.stdout.is_empty(), "{}", ended.all());
        }
    }
    assert_eq!(std::fs::read_to_string(place.path().join("text.db")).unwrap().len(), 80);
}

#[test]
fn a_newer_format_and_another_programs_database_are_refused_untouched() {
    let place = Place::new();
    place.run(&["run", "--", "true"]).expect(0);
    let set = |pragma: &str| {
        place.store.connection().execute_batch(&format!("PRAGMA {pragma};")).unwrap();
    };
    set("user_version = 4711");
    let ended = place.run(&["run", "--", "true"]).expect(111);
    assert!(ended.err().contains("newer testledger") && ended.err().contains("4711"), "{}", ended.all());
    place.run(&["audit", "verify"]).expect(111);
    set("application_id = 1");
    let ended = place.run(&["executions", "list"]).expect(111);
    assert!(ended.err().contains("another program"), "{}", ended.all());
}

/// For root no file is read-only; there, this only checks that the program works.
#[test]
fn a_store_that_may_not_be_written_is_refused() {
    let place = Place::new();
    place.run(&["run", "--", "true"]).expect(0);
    let folder = place.store.file().parent().unwrap().to_owned();
    let may = |mode: u32, folder_mode: u32| {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(folder_mode)).unwrap();
    };
    may(0o444, 0o555);
    let ended = place.run(&["run", "--", "true"]);
    may(0o644, 0o755);
    if nix::unistd::geteuid().is_root() {
        ended.expect(0);
    } else {
        let ended = ended.expect(111);
        assert!(ended.err().contains("cannot be written"), "{}", ended.all());
    }
}

/// Another program holds the write lock for longer than the patience.
fn locked(place: &Place) -> rusqlite::Connection {
    let connection = place.store.connection();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[test]
fn a_store_that_stays_locked_ends_the_run_and_its_processes() {
    let place = Place::new().env("TESTLEDGER_STORE_PATIENCE", "300ms");
    place.run(&["run", "--", "true"]).expect(0);
    let plan = "suite: s\ncases:\n  - { id: a, steps: [{ id: x, run: 'touch up; until [ -f go ]; do sleep 0.01; done' }, { id: y, run: \
                'touch never' }] }\n  - { id: b, steps: [{ id: x, run: 'setsid sleep 600 & sleep 600' }] }\n";
    place.file("plan.yaml", plan);
    let run = place.start(&["run", "plan.yaml", "--jobs", "2"]);
    place.await_file("up");
    let lock = locked(&place);
    place.file("go", "");
    let ended = run.wait().expect(111);
    assert!(ended.err().contains("locked by another process"), "{}", ended.all());
    assert!(!place.path().join("never").exists(), "a step was begun that the log does not know");
    place.no_process_is_left();
    let refused = place.run(&["run", "--", "true"]).expect(111);
    assert!(refused.err().contains("locked by another process"), "{}", refused.all());
    // Reading needs no lock.
    assert!(!place.events(&[]).is_empty());
    lock.execute_batch("ROLLBACK").unwrap();
    place.verify();
    assert_eq!(place.status("s"), "RUNNING");
    place.run(&["executions", "cancel", &place.id_of("s")]).expect(0);
    place.run(&["run", "--", "true"]).expect(0);
    assert_eq!(place.status("s"), "CANCELLED");
}

#[test]
fn a_store_that_is_locked_for_a_moment_is_waited_for() {
    let place = Place::new().env("TESTLEDGER_STORE_PATIENCE", "1m");
    place.run(&["run", "--", "true"]).expect(0);
    let lock = locked(&place);
    let run = place.start(&["run", "--", "true"]);
    std::thread::sleep(std::time::Duration::from_millis(700));
    lock.execute_batch("ROLLBACK").unwrap();
    run.wait().expect(0);
    place.verify();
}

#[test]
fn the_file_that_settings_name_is_made_with_its_folders() {
    let place = Place::new();
    place.file("testledger.toml", "store = \"sqlite:else/where.db\"\n");
    place.run(&["run", "--", "true"]).expect(0);
    assert!(place.path().join("else/where.db").exists() && place.store.is_untouched());
}

#[test]
fn one_file_has_one_folder_of_leases_whatever_names_lead_to_it() {
    let place = Place::new();
    let on = |store: &'static str, args: &[&'static str]| [&["--store", store], args].concat();
    place.run(&on("sqlite:real.db", &["run", "--", "true"])).expect(0);
    std::os::unix::fs::symlink("real.db", place.path().join("link.db")).unwrap();
    let run = place
        .start(&on("sqlite:link.db", &["run", "--", "sh", "-c", "touch up; until [ -f go ]; do sleep 0.01; done"]));
    place.await_file("up");
    assert!(!place.path().join("link.db-workers").exists());
    let told = place.run(&on("sqlite:real.db", &["recover", "--json"])).expect(0);
    assert!(told.out().contains("IN_HANDS"), "{}", told.all());
    place.file("go", "");
    run.wait().expect(0);
}
