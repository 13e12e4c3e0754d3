//! Secrets appear nowhere: not in a file of the store, not on the terminal, not in reports, events or views.

use std::path::Path;

use base64::Engine;

use crate::service::{self, TOKEN};
use crate::support::Place;

pub const SECRET: &str = "hunter2-correct-horse-battery";

/// Everything that the place holds and the program says.
pub fn everything(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut all = place.store.contents();
    collect(place.path(), &mut all);
    let ids = place.executions().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    for args in
        [&["events", "--json"][..], &["events"], &["executions", "list", "--all", "--json"], &["audit", "export"]]
    {
        let ended = place.run(args);
        all.push((args.join(" "), [ended.stdout, ended.stderr].concat()));
    }
    for id in ids {
        for args in [&["executions", "show", &id][..], &["executions", "show", &id, "--json"]] {
            let ended = place.run(args);
            all.push((args.join(" "), [ended.stdout, ended.stderr].concat()));
        }
    }
    all
}

pub fn collect(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, all);
        } else {
            all.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn encodings(secret: &str) -> Vec<String> {
    let (standard, url) = (base64::engine::general_purpose::STANDARD, base64::engine::general_purpose::URL_SAFE_NO_PAD);
    vec![
        secret.to_owned(),
        standard.encode(secret),
        url.encode(secret),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ]
}

#[track_caller]
pub fn appears_nowhere(secret: &str, all: &[(String, Vec<u8>)]) {
    for text in encodings(secret) {
        for (name, bytes) in all {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "`{text}` is in {name}");
        }
    }
}

const PLAN: &str = r#"
suite: secretive
secrets: [API_TOKEN]
cases:
  - id: plain
    steps:
      - { id: print, run: 'echo "token=$API_TOKEN"; echo "$API_TOKEN" >&2' }
      - { id: argv, run: [echo, "{{ env.API_TOKEN }}"], capture: { got: { text: true } } }
  - id: split
    steps:
      - { id: halves, run: 'printf "%s" "${API_TOKEN%????????}"; sleep 0.2; printf "%s\n" "${API_TOKEN#?????????????????????}"' }
      - { id: letters, run: 'printf "%s" "$API_TOKEN" | fold -w 1 | while read -r c; do printf "%s" "$c"; sleep 0.01; done' }
  - id: encoded
    steps:
      - { id: base64, run: 'printf "%s" "$API_TOKEN" | base64; printf "user:%s" "$API_TOKEN" | base64 -w0' }
      - { id: hex, run: 'printf "%s" "$API_TOKEN" | od -An -v -tx1 | tr -d " \n"' }
  - id: failing
    steps:
      - { id: compare, run: 'echo "$API_TOKEN"; exit 1', expect: { stdout: { contains: "something else" } } }
  - id: reported
    steps:
      - id: tool
        run: 'printf "<testsuite><testcase name=\"t-%s\"><failure message=\"got %s\">%s</failure></testcase></testsuite>" "$API_TOKEN" "$API_TOKEN" "$API_TOKEN" > "$REPORT"'
        report: { junit: "../report-{{ env.SUFFIX }}.xml" }
"#;

#[test]
fn a_secret_of_the_environment_appears_nowhere() {
    let place = Place::new().env("API_TOKEN", SECRET);
    // The tool's own report is a file of the test, not of the engine: it lies elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let report = elsewhere.path().join("report.xml");
    let place = place.env("REPORT", report.to_str().unwrap());
    let plan = PLAN.replace("../report-{{ env.SUFFIX }}.xml", report.to_str().unwrap());
    let ended = place.plan(&plan, &["--no-capture", "--junit", "out.xml"]).expect(100);
    assert!(ended.out().contains("***"), "{}", ended.all());
    assert!(std::fs::read_to_string(&report).unwrap().contains(SECRET));
    let mut all = everything(&place);
    all.push(("the terminal".to_owned(), [ended.stdout, ended.stderr].concat()));
    appears_nowhere(SECRET, &all);
    let finished = place.events_of("StepFinished");
    assert!(finished.iter().any(|event| event.to_string().contains("token=***")));
    assert_eq!(place.status("secretive/plain"), "PASSED");
    assert_eq!(place.status("secretive/split"), "PASSED");
    place.verify();
}

