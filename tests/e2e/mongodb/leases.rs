//! Engines that are stopped, or cut off from others: their leases run out, and by then nothing of them runs any more.

use nix::sys::signal::Signal;

use crate::support::{Place, eventually};

const PLAN: &str = "suite: s\ncases:\n  - { id: a, steps: [{ id: x, run: 'echo x >> ran; touch up; until [ -f go ]; do sleep 0.02; \
                    done' }, { id: y, run: 'echo y >> ran' }] }\n";

fn lines(place: &Place) -> usize {
    std::fs::read_to_string(place.path().join("ran")).unwrap_or_default().lines().count()
}

#[test]
fn a_stopped_engine_loses_its_processes_its_executions_and_its_say() {
    let place = Place::new().env("TESTLEDGER_LEASE", "2s");
    place.file("plan.yaml", PLAN);
    let run = place.start(&["run", "plan.yaml"]);
    place.await_file("up");
    run.signal(Signal::SIGSTOP);
    let recover = place.start(&["recover", "--wait", "60s", "--json"]);
    // It runs again only after the old one was ended.
    eventually("the step runs again", || (lines(&place) == 2).then_some(()));
    // A shell that is about to become its `sleep` still looks like the shell.
    let shells = || place.processes().into_iter().filter(|(_, line)| line.contains("until [ -f go ]")).count();
    eventually("the old one is gone", || (shells() == 1).then_some(()));
    place.file("go", "");
    let told = recover.wait().expect(0).json();
    assert_eq!((&told["lost"], &told["status"]), (&"LEASE_EXPIRED".into(), &"PASSED".into()), "{told}");
    run.signal(Signal::SIGCONT);
    // It meets the end of its lease first, or that of its spawner.
    let ended = run.wait();
    assert!([70, 111].contains(&ended.code()) && ended.err().contains("go on with nothing"), "{}", ended.all());
    assert_eq!((lines(&place), place.status("s").as_str()), (3, "PASSED"));
    assert_eq!(place.events_of("ExecutionPassed").len(), 2, "the case and its suite, once each");
    place.no_process_is_left();
    place.verify();
}

#[test]
fn an_engine_that_works_keeps_its_lease_and_its_executions() {
    let place = Place::new().env("TESTLEDGER_LEASE", "2s");
    place.file("plan.yaml", PLAN);
    let run = place.start(&["run", "plan.yaml"]);
    place.await_file("up");
    let told = place.run(&["recover", "--wait", "7s", "--json"]).expect(0).json();
    assert_eq!(told["action"], "IN_HANDS", "{told}");
    place.file("go", "");
    run.wait().expect(0);
    assert_eq!(lines(&place), 2);
    place.verify();
}
