//! The arguments of every command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use testledger_projections::flaky_steps::MAX_WINDOW_DAYS;
use testledger_projections::flaky_steps::rules::{Rule, WINDOW_RULES};
use testledger_schemas::page::Anchor;
use testledger_schemas::plan::Priority;

use crate::cli::exit::EXIT_CODES;
use crate::cli::lists::{LeastArgs, ListArgs, TraceArgs, span_of_days};
use crate::views::projections::Name;
use crate::views::replay::At;

/// Runs tests and keeps every fact in an append-only event log.
#[derive(Parser, Debug)]
#[command(name = "testledger", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// Where the log is: sqlite:PATH (default: sqlite:.testledger/ledger.db) or mongodb://HOST/DATABASE?replicaSet=NAME
    /// (also TESTLEDGER_STORE, which keeps a password off the command line)
    #[arg(long, global = true, value_name = "STORE")]
    pub store: Option<String>,
    /// Write diagnostics of this program itself to standard error (-v, -vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run plans, or any test command: `testledger run plan.yaml`, `testledger run -- pytest -q`
    Run(Box<RunArgs>),
    /// Bring executions to their end whose engine was killed, or is gone
    ///
    /// Finished steps do not run again; a step that had begun is recorded as interrupted and, unless the plan says
    /// `on_interrupt: fail`, runs again. `run` does the same beside its own work. Exit codes: 0, nothing was abandoned, or
    /// everything that was has passed, or was to be cancelled; 100, something did not pass; 75, something could not be recovered here and now.
    Recover(RecoverArgs),
    /// Look at executions, cancel them, run them again
    #[command(subcommand)]
    Executions(ExecutionsCommand),
    /// Show when each step of an execution ran and how it ended; of a suite, each case
    Trace(TraceArgs),
    /// List the steps that cannot be relied on, the worst first
    ///
    /// A step is FLAKY if it passed and failed with the same code, or goes to and fro; BROKEN if it fails nearly always;
    /// HEALTHY otherwise. Listed are those that are FLAKY or BROKEN, and those for which a rule fires over the window
    /// though their state is HEALTHY again.
    Flaky(FlakyArgs),
    /// Fold the log into views as it grows, until interrupted
    ///
    /// Several workers may run: they share the projections, and another one takes over within seconds when one is killed.
    /// Without any, views are brought up to date by whoever asks.
    Project(ProjectArgs),
    /// See how far the views are; rebuild, pause and resume them
    #[command(subcommand)]
    Projections(ProjectionsCommand),
    /// Print the executions as they were at an earlier place of the log
    ///
    /// Folds the log anew in memory, exactly up to that place, and prints what `executions list` (or, with --execution,
    /// `executions show`) would have printed then. Content that was erased since is not there.
    Replay(Box<ReplayArgs>),
    /// Print the events of the log, in order
    Events(EventsArgs),
    /// Check plans without running them
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Print the JSON Schema of plans, events, or `--json` output
    Schema(SchemaArgs),
    /// Prove that the log is whole and unaltered; hand it out; erase what must not stay
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Look after what the events name: kept output, plans, files
    #[command(subcommand)]
    Artifacts(ArtifactsCommand),
    /// List all settings, with their values here and the ways to set them
    Settings,
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What is recovered.
#[derive(Args, Debug, Default)]
pub struct RecoverArgs {
    /// Say what would be recovered, and do nothing (exit code 75 if there is something)
    #[arg(long)]
    pub dry_run: bool,
    /// Wait so long for engines on other machines that may still be alive (such as 90s; the setting `lease` says how long
    /// they count as alive)
    #[arg(long, value_name = "DURATION", value_parser = span_of_days)]
    pub wait: Option<u64>,
    /// Print JSON, one line for each execution
    #[arg(long)]
    pub json: bool,
}

/// Which cases of a plan run.
#[derive(Args, Debug, Default)]
pub struct SelectArgs {
    /// Run only the case with this id, and what it needs (may be repeated)
    #[arg(long = "case", value_name = "ID")]
    pub cases: Vec<String>,
    /// Run only cases with this tag, and what they need (may be repeated: any of them)
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Run only cases of at least this priority, and what they need
    #[arg(long, value_name = "PRIORITY", value_enum)]
    pub priority: Option<PriorityArg>,
}

/// A priority as it is written on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum PriorityArg {
    /// When nothing else waits
    Low,
    /// The default
    Normal,
    /// Before the normal ones
    High,
    /// Before all others
    Critical,
}

impl From<PriorityArg> for Priority {
    fn from(priority: PriorityArg) -> Self {
        match priority {
            PriorityArg::Low => Self::Low,
            PriorityArg::Normal => Self::Normal,
            PriorityArg::High => Self::High,
            PriorityArg::Critical => Self::Critical,
        }
    }
}

