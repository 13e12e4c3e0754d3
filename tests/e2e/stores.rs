//! Stores: several runs on one, none there yet, and one that was tampered with.

use crate::support::Place;

#[test]
fn several_runs_at_the_same_time_share_one_store() {
    let place = Place::new();
    let plan = "suite: s\ncases:\n  - { id: c, matrix: { n: [1, 2, 3, 4, 5] }, steps: [{ id: a, run: [true] }, { id: b, run: [true] }] }\n";
    place.file("plan.yaml", plan);
    // The store is new to all of them.
    let all: Vec<_> = (0..4).map(|_| place.start(&["run", "plan.yaml", "--json"])).collect();
    let anchors: Vec<String> =
        all.into_iter().map(|one| one.wait().expect(0).json()["anchor"].as_str().unwrap().to_owned()).collect();
    assert_eq!(place.executions().len(), 4 * 6);
    for anchor in anchors {
        place.run(&["audit", "verify", "--expect", &anchor]).expect(0);
    }
    let events = place.events(&[]);
    let positions: Vec<u64> = events.iter().map(|event| event["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (1..=events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn without_a_log_there_is_nothing_to_show() {
    let place = Place::new();
    for args in [&["executions", "list"][..], &["events"], &["audit", "verify"], &["executions", "show", "01234567"]] {
        let ended = place.run(args).expect(111);
        assert!(ended.err().contains("there is no log at") && ended.err().contains("--store"), "{}", ended.all());
    }
    assert!(place.store.is_untouched());
}

#[test]
fn a_tampered_log_does_not_verify() {
    let place = Place::new();
    let result = place.run(&["run", "--json", "--", "sh", "-c", "exit 1"]).expect(100).json();
    assert!(place.store.overwrite("FAILED", "PASSED") > 0);
    let ended = place.run(&["audit", "verify"]).expect(112);
    assert!(!ended.stdout.is_empty(), "{}", ended.all());
    let anchor = result["anchor"].as_str().unwrap();
    place.run(&["audit", "verify", "--expect", anchor]).expect(112);
    let other = Place::new();
    other.run(&["run", "--", "true"]).expect(0);
    other.run(&["audit", "verify", "--expect", anchor]).expect(112);
    other.run(&["audit", "verify", "--expect", "nonsense"]).expect(2);
}
