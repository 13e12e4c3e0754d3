//! From the arguments of `run` to plans that are ready to be requested.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use testledger_schemas::Plan;

use crate::cli::args::{RunArgs, SelectArgs};
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::plan::{self, Origin, Selection};
use crate::steps::redact::MIN_SECRET_CHARS;

/// A secret of so many characters is not found in a plan by chance.
const TELLING_SECRET_CHARS: usize = 8;
/// The largest plan file that is read, in bytes.
const MAX_PLAN_BYTES: u64 = 16 << 20;

/// Reads a plan file.
///
/// # Errors
/// [`Failure`] with everything that is wrong with it.
pub fn read(context: &Context, path: &Path) -> Result<Plan, Failure> {
    let shown = path.display();
    let unreadable =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{shown}: the plan cannot be read: {error}"));
    let size = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if size > MAX_PLAN_BYTES {
        return Err(Failure::usage(format!(
            "{shown}: the plan has {size} bytes and may have {MAX_PLAN_BYTES}: split it"
        )));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable(&"it is not UTF-8 text"))?;
    let full = std::path::absolute(path).map_err(|error| unreadable(&error))?;
    let directory = full.parent().map_or_else(|| context.directory.clone(), Path::to_path_buf);
    let mut origin = Origin::of_file(path, directory);
    origin.default_case_timeout = context.settings.execution_timeout;
    origin.default_step_timeout = context.settings.step_timeout;
    plan::parse(&text, &origin).map_err(|errors| Failure::usage(shown_errors(&errors)))
}

fn shown_errors(errors: &plan::PlanErrors) -> String {
    use std::io::IsTerminal;
    if std::io::stderr().is_terminal() {
        let coloured = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        format!("the plan has mistakes\n{}", errors.fancy(120, coloured))
    } else {
        format!("the plan has mistakes\n{errors}")
    }
}

/// The plans that `run` was asked for, with parameters, selection and overrides applied. Plans of which the selection
/// leaves nothing are not among them.
///
/// # Errors
/// [`Failure`] for a plan that is wrong, a parameter that is unknown or missing, a selection that names nothing.
pub fn of(context: &Context, args: &RunArgs) -> Result<Vec<Plan>, Failure> {
    if !args.wrapped.is_empty() {
        return wrapped(context, args).map(|plan| vec![plan]);
    }
    let paths: &[PathBuf] = &args.plans;
    let plans: Result<Vec<Plan>, Failure> = paths.iter().map(|path| read(context, path)).collect();
    let plans = plans?;
    let selection = selection(&args.select);
    check_selection(&plans, &selection)?;
    let params: BTreeMap<String, String> = args.params.iter().cloned().collect();
    let mut ready = vec![];
    for plan in plans {
        let mut plan = plan::select(plan::with_params(plan, &params).map_err(Failure::usage)?, &selection);
        secrets_are_there(context, &plan)?;
        overrides(&mut plan, args);
        if !plan.cases.is_empty() {
            ready.push(plan);
        }
    }
    Ok(ready)
}

fn wrapped(context: &Context, args: &RunArgs) -> Result<Plan, Failure> {
    let SelectArgs { cases, tags, priority } = &args.select;
    if !cases.is_empty() || !tags.is_empty() || priority.is_some() || !args.params.is_empty() {
        return Err(Failure::usage(
            "--case, --tag, --priority and --param choose from a plan; a wrapped command has none",
        ));
    }
    let mut plan = plan::wrapped_command(args.wrapped.clone(), &context.directory);
    overrides(&mut plan, args);
    Ok(plan)
}

fn selection(args: &SelectArgs) -> Selection {
    Selection { cases: args.cases.clone(), tags: args.tags.clone(), priority: args.priority.map(Into::into) }
}

/// A name that no plan knows is a slip, not an empty selection.
fn check_selection(plans: &[Plan], selection: &Selection) -> Result<(), Failure> {
    let mut unknown = plans.iter().map(|plan| plan::unknown(plan, selection));
    let first = unknown.next().unwrap_or_default();
    let nowhere: Vec<String> =
        unknown.fold(first, |known, here| known.into_iter().filter(|one| here.contains(one)).collect());
    if nowhere.is_empty() { Ok(()) } else { Err(Failure::usage(nowhere.join("\n"))) }
}

/// Whether the secrets that a plan names are in the environment, and not in the plan itself.
///
/// # Errors
/// [`Failure`] that names the one that is missing, or in the wrong place.
pub fn secrets_are_there(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let missing: Vec<&str> =
        plan.secrets.iter().filter(|name| !context.environment.contains_key(*name)).map(String::as_str).collect();
    if missing.is_empty() {
        secrets_can_be_found(context, plan)?;
        return secrets_are_not_in_the_plan(context, plan);
    }
    let names = missing.join(", ");
    Err(Failure::usage(format!("{}: set the secrets it names in the environment: {names}", plan.source)))
}

/// What is too short cannot be redacted: it would be kept in clear.
fn secrets_can_be_found(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let is_short =
        |name: &&String| context.environment.get(*name).is_some_and(|value| value.chars().count() < MIN_SECRET_CHARS);
    match plan.secrets.iter().find(is_short) {
        Some(name) => Err(Failure::usage(format!(
            "{}: the secret {name} has fewer than {MIN_SECRET_CHARS} characters and could not be redacted: give it a \
             longer value, or take it out of `secrets`",
            plan.source
        ))),
        None => Ok(()),
    }
}

/// A plan is kept as it is, with its parameters: what it holds in clear could not be redacted any more.
fn secrets_are_not_in_the_plan(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(&plan.to_bytes()).into_owned();
    let holds = |name: &&String| {
        let value = context.environment.get(*name).filter(|value| value.chars().count() >= TELLING_SECRET_CHARS);
        let quoted = value.and_then(|value| serde_json::to_string(value).ok());
        quoted.is_some_and(|quoted| text.contains(quoted.trim_matches('"')))
    };
    match plan.secrets.iter().find(holds) {
        Some(name) => Err(Failure::usage(format!(
            "{}: the plan, or one of its parameters, holds the value of the secret {name} in clear, and would be kept so; \
             write {{{{ env.{name} }}}} instead",
            plan.source
        ))),
        None => Ok(()),
    }
}

fn overrides(plan: &mut Plan, args: &RunArgs) {
    plan.fail_fast |= args.fail_fast;
    if let Some(retries) = args.retries {
        for case in &mut plan.cases {
            case.retries.max_attempts = retries + 1;
        }
    }
}