#[test]
fn a_captured_secret_appears_nowhere() {
    let place = Place::new();
    let plan = format!(
        "suite: web\n{}{}",
        service::of_a_plan(service::free_port()),
        r#"
cases:
  - id: login
    steps:
      - id: token
        http: { method: POST, url: "{{ env.BASE }}/token", json: {} }
        capture: { token: { json: "$.token", secret: true } }
      - id: greet
        http: { url: "{{ env.BASE }}/greet?t={{ token }}", headers: { Authorization: "Bearer {{ token }}" } }
        expect: { status: 200, text: "your token is {{ token }}" }
      - { id: argv, run: [echo, "{{ token }}"] }
      - { id: wrong, run: [sh, -c, 'echo "$1" >&2; printf "%s" "$1" | base64; exit 3', sh, "{{ token }}"], expect: { stdout: { contains: "not {{ token }}" } } }
"#
    );
    let ended = place.plan(&plan, &["--no-capture", "--junit", "out.xml"]).expect(100);
    let finished = place.events_of("StepFinished");
    assert_eq!(finished.len(), 4, "{}", ended.all());
    let mut all = everything(&place);
    all.push(("the terminal".to_owned(), [ended.stdout, ended.stderr].concat()));
    appears_nowhere(TOKEN, &all);
    place.verify();
}

#[test]
fn a_secret_that_is_not_in_the_environment_is_asked_for() {
    let place = Place::new();
    let ended = place
        .plan("suite: s\nsecrets: [API_TOKEN]\ncases: [{ id: c, steps: [{ id: a, run: [true] }] }]\n", &[])
        .expect(2);
    assert!(ended.err().contains("API_TOKEN"), "{}", ended.all());
}

#[test]
fn a_plan_that_holds_a_secret_in_clear_is_refused() {
    let place = Place::new().env("API_TOKEN", SECRET);
    let plan = "suite: s\nsecrets: [API_TOKEN]\nparams: { t: x }\ncases: [{ id: c, steps: [{ id: a, run: [touch, '{{ params.t }}'] }] }]\n";
    let ended = place.plan(plan, &["--param", &format!("t={SECRET}")]).expect(2);
    assert!(ended.err().contains("env.API_TOKEN") && !ended.err().contains(SECRET), "{}", ended.all());
    place.plan(&plan.replace("t: x", &format!("t: {SECRET}")), &[]).expect(2);
    assert!(place.store.is_untouched());
    place.plan(plan, &[]).expect(0);
}

/// Commands inherit TESTLEDGER_STORE, even where a flag names another store.
#[test]
fn a_password_in_an_address_that_is_not_used_appears_nowhere() {
    let place = Place::new().env("TESTLEDGER_STORE", &format!("mongodb://ada:{SECRET}@127.0.0.1:1/x?replicaSet=rs0"));
    let settings = place.run(&["settings"]).expect(0);
    assert!(settings.out().contains("mongodb://ada:***@127.0.0.1:1/x"), "{}", settings.all());
    place.file("plan.yaml", "suite: s\ncases: [{ id: c, steps: [{ id: a, run: 'env; env >&2; exit 1' }] }]\n");
    let ran = place.run(&["run", "plan.yaml", "--no-capture", "--store", "sqlite:here.db"]).expect(100);
    assert!(ran.out().contains("mongodb://ada:***@127.0.0.1:1/x"), "{}", ran.all());
    let mut all = vec![];
    collect(place.path(), &mut all);
    for (name, ended) in [("settings", settings), ("the run", ran)] {
        all.push((name.to_owned(), [ended.stdout, ended.stderr].concat()));
    }
    appears_nowhere(SECRET, &all);
}
