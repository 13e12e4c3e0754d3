//! One idempotency key is one execution: later, at the same time, and when its engine died.

use nix::sys::signal::Signal;

use crate::support::Place;

const PLAN: &str = r#"
suite: once
cases:
  - { id: a, steps: [{ id: s, run: "echo ran >> runs; touch up; until [ -f go ]; do sleep 0.01; done; exit $(cat go)" }] }
  - { id: b, steps: [{ id: s, run: [true] }] }
"#;

fn keyed(place: &Place, key: &str) -> Vec<String> {
    place.file("plan.yaml", PLAN);
    ["run", "plan.yaml", "--json", "--idempotency-key", key].map(str::to_owned).to_vec()
}

fn runs(place: &Place) -> usize {
    std::fs::read_to_string(place.path().join("runs")).unwrap_or_default().lines().count()
}

#[test]
fn the_same_key_again_is_the_same_execution_with_the_same_verdict() {
    for (go, code) in [("0", 0), ("1", 100)] {
        let place = Place::new();
        place.file("go", go);
        let args = keyed(&place, "nightly");
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let first = place.run(&args).expect(code).json();
        let second = place.run(&args).expect(code).json();
        assert_eq!((&second["execution_id"], &second["status"]), (&first["execution_id"], &first["status"]));
        assert_eq!((&second["cases"], &second["worker"]), (&first["cases"], &first["worker"]));
        assert_eq!((first["existed"].as_bool(), second["existed"].as_bool()), (Some(false), Some(true)));
        assert_eq!(runs(&place), 1);
        let text = place.run(&["run", "plan.yaml", "--idempotency-key", "nightly"]).expect(code);
        assert!(text.err().contains("was asked for before"), "{}", text.all());
        place.run(&["run", "plan.yaml", "--idempotency-key", "another"]).expect(code);
        assert_eq!(runs(&place), 2);
        place.verify();
    }
}

#[test]
fn the_same_key_with_another_plan_is_refused() {
    let place = Place::new();
    place.run(&["run", "--idempotency-key", "k", "--", "true"]).expect(0);
    let ended = place.run(&["run", "--idempotency-key", "k", "--", "echo", "other"]).expect(2);
    assert!(ended.err().contains("key") && ended.stdout.is_empty(), "{}", ended.all());
    place.file("plan.yaml", PLAN);
    let two = place.run(&["run", "--idempotency-key", "k", "plan.yaml", "plan.yaml"]).expect(2);
    assert!(two.err().contains("one plan"), "{}", two.all());
}

#[test]
fn two_processes_with_one_key_at_the_same_time_run_once_and_say_the_same() {
    for (go, code) in [("0", 0), ("3", 100)] {
        let place = Place::new();
        let args = keyed(&place, "both");
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let all: Vec<_> = (0..3).map(|_| place.start(&args)).collect();
        place.await_file("up");
        let id = place.id_of("once");
        place.file("go", go);
        for ended in all.into_iter().map(|one| one.wait().expect(code).json()) {
            assert_eq!(ended["execution_id"].as_str(), Some(id.as_str()));
            assert_eq!(ended["cases"].as_object().unwrap().values().filter_map(|count| count.as_u64()).sum::<u64>(), 2);
        }
        assert_eq!(runs(&place), 1);
        place.verify();
        place.no_process_is_left();
    }
}

#[test]
fn two_wrapped_commands_with_one_key_run_once() {
    let place = Place::new();
    let args = [
        "run",
        "--json",
        "--idempotency-key",
        "k",
        "--",
        "sh",
        "-c",
        "echo ran >> runs; touch up; until [ -f go ]; do sleep 0.01; done; exit 5",
    ];
    let (one, two) = (place.start(&args), place.start(&args));
    place.await_file("up");
    place.file("go", "");
    let (one, two) = (one.wait().expect(100).json(), two.wait().expect(100).json());
    assert_eq!((&one["execution_id"], &one["steps"]), (&two["execution_id"], &two["steps"]));
    assert_eq!(runs(&place), 1);
}

#[test]
fn who_only_follows_may_stop_to_wait_and_the_other_goes_on() {
    let place = Place::new();
    let args = keyed(&place, "k");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let first = place.start(&args);
    place.await_file("up");
    let second = place.start(&["run", "plan.yaml", "--idempotency-key", "k"]);
    crate::support::eventually("the second engine is there", || {
        (place.events_of("WorkerStarted").len() == 2).then_some(())
    });
    // It may not listen to signals yet; what counts is that the other goes on whenever this one ends.
    std::thread::sleep(std::time::Duration::from_millis(500));
    second.signal(Signal::SIGINT);
    let ended = second.wait().expect(130);
    assert!(ended.err().contains("goes on in another process"), "{}", ended.all());
    assert_eq!(place.status("once"), "RUNNING");
    place.file("go", "0");
    first.wait().expect(0);
    assert_eq!(place.status("once"), "PASSED");
}

#[test]
fn a_cancellation_reaches_the_one_that_runs_and_the_one_that_follows() {
    let place = Place::new();
    let args = keyed(&place, "k");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let first = place.start(&args);
    place.await_file("up");
    let second = place.start(&args);
    let id = place.id_of("once");
    place.run(&["executions", "cancel", &id]).expect(0);
    for run in [first, second] {
        assert_eq!(run.wait().expect(130).json()["status"], "CANCELLED");
    }
    place.no_process_is_left();
}

#[test]
fn the_key_of_an_execution_whose_engine_died_goes_on_with_it() {
    let place = Place::new();
    let args = keyed(&place, "k");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let first = place.start(&args);
    place.await_file("up");
    let second = place.start(&args);
    first.signal(Signal::SIGKILL);
    first.wait();
    place.file("go", "0");
    let ended = [second.wait().expect(0).json(), place.run(&args).expect(0).json()];
    assert_eq!(ended[0]["execution_id"], ended[1]["execution_id"]);
    // The step that was interrupted has run twice, and once with an end.
    assert_eq!(runs(&place), 2);
    place.no_process_is_left();
    place.verify();
}
