//! `plan check`: says everything that is wrong with plans, without running them.

use std::io::Write;
use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::plans;

/// Checks plans; all of them, whatever is wrong with the first.
///
/// # Errors
/// [`Failure`] with everything that is wrong.
pub fn check(context: &Context, paths: &[PathBuf], json: bool) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    let mut wrong = vec![];
    for path in paths {
        match plans::read(context, path) {
            Ok(plan) if json => {
                let text = serde_json::to_string(&plan).map_err(|error| Failure::new(Exit::Internal, error))?;
                writeln!(out, "{text}")?;
            }
            Ok(plan) => {
                let steps: usize = plan.cases.iter().map(|case| case.steps.len()).sum();
                writeln!(out, "{}: {} cases, {steps} steps: fine", path.display(), plan.cases.len())?;
            }
            Err(failure) => wrong.push(failure.message),
        }
    }
    if wrong.is_empty() { Ok(Exit::Passed) } else { Err(Failure::usage(wrong.join("\n"))) }
}
