//! `settings`: all settings, with their values here.

use std::io::Write;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::settings::SETTINGS;

/// Prints every setting with its value, its environment variable and its meaning.
///
/// # Errors
/// [`Failure`] if the output cannot be written.
pub fn print(context: &Context) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "# A flag wins over the environment, that over testledger.toml (here or in a directory above).")?;
    for setting in SETTINGS {
        writeln!(out, "\n# {}\n# {}", setting.meaning, setting.variable())?;
        let value = setting.show(&context.settings);
        let unset = if value.is_empty() { "# " } else { "" };
        let is_number = value.parse::<u64>().is_ok();
        let value = if is_number { value } else { toml::Value::String(value).to_string() };
        writeln!(out, "{unset}{} = {value}", setting.key)?;
    }
    Ok(Exit::Passed)
}
