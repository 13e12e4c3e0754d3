//! Arguments in, exit code out; everything else is in the library.

use std::process::ExitCode;

use testledger::steps::spawner;

fn main() -> ExitCode {
    // First of all: the spawner must have one thread only, and nothing of an engine.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == spawner::SUBCOMMAND) {
        return spawner::spawner_main();
    }
    testledger::cli::main()
}
