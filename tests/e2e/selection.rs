//! Which cases run: by id, tag and priority; nothing to run; a dry run; plans that are wrong.

use crate::support::Place;

const PLAN: &str = r#"
suite: pick
cases:
  - { id: base, steps: [{ id: a, run: "touch base" }] }
  - { id: smoke, tags: [smoke, fast], priority: high, steps: [{ id: a, run: "touch smoke" }] }
  - { id: slow, tags: [slow], priority: low, needs: [base], steps: [{ id: a, run: "touch slow" }] }
"#;

fn ran(place: &Place) -> Vec<&'static str> {
    ["base", "smoke", "slow"].into_iter().filter(|name| place.path().join(name).exists()).collect()
}

#[test]
fn cases_are_chosen_by_id_tag_and_priority_with_what_they_need() {
    let choices: [(&[&str], &[&str]); 5] = [
        (&["--case", "smoke"], &["smoke"]),
        (&["--case", "slow"], &["base", "slow"]),
        (&["--tag", "fast", "--tag", "slow"], &["base", "smoke", "slow"]),
        (&["--priority", "high"], &["smoke"]),
        (&["--priority", "normal"], &["base", "smoke"]),
    ];
    for (args, wanted) in choices {
        let place = Place::new();
        place.plan(PLAN, args).expect(0);
        assert_eq!(ran(&place), wanted, "{args:?}");
    }
}

#[test]
fn a_selection_of_nothing_is_no_success() {
    let place = Place::new();
    let ended = place.plan(PLAN, &["--priority", "critical"]).expect(4);
    assert!(ended.err().contains("nothing to run"), "{}", ended.all());
    let ended = place.plan(PLAN, &["--case", "smoek"]).expect(2);
    assert!(ended.err().contains("`smoke`"), "{}", ended.all());
    assert!(ran(&place).is_empty());
    assert!(place.store.is_untouched(), "nothing was run, and yet there is a store");
}

#[test]
fn a_dry_run_says_what_would_run_and_runs_nothing() {
    let place = Place::new();
    let ended = place.plan(PLAN, &["--dry-run", "--case", "slow"]).expect(0);
    for wanted in ["base", "slow", "nothing was run"] {
        assert!(ended.out().contains(wanted), "{}", ended.all());
    }
    assert!(!ended.out().contains("smoke"), "{}", ended.all());
    assert!(ran(&place).is_empty());
    assert!(place.store.is_untouched());
}

#[test]
fn a_wrong_plan_is_refused_with_every_mistake_and_its_place() {
    let place = Place::new();
    let wrong = "suite: s\nconcurency: 2\ncases:\n  - id: a\n    steps: [{ id: x, rum: [true] }]\n";
    let ended = place.plan(wrong, &[]).expect(2);
    for wanted in ["plan.yaml:2:1", "concurrency", "plan.yaml:5:", "`run`"] {
        assert!(ended.err().contains(wanted), "{wanted}: {}", ended.all());
    }
    assert!(place.store.is_untouched());
    let ended = place.run(&["plan", "check", "plan.yaml", "missing.yaml"]).expect(2);
    for wanted in ["plan.yaml:2:1", "missing.yaml"] {
        assert!(ended.err().contains(wanted), "{wanted}: {}", ended.all());
    }
    place.file("plan.yaml", PLAN);
    assert!(place.run(&["plan", "check", "plan.yaml"]).expect(0).out().contains("3 cases, 3 steps"));
}

#[test]
fn usage_that_makes_no_sense_is_refused() {
    let place = Place::new();
    place.file("plan.yaml", PLAN);
    for args in [
        &["run"][..],
        &["run", "--jobs", "0", "plan.yaml"],
        &["run", "plan.yaml", "--param", "x"],
        &["run", "plan.yaml", "--", "true"],
        &["run", "--tag", "x", "--", "true"],
        &["run", "nowhere.yaml"],
        &["run", "."],
        &["frobnicate"],
        &["executions", "list", "--status", "sad"],
    ] {
        let ended = place.run(args).expect(2);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{args:?}: {}", ended.all());
    }
}

#[test]
fn bad_settings_are_named_with_their_place() {
    let place = Place::new();
    place.file("testledger.toml", "jobs = 2\ngrase = \"1s\"\n");
    let ended = place.run(&["run", "--", "true"]).expect(2);
    assert!(ended.err().contains("testledger.toml:2:1") && ended.err().contains("`grace`"), "{}", ended.all());
}
