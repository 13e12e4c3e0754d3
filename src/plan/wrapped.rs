//! The plan of a command that is run without one: `testledger run -- pytest -q`.

use std::collections::BTreeMap;
use std::path::Path;

use testledger_schemas::Plan;
use testledger_schemas::plan::{
    Action, Case, CaseType, CommandLine, OnInterrupt, Priority, Resume, Retries, RunAction, RunExpect, Step, TextExpect,
};

use super::limits::{MAX_ID_LENGTH, MAX_NAME_LENGTH};
use super::names::is_id;

/// The id where the program's name gives none.
const FALLBACK_ID: &str = "command";

/// One case of one step that runs this command as it is given: no templates, no time limit, one attempt. It is no
/// suite: its only execution has no parent.
#[must_use]
pub fn wrapped_command(argv: Vec<String>, directory: &Path) -> Plan {
    let id = id_of(&argv);
    let name: String = argv.join(" ").chars().take(MAX_NAME_LENGTH).collect();
    let step = Step {
        id: id.clone(),
        name: name.clone(),
        action: Action::Run(RunAction {
            command: CommandLine::Argv(argv.iter().map(|argument| literal(argument)).collect()),
            directory: None,
            env: vec![],
            expect: RunExpect {
                exit_codes: vec![0],
                stdout: TextExpect::default(),
                stderr: TextExpect::default(),
                within_ms: None,
            },
        }),
        timeout_ms: None,
        retries: Retries::NONE,
        on_interrupt: OnInterrupt::Rerun,
        capture: BTreeMap::new(),
        report: None,
    };
    let case = Case {
        id: id.clone(),
        matrix: String::new(),
        matrix_values: BTreeMap::new(),
        name: name.clone(),
        case_type: CaseType::Generic,
        tags: vec![],
        priority: Priority::Normal,
        needs: vec![],
        env: vec![],
        timeout_ms: None,
        retries: Retries::NONE,
        resume: Resume::SameHost,
        steps: vec![step],
    };
    Plan {
        suite: id,
        name,
        source: argv.join(" "),
        is_suite: false,
        directory: directory.to_string_lossy().into_owned(),
        params: BTreeMap::new(),
        required_params: vec![],
        env: vec![],
        secrets: vec![],
        concurrency: None,
        fail_fast: false,
        deadline_ms: None,
        services: vec![],
        cases: vec![case],
    }
}

/// A template whose result is this text: arguments of a plan are templates, those of a wrapped command are not.
fn literal(argument: &str) -> String {
    if !super::template::is_template(argument) {
        return argument.to_owned();
    }
    // JSON's escapes are those of the template's text literals.
    format!("{{{{ {} }}}}", serde_json::Value::from(argument))
}

/// The program's file name, as far as it can be an id.
fn id_of(argv: &[String]) -> String {
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .take(MAX_ID_LENGTH)
        .collect();
    if is_id(&name) && name.chars().any(|c| c.is_ascii_alphanumeric()) { name } else { FALLBACK_ID.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::prepare::{Prepared, Scope, prepare};

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_command_runs_as_it_is_given() {
        let odd = argv(&["/usr/bin/py.test", "-k", "{{ x }} \"\\\n\u{7f}\u{2028}é\u{1f600} {% y", "", "a\tb'c"]);
        let plan = wrapped_command(odd.clone(), Path::new("/work"));
        let Ok(Prepared::Run(run)) = prepare(&plan, &plan.cases[0].steps[0], &BTreeMap::new(), &Scope::default())
        else {
            panic!("not a command");
        };
        assert_eq!((run.argv, run.directory), (odd, "/work".into()));
        assert_eq!((plan.suite.as_str(), plan.is_suite), ("py.test", false));
    }

    #[test]
    fn every_program_has_an_id() {
        for (words, id) in [
            (vec!["pytest", "-q"], "pytest"),
            (vec!["./run tests.sh"], "runtests.sh"),
            (vec!["é"], "command"),
            (vec![".."], "command"),
            (vec![], "command"),
        ] {
            assert_eq!(wrapped_command(argv(&words), Path::new("/")).cases[0].id, id);
        }
    }
}
