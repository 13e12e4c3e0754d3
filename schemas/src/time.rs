//! Points in time: UTC, RFC 3339, milliseconds. Durations are integer milliseconds and carry `_ms` in their name.

use std::fmt;
use std::str::FromStr;

use crate::ids::InvalidId;
use crate::text_serde::text_serde;

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339, always in UTC with three decimals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

/// The last millisecond that has a date in every time zone within the four-digit years of RFC 3339.
const MAX_MS: i64 = 253_402_207_200_000;
/// The first millisecond of the year 0.
const MIN_MS: i64 = -62_167_219_200_000;

impl Timestamp {
    /// The point that many milliseconds after 1970 (before it, when negative), held within the years 0 to 9999.
    #[must_use]
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(MIN_MS, MAX_MS))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_ms(self) -> i64 {
        self.0
    }

    /// This point, `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self::from_unix_ms(self.0.saturating_add_unsigned(ms))
    }

    /// Milliseconds from `earlier` to this point; 0 if `earlier` is later.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{at:.3}")
    }
}

impl FromStr for Timestamp {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        jiff::Timestamp::from_str(text).map(|at| Self::from_unix_ms(at.as_millisecond())).map_err(|_| InvalidId {
            text: text.to_owned(),
            expected: "a time (RFC 3339, such as 2026-11-23T09:12:00.000Z)",
        })
    }
}

text_serde!(Timestamp, "Timestamp", r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds() {
        assert_eq!(Timestamp::from_unix_ms(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_unix_ms(1_795_425_120_007).to_string(), "2026-11-23T09:12:00.007Z");
        assert_eq!(Timestamp::from_unix_ms(i64::MAX).to_string(), "9999-12-30T22:00:00.000Z");
    }

    #[test]
    fn any_offset_is_read() {
        let time: Timestamp = "2026-11-23T10:12:00.007+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-23T09:12:00.007Z");
    }
}