/// `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Plans (YAML files)
    #[arg(value_name = "PLAN", required_unless_present = "wrapped")]
    pub plans: Vec<PathBuf>,
    /// A command to run as one execution of one step
    #[arg(last = true, value_name = "CMD", conflicts_with = "plans")]
    pub wrapped: Vec<String>,
    /// What of the plans
    #[command(flatten)]
    pub select: SelectArgs,
    /// How many cases run side by side (default: the number of cores)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub jobs: Option<u32>,
    /// Stop at the first case that fails
    #[arg(long)]
    pub fail_fast: bool,
    /// Try every case again up to so many times, whatever the plan says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: Option<u32>,
    /// Say what would run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Show the output of every step while it runs
    #[arg(long)]
    pub no_capture: bool,
    /// Write a JUnit XML report to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Print the result as JSON on standard output, progress on standard error
    #[arg(long)]
    pub json: bool,
    /// The same key means the same execution: asking twice runs once
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// The tested revision (default: that of the git checkout here)
    #[arg(long, value_name = "REV")]
    pub revision: Option<String>,
    /// Who runs the tests (default: user@host, marked unverified)
    #[arg(long, value_name = "WHO")]
    pub actor: Option<String>,
    /// The value of a parameter of the plan (may be repeated)
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = key_value)]
    pub params: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write NAME=VALUE".to_owned()),
    }
}

