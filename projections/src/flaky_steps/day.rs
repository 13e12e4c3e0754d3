//! A day, in UTC: what statistics are kept by.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use testledger_schemas::Timestamp;
use testledger_schemas::ids::InvalidId;

const MS: i64 = 86_400_000;
/// How many characters of a time are its date.
const DATE: usize = 10;

/// A day in UTC. Written `2026-11-23`, which sorts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Day(i64);

impl Day {
    /// The day of this time.
    #[must_use]
    pub fn of(time: Timestamp) -> Self {
        Self(time.unix_ms().div_euclid(MS))
    }

    /// The day so many days before this one.
    #[must_use]
    pub fn before(self, days: u32) -> Self {
        Self::of(Timestamp::from_unix_ms(self.0.saturating_sub(i64::from(days)).saturating_mul(MS)))
    }

    /// The day so many days after this one.
    #[must_use]
    pub fn after(self, days: u32) -> Self {
        Self::of(Timestamp::from_unix_ms(self.0.saturating_add(i64::from(days)).saturating_mul(MS)))
    }

    /// The days from `self` to `last`, both included, in order; none if `last` is earlier.
    pub fn to(self, last: Self) -> impl Iterator<Item = Self> {
        (self.0..=last.0).map(Self)
    }
}

/// Days from the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Days {
    /// The first day.
    pub first: Day,
    /// The last day.
    pub last: Day,
}

impl Days {
    /// So many days, at least one, of which `last` is the last.
    #[must_use]
    pub fn up_to(last: Day, count: u32) -> Self {
        Self { first: last.before(count.max(1) - 1), last }
    }

    /// All of them, in order.
    pub fn each(self) -> impl Iterator<Item = Day> {
        self.first.to(self.last)
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(&self, day: Day) -> bool {
        (self.first..=self.last).contains(&day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Timestamp::from_unix_ms(self.0.saturating_mul(MS)).to_string();
        f.write_str(text.get(..DATE).unwrap_or(&text))
    }
}

impl FromStr for Day {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId { text: text.to_owned(), expected: "a day (such as 2026-11-23)" };
        let day = format!("{text}T00:00:00Z").parse().map(Self::of).map_err(|_| invalid())?;
        if day.to_string() == text { Ok(day) } else { Err(invalid()) }
    }
}

impl TryFrom<String> for Day {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> String {
        Day::of(Timestamp::from_unix_ms(ms)).to_string()
    }

    #[test]
    fn a_day_ends_at_midnight_in_utc() {
        assert_eq!((at(0), at(-1), at(MS - 1)), ("1970-01-01".into(), "1969-12-31".into(), "1970-01-01".into()));
        assert_eq!(at(1_795_425_120_007), "2026-11-23");
        assert_eq!((at(i64::MIN), at(i64::MAX)), ("0000-01-01".into(), "9999-12-30".into()));
    }

    #[test]
    fn a_day_is_counted_from_and_read_back() {
        let day: Day = "2026-03-01".parse().unwrap();
        assert_eq!(day.before(1).to_string(), "2026-02-28");
        assert_eq!(day.before(29).to_string(), "2026-01-31");
        assert_eq!(day.before(1).to(day).map(|day| day.to_string()).collect::<Vec<_>>(), ["2026-02-28", "2026-03-01"]);
        assert_eq!((day.to(day.before(1)).count(), day.after(2).before(2)), (0, day));
        assert_eq!(serde_json::from_str::<Day>(&serde_json::to_string(&day).unwrap()).unwrap(), day);
        for text in ["", "2026-3-1", "2026-02-30", "2026-03-01T00:00:00Z", "x"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }
}
