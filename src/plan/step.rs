//! Reads steps: a command or an HTTP request, what is expected of it and what is kept of it.

use testledger_schemas::plan::document::{
    CaseDocument, CommandDocument, DefaultsDocument, ExpectDocument, StepDocument,
};
use testledger_schemas::plan::{Action, Report, RunAction, Step};

use super::names::Known;
use super::reader::Reader;
use super::tree::Path;
use super::{capture, command, expect, request};

/// One step. `known` is what its templates can name; what it captures itself is not among that.
pub fn read(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    step: &StepDocument,
    case: &CaseDocument,
    defaults: &DefaultsDocument,
    known: Known<'_>,
) -> Option<Step> {
    let expect = step.expect.clone().unwrap_or_default();
    let action = match (&step.run, &step.http) {
        (Some(command), None) => run(reader, path, step, command, &expect, known, case, defaults),
        (None, Some(http)) => request::read(reader, path, step, http, &expect, known),
        (Some(_), Some(_)) => {
            let mend = "make two steps of it: one with `run`, one with `http`";
            reader.wrong_key(&path.key("http"), "a step cannot have both `run` and `http`", mend);
            return None;
        }
        (None, None) => {
            reader.wrong(path, "this step does nothing", "add `run: [program, argument]` or `http: { url: ... }`");
            return None;
        }
    };
    let timeout = reader.duration(&path.key("timeout"), step.timeout);
    Some(Step {
        id: step.id.clone(),
        name: reader.display_name(path, step.name.as_ref(), &step.id),
        timeout_ms: timeout.or(defaults.timeout.map(|timeout| timeout.ms)),
        retries: reader.retries(step.retries.as_ref().or(defaults.step_retries.as_ref())),
        on_interrupt: step.on_interrupt.or(defaults.on_interrupt).unwrap_or_default(),
        capture: capture::read(reader, &path.key("capture"), step, &action),
        report: report(reader, path, step, &action, known),
        action,
    })
}

#[expect(clippy::too_many_arguments, reason = "all of them are the surroundings of one step")]
fn run(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    step: &StepDocument,
    document: &CommandDocument,
    expect: &ExpectDocument,
    known: Known<'_>,
    case: &CaseDocument,
    defaults: &DefaultsDocument,
) -> Action {
    let known = known.with_env(&step.env);
    let directory = step.directory.as_ref().or(case.directory.as_ref()).or(defaults.directory.as_ref()).cloned();
    if let Some(directory) = &step.directory {
        reader.template(&path.key("directory"), directory, known);
    }
    Action::Run(RunAction {
        command: command::read(reader, &path.key("run"), document, known),
        directory,
        env: reader.env(&path.key("env"), &step.env, known),
        expect: expect::of_run(reader, &path.key("expect"), expect, known),
    })
}

fn report(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    step: &StepDocument,
    action: &Action,
    known: Known<'_>,
) -> Option<Report> {
    let report = step.report.as_ref()?;
    let below = path.key("report");
    if !matches!(action, Action::Run(_)) {
        reader.wrong_key(&below, "a request writes no report", "take it away, or move it to a step with `run`");
    }
    if report.junit.trim().is_empty() {
        reader.wrong(
            &below.key("junit"),
            "the report has no path",
            "write the file the tool writes, such as `out.xml`",
        );
    }
    reader.template(&below.key("junit"), &report.junit, known.with_env(&step.env));
    Some(Report::JUnit(report.junit.clone()))
}
