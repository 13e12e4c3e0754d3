//! What steps of a plan become when they are prepared.

use std::path::Path;

use super::*;
use crate::plan::{Origin, parse};
use serde_json::json;

fn plan(step: &str) -> Plan {
    let text = format!(
        "params: {{ region: eu }}\nenv: {{ BASE: b, SUB: s }}\ncases:\n  - id: one\n    steps:\n      \
         - {{ id: make, run: [make], capture: {{ token: {{ text: true }}, user: {{ json: $ }} }} }}\n      - {step}\n"
    );
    let origin = Origin::of_file(Path::new("p.yaml"), "/plans".into());
    parse(&text, &origin).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn scope() -> Scope {
    Scope {
        params: pairs(&[("region", "eu")]),
        facts: pairs(&[("execution.id", "e-1"), ("case", "one")]),
        captures: [("token".to_owned(), json!("s3")), ("user".to_owned(), json!({ "id": 7 }))].into(),
        ..Scope::default()
    }
}

fn prepared(step: &str) -> Result<Prepared, PrepareError> {
    let plan = plan(step);
    prepare(&plan, &plan.cases[0].steps[1], &pairs(&[("BASE", "http://x"), ("SUB", "sub")]), &scope())
}

fn run(step: &str) -> PreparedRun {
    match prepared(step) {
        Ok(Prepared::Run(run)) => run,
        other => panic!("{other:?}"),
    }
}

fn http(step: &str) -> PreparedHttp {
    match prepared(step) {
        Ok(Prepared::Http(http)) => http,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_gets_its_arguments_environment_and_paths() {
    let run =
        run("{ id: a, run: [./a, '{{ token }}', '{{ env.B }}', '{{ execution.id }}'], directory: '{{ env.SUB }}', \
         env: { A: '{{ env.BASE }}/1', B: '{{ env.A }}{{ user.id }}' }, report: { junit: 'o-{{ case }}.xml' }, \
         expect: { stdout: '{{ params.region }}' } }");
    assert_eq!(run.argv, ["./a", "s3", "http://x/17", "e-1"]);
    assert_eq!(run.directory, Path::new("/plans/sub"));
    assert_eq!(run.junit.as_deref(), Some(Path::new("/plans/sub/o-one.xml")));
    assert_eq!(run.expect.stdout.contains, ["eu"]);
    let env: BTreeMap<_, _> = run.env.into_iter().collect();
    assert_eq!(env, pairs(&[("A", "http://x/1"), ("B", "http://x/17"), ("BASE", "http://x"), ("SUB", "sub")]));
}

#[test]
fn a_shell_line_is_left_alone() {
    let run = run("{ id: a, run: 'echo \"${#HOME}\" | cat', directory: /abs }");
    assert_eq!(run.argv, ["sh", "-c", "echo \"${#HOME}\" | cat"]);
    assert_eq!(run.directory, Path::new("/abs"));
}

#[test]
fn a_request_gets_its_url_and_a_typed_body() {
    let http = http(
        "{ id: a, http: { url: '{{ env.BASE }}/u?a=1', query: { q: 'x&y {{ user.id }}' }, headers: { T: '{{ token }}' }, \
         json: { id: '{{ user.id }}', name: 'n{{ user.id }}', all: ['{{ user }}', 1.5, null] } }, \
         expect: { json: { $.id: '{{ user.id }}' }, headers: { X: '{{ token }}' } } }",
    );
    assert_eq!((http.method.as_str(), http.url.as_str()), ("POST", "http://x/u?a=1&q=x%26y+7"));
    assert_eq!(http.headers, [("T".to_owned(), "s3".to_owned())]);
    let HttpBody::Json(body) = http.body else { panic!("{:?}", http.body) };
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, json!({ "id": 7, "name": "n7", "all": [{ "id": 7 }, 1.5, null] }));
    assert_eq!(http.expect.json["$.id"].equals.as_deref(), Some("7"));
    assert_eq!(http.expect.headers["x"].equals.as_deref(), Some("\"s3\""));
}

#[test]
fn what_cannot_be_used_is_refused_with_its_field() {
    let error = |step: &str| prepared(step).unwrap_err().to_string();
    assert_eq!(error("{ id: a, run: [a, '{{ user.nme }}'] }"), "run: `user.nme` names nothing: use one of `user.id`");
    assert_eq!(
        error("{ id: a, http: { url: '{{ token }}' } }"),
        "http.url: `s3` is not a URL: it must begin with `http://` or `https://`"
    );
    assert_eq!(error("{ id: a, run: ['{{ \"\" }}'] }"), "run: the program has no name");
    let env = error("{ id: a, run: [a], env: { A: '{{ env.NOT_THERE }}' } }");
    assert!(env.starts_with("env.A: `env.NOT_THERE` names nothing: "), "{env}");
    assert!(
        error(
            "{ id: a, run: [a, '{{ \"x\" * 1000000 }}', '{{ \"x\" * 1000000 }}', '{{ \"x\" * 1000000 }}', \
         '{{ \"x\" * 1000000 }}', '{{ \"x\" * 1000000 }}'] }"
        )
        .contains("more than 4194304 bytes")
    );
}

#[test]
fn a_captured_value_is_never_a_template_itself() {
    let plan = plan("{ id: a, run: [echo, '{{ token }}'], env: { T: '{{ token }}' } }");
    let mut scope = scope();
    scope.captures.insert("token".to_owned(), json!("{{ env.BASE }}"));
    let Ok(Prepared::Run(run)) = prepare(&plan, &plan.cases[0].steps[1], &BTreeMap::new(), &scope) else {
        panic!("not a command");
    };
    assert_eq!((run.argv[1].as_str(), run.env[0].1.as_str()), ("{{ env.BASE }}", "{{ env.BASE }}"));
}
