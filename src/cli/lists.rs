//! What may be said of a list of executions and of a trace: filters, order, place, and how far the views have to be.

use std::time::Duration;

use clap::{Args, ValueEnum};
use testledger_schemas::event::ExecutionKind;
use testledger_schemas::plan::CaseType;
use testledger_schemas::plan::document::Duration as Span;
use testledger_schemas::{ExecutionStatus, Timestamp};

use crate::cli::exit::Failure;
use crate::views::query::{Cursor, ExecutionFilter, Order};
use crate::views::{traces, words};

const DAY_MS: u64 = 24 * 3_600_000;

/// `executions list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only with this status (may be repeated)
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<String>,
    /// Only cases that are carried out so, or only suites
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    pub kind: Option<TypeArg>,
    /// Only with this tag
    #[arg(long)]
    pub tag: Option<String>,
    /// Only with all of these words, in the names, the tags or the first failure; whole words, whatever their case
    #[arg(long, value_name = "WORDS")]
    pub text: Option<String>,
    /// Only of this suite
    #[arg(long)]
    pub suite: Option<String>,
    /// Only those that tested this revision: the whole commit id
    #[arg(long, value_name = "REV")]
    pub revision: Option<String>,
    /// Only those that this one asked for
    #[arg(long, value_name = "WHO")]
    pub actor: Option<String>,
    /// Only those asked for since then: a time (RFC 3339, such as 2026-11-23T09:12:00Z), or so long ago (7d, 2h)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only those asked for before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// Only those whose attempts took so long together at least (1m30s)
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub min_duration: Option<u64>,
    /// Only those whose attempts took so long together at the most
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub max_duration: Option<u64>,
    /// The cases of suites, too (so it is with --tag, with --text and with a --type of cases)
    #[arg(long)]
    pub all: bool,
    /// In which order: newest, oldest, slowest or fastest
    #[arg(long, value_name = "ORDER", default_value = "newest")]
    pub sort: Order,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    /// Only those after this place, as the end of a list of the same order names it
    #[arg(long, value_name = "PLACE")]
    pub after: Option<Cursor>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// How far views have to be before they are read.
#[derive(Args, Debug)]
pub struct LeastArgs {
    /// Wait until this position is there, and shown
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    pub min_position: u64,
    /// How long to wait for it
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = span)]
    pub wait: u64,
}

impl LeastArgs {
    /// How long to wait.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.wait)
    }
}

/// `trace`.
#[derive(Args, Debug)]
pub struct TraceArgs {
    /// The execution's id, or the beginning of it (8 characters or more)
    pub id: String,
    /// Only what failed, ran out of time or was lost with its worker
    #[arg(long)]
    pub failed: bool,
    /// Begin with the item of this number (from 0), as the end of a trace names it
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub from: u64,
    /// At most so many
    #[arg(long, default_value_t = traces::DEFAULT_ITEMS, value_parser = clap::value_parser!(u64).range(1..=traces::MAX_ITEMS))]
    pub limit: u64,
    /// How far it has to be
    #[command(flatten)]
    pub least: LeastArgs,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// What an execution is a run of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TypeArg {
    /// A suite
    Suite,
    /// A case of commands and HTTP requests
    Generic,
    /// A case in Gherkin
    Bdd,
    /// A case for which a person gives the verdict
    Manual,
}

impl TypeArg {
    fn case_type(self) -> Option<CaseType> {
        match self {
            Self::Suite => None,
            Self::Generic => Some(CaseType::Generic),
            Self::Bdd => Some(CaseType::Bdd),
            Self::Manual => Some(CaseType::Manual),
        }
    }
}

/// A point in time as people say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// This one.
    At(Timestamp),
    /// So many milliseconds ago.
    Ago(u64),
}

impl Moment {
    fn seen_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(ms) => Timestamp::from_unix_ms(now.unix_ms().saturating_sub_unsigned(ms)),
        }
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = text.parse() {
        return Ok(Moment::At(time));
    }
    let ago = span_of_days(text).map(Moment::Ago);
    ago.map_err(|_| "write a time (such as 2026-11-23T09:12:00Z) or how long ago (7d, 2h, 90s)".to_owned())
}

/// A number of days, or a duration as plans have it, in milliseconds.
///
/// # Errors
/// What to write instead.
pub fn span_of_days(text: &str) -> Result<u64, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()?.checked_mul(DAY_MS));
    days.map_or_else(|| span(text), Ok)
}

fn span(text: &str) -> Result<u64, String> {
    text.parse::<Span>().map(|span| span.ms).map_err(|error| error.to_string())
}

/// What the arguments ask for, at this time.
///
/// # Errors
/// [`Failure`] for a status that is none, or a text without words.
pub fn filter(args: &ListArgs, now: Timestamp) -> Result<ExecutionFilter, Failure> {
    let statuses: Result<Vec<ExecutionStatus>, Failure> = args.status.iter().map(|text| status(text)).collect();
    let mut words: Vec<String> = args.text.iter().flat_map(|text| words::in_text(text)).collect();
    if args.text.is_some() && words.is_empty() {
        return Err(Failure::usage("--text: there is no word in it; write letters or digits"));
    }
    // The longest word is on the fewest executions, as a rule: the search walks the first one.
    words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
    let case_type = args.kind.and_then(TypeArg::case_type);
    Ok(ExecutionFilter {
        statuses: statuses?,
        kind: (args.kind == Some(TypeArg::Suite)).then_some(ExecutionKind::Suite),
        case_type,
        tag: args.tag.clone(),
        suite: args.suite.clone(),
        revision: args.revision.clone(),
        actor: args.actor.clone(),
        roots_only: !args.all && args.tag.is_none() && words.is_empty() && case_type.is_none(),
        words,
        since: args.since.map(|moment| moment.seen_from(now)),
        until: args.until.map(|moment| moment.seen_from(now)),
        min_duration_ms: args.min_duration,
        max_duration_ms: args.max_duration,
        order: args.sort,
        limit: args.limit as usize,
        after: args.after,
    })
}

fn status(text: &str) -> Result<ExecutionStatus, Failure> {
    let known = ExecutionStatus::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text));
    known.ok_or_else(|| {
        let names: Vec<&str> = ExecutionStatus::ALL.iter().map(|status| status.as_str()).collect();
        Failure::usage(format!("--status {text}: write one of {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Timestamp::from_unix_ms(10 * 24 * 3_600_000);
        let at = |text: &str| moment(text).map(|moment| moment.seen_from(now).unix_ms());
        assert_eq!(at("1970-01-02T00:00:00Z"), Ok(24 * 3_600_000));
        assert_eq!((at("7d"), at("1h30m")), (Ok(3 * 24 * 3_600_000), Ok(10 * 24 * 3_600_000 - 5_400_000)));
        assert!(at("99999999d").unwrap() < 0);
        for text in ["", "yesterday", "-1d", "7", "18446744073709551615d"] {
            assert!(at(text).unwrap_err().contains("7d, 2h"), "{text}");
        }
    }
}
