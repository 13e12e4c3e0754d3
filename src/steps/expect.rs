//! What was expected and does not hold: one line for each thing, which a person understands at once.
//!
//! Every function takes the [`Redactor`](crate::steps::redact::Redactor): what is shown of a value is redacted before
//! it is shortened, because half a secret is no longer recognised as one.

pub mod json_path;
pub mod number;
mod response;
mod show;
mod text;
mod value;

pub use response::{check_headers, check_json, check_status, header};
pub use text::{check_text, pattern};
pub use value::check_value;

/// Whether it took longer than expected, in one line.
#[must_use]
pub fn check_within(within_ms: Option<u64>, took_ms: u64) -> Option<String> {
    let within_ms = within_ms.filter(|within_ms| took_ms > *within_ms)?;
    Some(format!("it took {took_ms} ms, expected at most {within_ms} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_itself_is_still_within() {
        assert_eq!(check_within(None, u64::MAX), None);
        assert_eq!(check_within(Some(500), 500), None);
        assert_eq!(check_within(Some(500), 501).as_deref(), Some("it took 501 ms, expected at most 500 ms"));
    }
}
