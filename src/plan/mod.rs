//! The room where a plan is read: text in, validated plan out. Pure.
//!
//! `yaml` makes a tree of the text, `shape` holds it against the published schema, `suite`, `case`, `step` and
//! their parts make a [`Plan`] of it, and `reader` collects everything that is wrong on the way.

mod capture;
mod case;
mod command;
mod expect;
#[cfg(test)]
mod large_tests;
pub mod limits;
mod names;
mod needs;
mod problem;
mod reader;
mod request;
mod select;
mod shape;
mod step;
mod suite;
pub mod template;
mod tree;
mod wrapped;
mod yaml;

use std::path::PathBuf;
use std::time::Duration;

use testledger_schemas::Plan;

use crate::settings::Settings;

pub use capture::fits_a_command;
pub use problem::{MAX_PROBLEMS, PlanErrors, Problem, suggestion};
pub use select::{ParamError, Selection, select, unknown, with_params};
pub use tree::Place;
pub use wrapped::wrapped_command;

/// Where a plan's text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file as shown to people.
    pub path: String,
    /// The directory that relative paths start from, absolute.
    pub directory: PathBuf,
    /// The id of the suite, where the plan names none: the file's name without its ending.
    pub default_suite: String,
    /// The running time an attempt of a case may take, where the plan does not say.
    pub default_case_timeout: Duration,
    /// The running time a step may take, where the plan does not say.
    pub default_step_timeout: Duration,
}

impl Origin {
    /// The origin of a file, as the person named it, with the directory it stands in.
    #[must_use]
    pub fn of_file(path: &std::path::Path, directory: PathBuf) -> Self {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let settings = Settings::default();
        Self {
            path: path.to_string_lossy().into_owned(),
            directory,
            default_suite: stem,
            default_case_timeout: settings.execution_timeout,
            default_step_timeout: settings.step_timeout,
        }
    }
}

/// Reads a plan.
///
/// # Errors
/// [`PlanErrors`] with everything that is wrong. Where the shape is wrong (unknown keys, wrong types), what would only
/// show in a plan of the right shape is not looked for.
pub fn parse(text: &str, origin: &Origin) -> Result<Plan, PlanErrors> {
    let errors = |problems| PlanErrors::new(&origin.path, text, problems);
    let tree = yaml::tree(text).map_err(|problem| errors(vec![problem]))?;
    let problems = shape::check(&tree);
    if !problems.is_empty() {
        return Err(errors(problems));
    }
    let document = yaml::document(text).map_err(|problem| errors(vec![problem]))?;
    let mut reader = reader::Reader::new(&tree);
    let plan = suite::read(&mut reader, &document, origin);
    if reader.problems.is_empty() { Ok(plan) } else { Err(errors(reader.problems)) }
}