/// `executions`.
#[derive(Subcommand, Debug)]
pub enum ExecutionsCommand {
    /// List executions, the newest first
    List {
        /// Which ones
        #[command(flatten)]
        list: Box<ListArgs>,
        /// How far they have to be
        #[command(flatten)]
        least: LeastArgs,
    },
    /// Show one execution with its attempts and steps, or the cases of a suite
    Show {
        /// The execution's id, or the beginning of it (8 characters or more)
        id: String,
        /// How far it has to be
        #[command(flatten)]
        least: LeastArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask an execution to stop; whoever runs it acts within a second
    Cancel {
        /// The execution's id, or the beginning of it
        id: String,
    },
    /// Run an execution again, as a new one that is linked to it
    Retry {
        /// The execution's id, or the beginning of it
        id: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// `flaky`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct FlakyArgs {
    /// Look closer
    #[command(subcommand)]
    pub command: Option<FlakyCommand>,
    /// How many days up to today (in UTC), such as 30d; 366d at the most
    #[arg(long, value_name = "DAYS", default_value = DEFAULT_WINDOW, value_parser = days)]
    pub window: u32,
    /// Also steps that have nothing to tell
    #[arg(long)]
    pub all: bool,
    /// Only steps of which this rule has something to tell, by its figure: `flaky show` names all rules
    #[arg(long, value_name = "RULE", value_parser = rule, conflicts_with = "all")]
    pub rule: Option<Rule>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `flaky`, closer.
#[derive(Subcommand, Debug)]
pub enum FlakyCommand {
    /// Show one step: figures, what each rule says, errors, and its latest runs
    Show {
        /// The step: the beginning of its key (8 characters or more), `SUITE/CASE/STEP` or `SUITE/CASE[MATRIX]/STEP`; the
        /// step of a reported test is the name of the test
        step: String,
        /// How many days up to today (in UTC), such as 30d; 366d at the most
        #[arg(long, value_name = "DAYS", default_value = DEFAULT_WINDOW, value_parser = days)]
        window: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// The days of a window, as the projection has them.
const DEFAULT_WINDOW: &str = "30d";

fn rule(text: &str) -> Result<Rule, String> {
    let names = || WINDOW_RULES.iter().map(|rule| rule.name).collect::<Vec<_>>().join(", ");
    let found = WINDOW_RULES.iter().find(|rule| rule.name == text);
    found.copied().ok_or_else(|| format!("no rule is called so: there are {}", names()))
}

fn days(text: &str) -> Result<u32, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    let within = days.filter(|days| (1..=MAX_WINDOW_DAYS).contains(days));
    within.ok_or_else(|| format!("write a number of days from 1d to {MAX_WINDOW_DAYS}d"))
}

/// `project`.
#[derive(Args, Debug)]
pub struct ProjectArgs {
    /// Only this projection: executions, traces or flaky_steps (may be repeated; default: all)
    #[arg(long = "only", value_name = "NAME")]
    pub only: Vec<Name>,
    /// Bring the views up to the end of the log as it is now, and end
    #[arg(long)]
    pub once: bool,
}

/// `projections`.
#[derive(Subcommand, Debug)]
pub enum ProjectionsCommand {
    /// Show how far each projection is, who folds it, and what holds it up
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Fold a projection anew from the first event, beside the views that are read, and then put the new ones in their place
    ///
    /// Readers see the old views or the new ones, never a mix. An attempt that was broken off is gone on with.
    Rebuild {
        /// executions, traces or flaky_steps
        name: Name,
        /// Begin with the first event, also where an attempt was broken off
        #[arg(long)]
        afresh: bool,
    },
    /// Stop folding a projection until it is resumed; its views can be read, and fall behind
    Pause {
        /// executions, traces or flaky_steps
        name: Name,
    },
    /// Fold a projection again
    Resume {
        /// executions, traces or flaky_steps
        name: Name,
    },
}

/// What says which of a list, and in which order.
const OF_A_LIST: [&str; 14] = [
    "status",
    "kind",
    "tag",
    "text",
    "suite",
    "revision",
    "actor",
    "since",
    "until",
    "min_duration",
    "max_duration",
    "all",
    "sort",
    "after",
];

/// `replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// A position: after its event, and before the next one. Or a time (RFC 3339, such as 2026-11-23T09:12:00Z): after the
    /// last position whose commit was recorded at that time or before it, by the clock of the process that wrote it
    #[arg(long, value_name = "POSITION|TIME")]
    pub at: At,
    /// Show this execution: its id, or the beginning of it (8 characters or more)
    #[arg(long, value_name = "ID", conflicts_with_all = OF_A_LIST)]
    pub execution: Option<String>,
    /// What of the list
    #[command(flatten)]
    pub list: ListArgs,
}

/// `events`.
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// Only those of this execution (of a suite: those of its cases, too)
    #[arg(long, value_name = "ID")]
    pub execution: Option<String>,
    /// Only those after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    pub after: u64,
    /// Go on with what is appended from now on
    #[arg(long)]
    pub follow: bool,
    /// As JSON lines
    #[arg(long)]
    pub json: bool,
}

/// `plan`.
#[derive(Subcommand, Debug)]
pub enum PlanCommand {
    /// Read plans and say everything that is wrong with them
    Check {
        /// Plans (YAML files)
        #[arg(required = true)]
        plans: Vec<PathBuf>,
        /// Print the validated plans as JSON
        #[arg(long)]
        json: bool,
    },
}

/// `schema`.
#[derive(Args, Debug)]
pub struct SchemaArgs {
    /// Which one; without it, their names are listed
    pub name: Option<String>,
}

/// `audit`.
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// Check every hash, chain, position and reference of the log
    Verify {
        /// A PAGE:HASH that an earlier run printed: proves that nothing before it was rewritten or cut
        #[arg(long, value_name = "PAGE:HASH")]
        expect: Option<Anchor>,
        /// Fold the log anew in memory, too, and name every stored view that is not what it says
        #[arg(long)]
        views: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the log as JSON lines with all hashes
    Export {
        /// Where to (default: standard output)
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take the content of events away, lawfully: hashes stay, and the erasure is itself an event
    Erase {
        /// The execution's id, or the beginning of it
        #[arg(long, value_name = "ID")]
        execution: String,
        /// Only this event (may be repeated; default: all of the execution)
        #[arg(long = "event", value_name = "EVENT_ID")]
        events: Vec<testledger_schemas::EventId>,
        /// On what grounds
        #[arg(long)]
        grounds: String,
    },
}

/// `artifacts`.
#[derive(Subcommand, Debug)]
pub enum ArtifactsCommand {
    /// Take away the artifacts that no event names: those of runs that were killed before they could say so
    ///
    /// What an event names stays, whatever its age. Nothing is removed while a commit of the log cannot be read.
    Clean {
        /// Only those put so long ago; longer than any run takes from keeping a file to recording it (7d, 36h; 1h at the
        /// least)
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = grace)]
        older_than: u64,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// The shortest grace, in milliseconds.
const MIN_GRACE_MS: u64 = 3_600_000;

fn grace(text: &str) -> Result<u64, String> {
    let ms = span_of_days(text)?;
    if ms >= MIN_GRACE_MS { Ok(ms) } else { Err("write 1h or more".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_window_is_a_number_of_days() {
        use testledger_projections::flaky_steps::WINDOW_DAYS;
        assert_eq!((days(DEFAULT_WINDOW), days("1d"), days("366d")), (Ok(WINDOW_DAYS), Ok(1), Ok(366)));
        for text in ["", "d", "0d", "367d", "30", "-1d", "4h"] {
            assert!(days(text).unwrap_err().contains("1d to 366d"), "{text}");
        }
    }

    #[test]
    fn a_wrapped_command_keeps_its_own_flags() {
        let cli = Cli::try_parse_from(["testledger", "run", "--json", "--", "pytest", "-q", "--json"]).unwrap();
        let Command::Run(run) = cli.command else { panic!("not a run") };
        assert_eq!(run.wrapped, ["pytest", "-q", "--json"]);
        assert!(Cli::try_parse_from(["testledger", "run"]).is_err());
        assert!(Cli::try_parse_from(["testledger", "run", "a.yaml", "--", "b"]).is_err());
    }
}
