//! Arguments in, exit code out.
//!
//! [`args`] says what can be asked, [`exit`] what is answered; each command has a file of its own. `open` wires the
//! log, the spawner and the engine together: the only place that does.

pub mod args;
mod artifacts;
mod audit;
mod context;
mod events;
mod executions;
pub mod exit;
mod flaky;
mod follow;
mod lists;
mod open;
mod plan;
mod plans;
mod project;
mod projections;
pub mod recover;
mod replay;
pub mod result;
mod run;
mod schema;
mod settings;
mod trace;
mod vault;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use args::{ArtifactsCommand, AuditCommand, Cli, Command, ExecutionsCommand, PlanCommand, ProjectionsCommand};
use context::Context;
use exit::{Exit, Failure};

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Passed };
            let _ = error.print();
            return code.into();
        }
    };
    diagnostics(cli.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(dispatch(cli));
            // What still runs (a reader of the terminal, say) must not hold up the end.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::new(Exit::Internal, format!("no runtime: {error}"))),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                let _ = writeln!(anstream::stderr(), "error: {}", failure.message.trim_end());
            }
            failure.exit.into()
        }
    }
}

fn diagnostics(verbose: u8) {
    let default = ["error", "testledger=info", "testledger=debug"][usize::from(verbose.min(2))];
    let filter = tracing_subscriber::EnvFilter::try_from_env("TESTLEDGER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

async fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Plan(PlanCommand::Check { plans, json }) => plan::check(&Context::here(cli.store)?, &plans, json),
        Command::Schema(args) => schema::print(args.name.as_deref()),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "testledger", &mut std::io::stdout());
            Ok(Exit::Passed)
        }
        Command::Settings => settings::print(&Context::here(cli.store)?),
        Command::Run(args) => run::run(Context::here(cli.store)?, &args).await,
        Command::Recover(args) => recover::recover(Context::here(cli.store)?, &args).await,
        Command::Trace(args) => trace::show(&Context::here(cli.store)?, &args).await,
        Command::Flaky(args) => flaky::flaky(&Context::here(cli.store)?, &args).await,
        Command::Project(args) => project::project(&Context::here(cli.store)?, &args).await,
        Command::Projections(command) => {
            let context = Context::here(cli.store)?;
            match command {
                ProjectionsCommand::Status { json } => projections::status(&context, json).await,
                ProjectionsCommand::Rebuild { name, afresh } => projections::rebuild(&context, name, afresh).await,
                ProjectionsCommand::Pause { name } => projections::pause(&context, name).await,
                ProjectionsCommand::Resume { name } => projections::resume(&context, name).await,
            }
        }
        Command::Replay(args) => replay::replay(&Context::here(cli.store)?, &args).await,
        Command::Events(args) => events::print(&Context::here(cli.store)?, &args).await,
        Command::Executions(command) => {
            let context = Context::here(cli.store)?;
            match command {
                ExecutionsCommand::List { list, least } => executions::list(&context, &list, &least).await,
                ExecutionsCommand::Show { id, least, json } => executions::show(&context, &id, &least, json).await,
                ExecutionsCommand::Cancel { id } => executions::cancel(&context, &id).await,
                ExecutionsCommand::Retry { id, json } => executions::retry(context, &id, json).await,
            }
        }
        Command::Artifacts(ArtifactsCommand::Clean { older_than, dry_run, json }) => {
            let grace = Duration::from_millis(older_than);
            artifacts::clean(&Context::here(cli.store)?, grace, dry_run, json).await
        }
        Command::Audit(command) => {
            let context = Context::here(cli.store)?;
            match command {
                AuditCommand::Verify { expect, views, json } => audit::verify(&context, expect, views, json).await,
                AuditCommand::Export { output } => audit::export(&context, output.as_deref()).await,
                AuditCommand::Erase { execution, events, grounds } => {
                    audit::erase(&context, &execution, &events, grounds).await
                }
            }
        }
    }
}
