//! The projections from outside: their state, workers that follow, pausing, rebuilding, comparing with a replay.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Place, eventually, fits};

const PLAN: &str = r#"
suite: mixed
cases:
  - { id: good, steps: [{ id: a, run: "echo fine" }, { id: b, run: [true] }] }
  - { id: bad, steps: [{ id: a, run: "exit 3" }] }
"#;

fn status(place: &Place) -> Vec<Value> {
    let status = place.run(&["projections", "status", "--json"]).expect(0).json();
    fits(place, "projections-status", std::slice::from_ref(&status));
    status["projections"].as_array().unwrap().clone()
}

fn of(place: &Place, name: &str) -> Value {
    status(place).into_iter().find(|one| one["name"] == name).unwrap()
}

#[test]
fn workers_follow_the_log_and_another_takes_over_when_one_is_killed() {
    let place = Place::new();
    place.plan(PLAN, &[]).expect(100);
    let (one, two) = (place.start(&["project"]), place.start(&["project"]));
    let worker = || of(&place, "traces")["worker"].as_str().map(ToOwned::to_owned);
    let first = eventually("a worker", worker);
    let pid = |holder: &str| holder.split(':').nth_back(1).unwrap().parse::<u32>().unwrap();
    let (killed, left) = if pid(&first) == one.pid() { (one, two) } else { (two, one) };
    killed.signal(Signal::SIGKILL);
    killed.wait();
    let second = eventually("another worker", || worker().filter(|now| *now != first));
    assert_eq!(pid(&second), left.pid());
    place.plan(PLAN, &[]).expect(100);
    eventually("caught up", || status(&place).iter().all(|one| one["behind_events"] == 0).then_some(()));
    left.signal(Signal::SIGTERM);
    let ended = left.wait().expect(0);
    assert!(ended.out().contains("executions: ") && ended.out().contains("immediate"), "{}", ended.all());
    assert!(status(&place).iter().all(|one| one["worker"].is_null()), "the leases are given up");
    place.verify();
}

#[test]
fn a_paused_projection_stays_where_it_is_and_can_be_read() {
    let place = Place::new();
    place.plan(PLAN, &[]).expect(100);
    assert_eq!(place.executions().len(), 3);
    place.run(&["projections", "pause", "executions"]).expect(0);
    place.plan(PLAN, &[]).expect(100);
    let listed = place.run(&["executions", "list", "--all", "--json"]).expect(0);
    assert_eq!(listed.json()["executions"].as_array().unwrap().len(), 3);
    assert!(listed.err().contains("paused their projection"), "{}", listed.all());
    let paused = of(&place, "executions");
    assert!(paused["behind_events"].as_u64() > Some(0) && paused["paused_by"].is_string(), "{paused}");
    place.run(&["projections", "resume", "executions"]).expect(0);
    assert_eq!(place.executions().len(), 6);
    let wrong = place.run(&["projections", "pause", "trace"]).expect(2);
    assert!(wrong.err().contains("executions, traces, flaky_steps"), "{}", wrong.all());
}

#[test]
fn views_are_rebuilt_and_compared_with_a_replay() {
    let place = Place::new();
    place.plan(PLAN, &[]).expect(100);
    place.run(&["project", "--once"]).expect(0);
    let verified = place.run(&["audit", "verify", "--views", "--json"]).expect(0).json();
    fits(&place, "audit-verify", std::slice::from_ref(&verified));
    let compared = verified["views"].as_array().unwrap();
    assert_eq!(compared.len(), 3);
    assert!(compared.iter().all(|one| one["differences_total"] == 0 && one["views"].as_u64() > Some(0)), "{verified}");
    place.store.change_a_view();
    let verified = place.run(&["audit", "verify", "--views"]).expect(112);
    assert!(verified.out().contains("DIFFERENCE executions") && verified.out().contains("actor"), "{}", verified.all());
    assert!(verified.out().contains("projections rebuild executions"), "{}", verified.all());
    place.run(&["projections", "rebuild", "executions"]).expect(0);
    place.run(&["audit", "verify", "--views"]).expect(0);
}
