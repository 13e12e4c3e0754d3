//! `schema`: prints a published JSON Schema.

use std::io::Write;

use crate::cli::exit::{Exit, Failure};
use crate::published;

/// Prints the schema with this name, or the names.
///
/// # Errors
/// [`Failure`] for a name that is unknown.
pub fn print(name: Option<&str>) -> Result<Exit, Failure> {
    let all = published::all();
    let mut out = std::io::stdout().lock();
    let Some(name) = name else {
        for (file, _) in &all {
            writeln!(out, "{}", short(file))?;
        }
        return Ok(Exit::Passed);
    };
    let found = all.iter().find(|(file, _)| short(file) == name);
    let Some((_, schema)) = found else {
        let names: Vec<&str> = all.iter().map(|(file, _)| short(file)).collect();
        return Err(Failure::usage(format!("no schema is called `{name}`; there are {}", names.join(", "))));
    };
    let text = serde_json::to_string_pretty(schema).map_err(|error| Failure::new(Exit::Internal, error))?;
    writeln!(out, "{text}")?;
    Ok(Exit::Passed)
}

fn short(file: &str) -> &str {
    file.trim_end_matches(".schema.json")
}
