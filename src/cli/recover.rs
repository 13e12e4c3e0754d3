//! `recover`: brings executions to their end whose engine is gone; and the sweeper that does so beside a run.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use testledger_schemas::event::InterruptReason;
use testledger_schemas::{ExecutionId, ExecutionStatus, WorkerId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::args::RecoverArgs;
use crate::cli::context::Context;
use crate::cli::executions::{failure, journal};
use crate::cli::exit::{Exit, Failure};
use crate::cli::open::{Existing, Running};
use crate::engine::Engine;
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::journal::SharedJournal;
use crate::engine::recovery::{Found, OpenWork, Plight, has_open_cases, look_at};
use crate::engine::stop::Stop;
use crate::engine::sweeper::{Listener, News, Sweeper};
use crate::event_store::StoreError;
use crate::views::{Views, open};

/// The wait between two looks at engines that may still be alive.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Open work, as the engine asks for it.
pub struct Work(open::OpenWork);

impl Work {
    /// That of these views.
    #[must_use]
    pub fn of(views: Views) -> Self {
        Self(open::OpenWork::of(views))
    }
}

#[async_trait]
impl OpenWork for Work {
    async fn news(&self) -> Result<BTreeSet<ExecutionId>, StoreError> {
        self.0.news().await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

/// What became of an execution that was found open: a line of `recover --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct RecoveredLine {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Suite and case.
    pub label: String,
    /// The status it was found with.
    pub found: ExecutionStatus,
    /// The engine that had it, or was the last to write; none where none ever did.
    pub worker: Option<WorkerId>,
    /// Why that engine counts as lost; none where it may still be alive.
    pub lost: Option<InterruptReason>,
    /// What was done, or, with `--dry-run`, would be.
    pub action: Action,
    /// Why nothing was done; empty otherwise.
    pub reason: String,
    /// The status it has now.
    pub status: ExecutionStatus,
    /// How often its engine was lost until now.
    pub interruptions: u32,
}

/// What is done about an open execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// It was brought to its end.
    Recovered,
    /// It would be.
    WouldRecover,
    /// It cannot be, here and now.
    Left,
    /// Its engine may still be alive.
    InHands,
}

impl RecoveredLine {
    fn of(found: &Found) -> Self {
        let state = found.execution.state();
        let label = state.request.as_ref().map_or_else(String::new, |request| match &request.case {
            Some(case) if request.matrix.is_empty() => format!("{}/{case}", request.suite),
            Some(case) => format!("{}/{case}[{}]", request.suite, request.matrix),
            None => request.suite.clone(),
        });
        let status = state.status.unwrap_or(ExecutionStatus::Pending);
        let (worker, lost, action) = match found.plight {
            Plight::Abandoned { worker, reason } => (worker, Some(reason), Action::WouldRecover),
            Plight::InHands(worker) => (Some(worker), None, Action::InHands),
            Plight::PartOf(_) | Plight::Over => (None, None, Action::Recovered),
        };
        let (execution_id, interruptions) = (found.execution.id(), state.interruptions);
        Self { execution_id, label, found: status, worker, lost, action, reason: String::new(), status, interruptions }
    }

    fn left(mut self, reason: impl ToString) -> Self {
        self.action = Action::Left;
        self.reason = reason.to_string();
        self
    }

    fn text(&self) -> String {
        let why = match self.lost {
            Some(InterruptReason::WorkerDied) => "its engine is gone",
            Some(InterruptReason::LeaseExpired) => "the lease of its engine ran out",
            None => "its engine may still be alive",
        };
        let what = match self.action {
            Action::Recovered => format!("recovered: {}", self.status),
            Action::WouldRecover => "would be recovered".to_owned(),
            Action::Left => format!("left {}: {}", self.status, self.reason),
            Action::InHands => format!("left {}", self.status),
        };
        format!("{} {} was {}; {why}; {what}", self.execution_id, self.label, self.found)
    }
}

/// Recovers everything that is abandoned.
///
/// # Errors
/// [`Failure`].
pub async fn recover(context: Context, args: &RecoverArgs) -> Result<Exit, Failure> {
    let existing = Existing::open(&context).await?;
    let (found, is_whole) = look(&context, &existing).await?;
    let is_abandoned = |found: &&Found| matches!(found.plight, Plight::Abandoned { .. });
    let waits = args.wait.is_some() && found.iter().any(|found| matches!(found.plight, Plight::InHands(_)));
    if args.dry_run || !(waits || found.iter().any(|found| is_abandoned(&found))) {
        existing.log.close().await;
        let lines: Vec<_> = found.iter().map(RecoveredLine::of).collect();
        lines.iter().try_for_each(|line| print(args.json, line))?;
        if lines.is_empty() && is_whole && !args.json {
            writeln!(std::io::stdout(), "nothing is open")?;
        }
        let is_left = !is_whole || found.iter().any(|found| is_abandoned(&found));
        return Ok(if is_left { Exit::NotNow } else { Exit::Passed });
    }
    drop(found);
    existing.log.close().await;
    drop(existing);
    let running = Running::start(&context).await?;
    let ended = carry_out(&running, args).await;
    running.stop().await;
    ended.map(|exit| if is_whole { exit } else { Exit::NotNow })
}

/// What a look at one execution comes to.
enum Look {
    Open(Box<Found>),
    PartOf(ExecutionId),
    Over,
    /// It cannot be read. That keeps nobody else from being recovered.
    Unreadable(ExecutionError),
}

async fn judged(journal: &SharedJournal, found: Result<Found, ExecutionError>) -> Result<Look, Failure> {
    let looked = match found {
        Ok(found) => is_left(journal, &found).await.map(|is_left| (found, is_left)),
        Err(error) => Err(error),
    };
    match looked {
        Ok((Found { plight: Plight::PartOf(suite), .. }, _)) => Ok(Look::PartOf(suite)),
        Ok((found, true)) => Ok(Look::Open(Box::new(found))),
        Ok((_, false)) => Ok(Look::Over),
        Err(error @ ExecutionError::Store(StoreError::Unavailable(_))) => Err(error.into()),
        Err(error) => Ok(Look::Unreadable(error)),
    }
}

/// Whether anything is left to do: of a suite that was cancelled before anybody had it, its open cases.
async fn is_left(journal: &SharedJournal, found: &Found) -> Result<bool, ExecutionError> {
    match found.plight {
        Plight::Over | Plight::PartOf(_) => Ok(false),
        Plight::Abandoned { .. } | Plight::InHands(_) if !found.execution.state().is_final() => Ok(true),
        Plight::Abandoned { .. } | Plight::InHands(_) => match has_open_cases(journal, &found.execution).await {
            // Nobody can tell any more what its cases were.
            Err(ExecutionError::PlanMissing(_)) => Ok(false),
            told => told,
        },
    }
}

fn tell_unreadable(id: ExecutionId, error: &ExecutionError) -> Result<(), Failure> {
    writeln!(anstream::stderr(), "{id} is left, as it cannot be read: {error}")?;
    Ok(())
}

/// Everything that is open, looked at without an engine; and whether something could not be read.
async fn look(context: &Context, existing: &Existing) -> Result<(Vec<Found>, bool), Failure> {
    let work = open::OpenWork::of(existing.views().await?);
    let (journal, fates) = (journal(context, &existing.log), existing.fates(context));
    let (mut all, mut is_whole) = (vec![], true);
    let mut roots: Vec<ExecutionId> = work.news().await.map_err(failure)?.into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(root) = roots.pop() {
        if !seen.insert(root) {
            continue;
        }
        match judged(&journal, look_at(&journal, &fates, root).await).await? {
            Look::PartOf(suite) => roots.push(suite),
            Look::Open(found) => all.push(*found),
            Look::Over => {}
            Look::Unreadable(error) => {
                tell_unreadable(root, &error)?;
                is_whole = false;
            }
        }
    }
    Ok((all, is_whole))
}

/// What is open and not yet dealt with.
async fn open_now(running: &Running, known: &mut BTreeSet<ExecutionId>) -> Result<Vec<Found>, Failure> {
    for root in running.open_work.news().await? {
        known.insert(root);
    }
    let mut all = vec![];
    let mut roots: Vec<_> = known.iter().copied().filter(|root| !running.engine.has(*root)).collect();
    while let Some(root) = roots.pop() {
        match judged(&running.engine.journal, running.engine.look_at(root).await).await? {
            // Told when it was looked at without an engine.
            Look::Over | Look::Unreadable(_) => drop(known.remove(&root)),
            Look::PartOf(suite) => {
                known.remove(&root);
                if known.insert(suite) {
                    roots.push(suite);
                }
            }
            Look::Open(found) => all.push(*found),
        }
    }
    Ok(all)
}

async fn carry_out(running: &Running, args: &RecoverArgs) -> Result<Exit, Failure> {
    let deadline = Instant::now() + Duration::from_millis(args.wait.unwrap_or(0));
    let mut known = BTreeSet::new();
    let mut tasks: JoinSet<RecoveredLine> = JoinSet::new();
    let mut worst = Exit::Passed;
    let mut failed = None;
    loop {
        let open = match open_now(running, &mut known).await {
            Ok(open) => open,
            Err(error) if Instant::now() < deadline => {
                tracing::warn!(error = error.message, "the look for abandoned executions failed; it is repeated");
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            // What was begun goes on all the same.
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        let mut in_hands = vec![];
        for found in open {
            known.remove(&found.execution.id());
            match found.plight {
                Plight::Abandoned { .. } => {
                    tasks.spawn(recover_one(Arc::clone(&running.engine), found));
                }
                Plight::InHands(_) => in_hands.push(found),
                Plight::PartOf(_) | Plight::Over => {}
            }
        }
        if in_hands.is_empty() || Instant::now() >= deadline {
            for found in &in_hands {
                print(args.json, &RecoveredLine::of(found))?;
            }
            break;
        }
        known.extend(in_hands.iter().map(|found| found.execution.id()));
        tokio::time::sleep(LOOK_EVERY).await;
    }
    while let Some(line) = tasks.join_next().await {
        let line = line.map_err(|error| Failure::new(Exit::Internal, error))?;
        print(args.json, &line)?;
        worst = worse(worst, exit_of(&line));
    }
    failed.map_or(Ok(worst), Err)
}

async fn recover_one(engine: Arc<Engine>, found: Found) -> RecoveredLine {
    let line = RecoveredLine::of(&found);
    let mut execution = found.execution;
    match recovered(&engine, &mut execution).await {
        Ok(None) => {
            let state = execution.state();
            let (status, interruptions) = (state.status.unwrap_or(line.found), state.interruptions);
            let line = RecoveredLine { status, interruptions, action: Action::Recovered, ..line };
            if state.is_final() { line } else { line.left("another engine goes on with it") }
        }
        Ok(Some(obstacle)) => line.left(obstacle),
        Err(error) => line.left(error),
    }
}

async fn recovered(engine: &Arc<Engine>, execution: &mut Execution) -> Result<Option<String>, ExecutionError> {
    let plan = engine.plan_of(execution).await?;
    if let Some(obstacle) = engine.obstacle(execution, &plan) {
        return Ok(Some(obstacle.to_string()));
    }
    engine.recover(execution, &plan, &Stop::default()).await.map(|()| None)
}

fn exit_of(line: &RecoveredLine) -> Exit {
    match (line.action, line.status) {
        (Action::Recovered, ExecutionStatus::Passed | ExecutionStatus::Cancelled | ExecutionStatus::Aborted) => {
            Exit::Passed
        }
        (Action::Recovered, _) => Exit::TestsFailed,
        (Action::Left | Action::WouldRecover | Action::InHands, _) => Exit::NotNow,
    }
}

fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| [Exit::Passed, Exit::TestsFailed].iter().position(|known| *known == exit).unwrap_or(2);
    if rank(other) > rank(one) { other } else { one }
}

fn print(json: bool, line: &RecoveredLine) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string(line).map_err(|error| Failure::new(Exit::Internal, error))?
    } else {
        line.text()
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

/// Starts the sweeper of a run, which tells on standard error what it does. None where it is switched off.
#[must_use]
pub fn beside(running: &Running) -> Option<Sweeper> {
    let every = running.engine.settings.sweep_interval;
    let tell: Listener = Arc::new(|news| {
        let text = match news {
            News::Recovering(id, plan) => format!("recovering {id} ({}), whose engine is gone", plan.suite),
            News::Recovered(id) => format!("recovered {id}"),
            News::Left(id, why) => format!("{id} was interrupted, and is left: {why}"),
        };
        let _ = writeln!(anstream::stderr(), "{text}");
    });
    let start = || Sweeper::start(Arc::clone(&running.engine), Arc::clone(&running.open_work), every, tell);
    (!every.is_zero()).then(start)
}
