//! A suite: services up, cases side by side in their order, services down, one verdict.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use testledger_schemas::command::{Command, Conclusion};
use testledger_schemas::event::{CancelReason, StatusTally};
use testledger_schemas::{ExecutionId, ExecutionStatus, Plan};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::engine::case::{self, AttemptEnd, Grant};
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::past::Past;
use crate::engine::schedule::Schedule;
use crate::engine::services::Services;
use crate::engine::stop::Stop;
use crate::engine::{Engine, record};
use crate::execution::{Refusal, State};
use crate::ports::clock::ms;
use crate::ports::fault::{self, Bug, Point};

/// How many cancellations of cases wait for their acknowledgement at once.
const CANCELLATIONS_AT_ONCE: usize = 512;
/// How many cases are read at once.
pub(super) const READS_AT_ONCE: usize = 64;

/// Runs a suite to its verdict; goes on with one whose worker was lost.
///
/// # Errors
/// [`ExecutionError`] if the log cannot be read or written, or another worker has the suite.
pub async fn run(
    engine: &Arc<Engine>,
    plan: &Arc<Plan>,
    root: &mut Execution,
    stop: &Stop,
) -> Result<(), ExecutionError> {
    match root.state().status {
        // Cancelled before anybody had it: its cases may still be open.
        Some(ExecutionStatus::Cancelled) => {
            return Cases::new(engine, plan, root, stop).cancel_all(CancelReason::ParentCancelled).await.map(drop);
        }
        Some(_) | None if root.state().is_final() => return Ok(()),
        Some(_) | None => {}
    }
    let stop = &stop.narrower();
    let past = match root.state().status {
        Some(ExecutionStatus::Running) => Some(Past::read(&*engine.journal.log, root.id()).await?),
        Some(_) | None => None,
    };
    let children = match past {
        Some(_) => Some(load_children(engine, plan, root.id()).await?),
        None => None,
    };
    let spent_ms = match (&past, &children) {
        (Some(past), Some(children)) => past.until_heard_ms(children.iter().filter_map(Execution::heard_at).max()),
        _ => 0,
    };
    let began = Instant::now();
    match root.act(&take(engine, plan, root.state(), spent_ms)).await {
        Ok(_) => {}
        Err(ExecutionError::Refused { refusal: Refusal::Final(_), .. }) => {
            return Cases::new(engine, plan, root, stop).cancel_all(CancelReason::ParentCancelled).await.map(drop);
        }
        Err(error) => return Err(error),
    }
    fault::reached(Point::SuiteTaken, engine.journal.worker).await;
    if let Some(reason) = root.state().cancellation {
        stop.fire(reason);
    }
    let since = past.and_then(|past| past.first_started_at);
    let deadline = plan.deadline_ms.map(|deadline| {
        let gone = since.map_or(0, |since| engine.journal.now().since_ms(since));
        fire_at(stop.clone(), Duration::from_millis(deadline.saturating_sub(gone)))
    });
    let ran = run_claimed(engine, plan, root, stop, children).await;
    if let Some(deadline) = deadline {
        deadline.abort();
    }
    let (conclusion, cases) = ran?;
    fault::reached(Point::CasesOver, engine.journal.worker).await;
    give_verdict(root, stop, conclusion, spent_ms.saturating_add(ms(began.elapsed())), cases).await
}

/// The commands that take a suite: from its beginning, or where a lost worker left it.
fn take(engine: &Engine, plan: &Plan, state: &State, spent_ms: u64) -> Vec<Command> {
    let claim = Command::Claim(engine.worker());
    match state.status {
        Some(ExecutionStatus::Running) if state.interrupted => {
            vec![claim, Command::Recover { restart: false, spent_ms }]
        }
        Some(ExecutionStatus::Running) => vec![claim],
        Some(_) | None => {
            let place = record::place(&engine.place, &engine.redactor(plan));
            vec![Command::MakeReady(None), claim, Command::Start(place)]
        }
    }
}

/// Every case's execution as the log has it, in the plan's order.
async fn load_children(
    engine: &Arc<Engine>,
    plan: &Arc<Plan>,
    parent: ExecutionId,
) -> Result<Vec<Execution>, ExecutionError> {
    let children: Vec<Execution> = plan.cases.iter().map(|case| engine.child(parent, case)).collect();
    let loaded = children.into_iter().map(|mut child| async move { child.refresh().await.map(|_| child) });
    stream::iter(loaded).buffered(READS_AT_ONCE).try_collect().await
}

fn fire_at(stop: Stop, after: Duration) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        stop.fire(CancelReason::Deadline);
    })
}

async fn run_claimed(
    engine: &Arc<Engine>,
    plan: &Arc<Plan>,
    root: &mut Execution,
    stop: &Stop,
    children: Option<Vec<Execution>>,
) -> Result<(Conclusion, StatusTally), ExecutionError> {
    let mut cases = Cases::new(engine, plan, root, stop);
    if let Some(children) = children {
        cases.take_up(children).await;
        if cases.are_over() {
            return Ok((Conclusion::Finished, cases.run().await?));
        }
    }
    let (services, all_ready) = Services::start(engine, plan, root, stop).await?;
    let ran =
        if all_ready { wishing(root, stop, cases.run()).await } else { cases.end_all(CancelReason::SetupFailed).await };
    services.stop(engine, root).await?;
    let conclusion = if all_ready || stop.reason().is_some() { Conclusion::Finished } else { Conclusion::SetupFailed };
    Ok((conclusion, ran?))
}

/// Runs the cases; a wish that they stop is recorded when it comes up.
async fn wishing<T>(root: &mut Execution, stop: &Stop, cases: impl Future<Output = T>) -> T {
    let mut cases = std::pin::pin!(cases);
    tokio::select! {
        biased;
        ran = &mut cases => return ran,
        () = stop.token().cancelled() => {}
    }
    let wish: Vec<Command> = stop.wish().into_iter().collect();
    let (told, ran) = tokio::join!(root.act(&wish), cases);
    if let Err(error) = told {
        tracing::debug!(%error, "the wish to stop could not be recorded");
    }
    ran
}

/// The suite's own end: out of time, stopped, or what its cases came to.
async fn give_verdict(
    root: &mut Execution,
    stop: &Stop,
    conclusion: Conclusion,
    duration_ms: u64,
    cases: StatusTally,
) -> Result<(), ExecutionError> {
    let passed = cases.get(&ExecutionStatus::Passed).copied() == Some(cases.values().sum());
    let mut commands = vec![];
    let conclusion = match stop.reason() {
        Some(CancelReason::Deadline) if !passed => Conclusion::TimedOut,
        Some(reason) if !passed => {
            commands.push(Command::RequestCancellation(reason));
            conclusion
        }
        Some(_) | None => conclusion,
    };
    commands.push(Command::Conclude { conclusion, duration_ms, cases });
    match root.act(&commands).await {
        Ok(_) | Err(ExecutionError::Refused { refusal: Refusal::Final(_) | Refusal::StaleClaim, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The cases of a suite on their way.
struct Cases<'a> {
    engine: &'a Arc<Engine>,
    plan: &'a Arc<Plan>,
    parent: ExecutionId,
    /// The suite's claim, under which cases are made ready.
    epoch: Option<u64>,
    /// Fires for the suite's reasons and for fail-fast.
    stop: Stop,
    schedule: Schedule,
    tasks: JoinSet<(usize, Execution, Result<AttemptEnd, ExecutionError>)>,
    /// The cases that wait for their next attempt, with the time it is due.
    waiting: BTreeSet<(Instant, usize)>,
    /// The cases that were interrupted: they go on first, and whatever the suite has come to, they must end.
    interrupted: VecDeque<usize>,
    /// The executions that are known and do not run now.
    idle: BTreeMap<usize, Execution>,
    ended: StatusTally,
    stopping: bool,
    failure: Option<ExecutionError>,
}

impl<'a> Cases<'a> {
    fn new(engine: &'a Arc<Engine>, plan: &'a Arc<Plan>, root: &Execution, stop: &Stop) -> Self {
        Self {
            engine,
            plan,
            parent: root.id(),
            epoch: root.state().claim.map(|claim| claim.epoch),
            stop: stop.child(),
            schedule: Schedule::new(&plan.cases),
            tasks: JoinSet::new(),
            waiting: BTreeSet::new(),
            interrupted: VecDeque::new(),
            idle: BTreeMap::new(),
            ended: StatusTally::new(),
            stopping: false,
            failure: None,
        }
    }

    /// Goes on with cases of which another worker has begun some.
    async fn take_up(&mut self, children: Vec<Execution>) {
        let mut ended = vec![];
        for (case, execution) in children.into_iter().enumerate() {
            let (status, retry_at) = (execution.state().status, execution.state().retry_at);
            if execution.state().is_final() {
                self.schedule.begun(case);
                ended.push((case, execution));
                continue;
            }
            if status == Some(ExecutionStatus::Running) {
                self.schedule.begun(case);
                self.interrupted.push_back(case);
            } else if let Some(due) = retry_at {
                self.schedule.begun(case);
                if fault::is_planted(Bug::RetryForgotten) {
                    continue;
                }
                let wait = case::wait_for(self.engine, &self.plan.cases[case], execution.state(), due);
                self.waiting.insert((Instant::now() + wait, case));
            }
            self.idle.insert(case, execution);
        }
        for (case, execution) in ended {
            self.over(case, &execution).await;
        }
    }

    /// Whether every case has its end.
    fn are_over(&self) -> bool {
        self.ended.values().sum::<u64>() == self.plan.cases.len() as u64
    }

    async fn run(&mut self) -> Result<StatusTally, ExecutionError> {
        let jobs = self.jobs();
        loop {
            self.hand_out(jobs);
            if self.tasks.is_empty() && self.waiting.is_empty() {
                self.stop_all().await;
                if self.interrupted.is_empty() || self.failure.is_some() {
                    break;
                }
                continue;
            }
            let stop = self.stop.token().clone();
            let due = self.next_due();
            tokio::select! {
                biased;
                Some(joined) = self.tasks.join_next() => self.joined(joined).await,
                () = stop.cancelled(), if !self.stopping => self.stop_all().await,
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => self.wake_up(),
            }
        }
        self.engine.requested.clear();
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(self.ended.clone()),
        }
    }

    fn jobs(&self) -> usize {
        let own = self.plan.concurrency.map_or(usize::MAX, |jobs| jobs as usize);
        own.min(self.engine.settings.jobs).max(1)
    }

    fn hand_out(&mut self, jobs: usize) {
        while self.tasks.len() < jobs {
            let next = self.interrupted.pop_front();
            let next = next.or_else(|| if self.stopping { None } else { self.schedule.take_next() });
            let Some(case) = next else { break };
            let idle = self.idle.remove(&case);
            let execution = idle.unwrap_or_else(|| self.engine.requested_child(self.parent, &self.plan.cases[case]));
            self.start(case, execution);
        }
    }

    fn start(&mut self, case: usize, mut execution: Execution) {
        let (engine, plan, stop) = (Arc::clone(self.engine), Arc::clone(self.plan), self.stop.child());
        let grant = Grant { parent_epoch: self.epoch, at: Instant::now() };
        self.tasks.spawn(async move {
            let _watch = engine.watched.watch(execution.id(), stop.clone());
            let ran = case::attempt(&engine, &plan, &plan.cases[case], &mut execution, &stop, grant).await;
            (case, execution, ran)
        });
    }

    /// How long until the next waiting case is due.
    fn next_due(&self) -> Option<Duration> {
        self.waiting.first().map(|(due, _)| due.saturating_duration_since(Instant::now()))
    }

    /// Those whose wait is over may start again, in their order.
    fn wake_up(&mut self) {
        let now = Instant::now();
        while let Some((_, case)) = self.waiting.first().copied().filter(|(due, _)| *due <= now) {
            self.waiting.pop_first();
            self.schedule.make_ready(case);
        }
    }

    async fn joined(
        &mut self,
        joined: Result<(usize, Execution, Result<AttemptEnd, ExecutionError>), tokio::task::JoinError>,
    ) {
        match joined {
            Ok((case, execution, Ok(AttemptEnd::Retry { not_before }))) => {
                fault::reached(Point::RetryAnnounced, self.engine.journal.worker).await;
                let wait = case::wait_for(self.engine, &self.plan.cases[case], execution.state(), not_before);
                self.waiting.insert((Instant::now() + wait, case));
                self.idle.insert(case, execution);
                if self.stopping {
                    self.stop_all().await;
                }
            }
            Ok((case, execution, Ok(AttemptEnd::Over))) if execution.state().is_final() => {
                self.over(case, &execution).await;
            }
            // Only who has lost the suite, or gives up, leaves a case without its end.
            Ok((_, execution, Ok(AttemptEnd::Over))) => {
                let what = format!("execution {} is in other hands", execution.id());
                self.fail(ExecutionError::WorkerLost(what));
            }
            Ok((_, _, Err(error))) => self.fail(error),
            Err(error) => self.fail(ExecutionError::Internal(error.to_string())),
        }
    }

    /// The log is away, or this program has a bug: nothing goes on, and what runs is stopped.
    fn fail(&mut self, error: ExecutionError) {
        self.stop.fire(CancelReason::StoreUnavailable);
        self.stopping = true;
        self.failure.get_or_insert(error);
    }

    async fn over(&mut self, case: usize, execution: &Execution) {
        let status = execution.state().status.unwrap_or(ExecutionStatus::Pending);
        *self.ended.entry(status).or_default() += 1;
        if status == ExecutionStatus::Passed {
            self.schedule.passed(case);
            return;
        }
        let blocked = self.schedule.not_passed(case);
        let reason = self.stop.reason().unwrap_or(CancelReason::DependencyFailed);
        self.cancel(blocked, reason).await;
        if self.plan.fail_fast {
            self.stop.fire(CancelReason::FailFast);
        }
    }

    /// Nothing new starts: what was not handed out and what waits for another attempt ends now.
    async fn stop_all(&mut self) {
        self.stopping = true;
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, case)| case);
        let left = self.schedule.stop().into_iter().chain(waiting).collect();
        let reason = self.stop.reason().unwrap_or(CancelReason::ParentCancelled);
        self.cancel(left, reason).await;
    }

    /// Starts nothing new, and brings what was interrupted to its end. Where nobody has stopped the suite, this is why.
    async fn end_all(&mut self, reason: CancelReason) -> Result<StatusTally, ExecutionError> {
        self.stopping = true;
        if self.stop.reason().is_none() {
            self.stop.fire(reason);
        }
        self.run().await
    }

    async fn cancel_all(&mut self, reason: CancelReason) -> Result<StatusTally, ExecutionError> {
        let all = self.schedule.stop();
        self.cancel(all, reason).await;
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(self.ended.clone()),
        }
    }

    /// Ends cases that do not run: never started ones, and those that wait for another attempt.
    async fn cancel(&mut self, cases: Vec<usize>, reason: CancelReason) {
        if self.failure.is_some() || cases.is_empty() {
            return;
        }
        let child = |case: usize| (case, self.engine.child(self.parent, &self.plan.cases[case]));
        let children: Vec<(usize, Execution)> = cases.into_iter().map(child).collect();
        let worker = self.engine.journal.worker;
        let cancelled = children.into_iter().map(|(case, mut execution)| async move {
            execution.refresh().await?;
            fault::reached(Point::CaseCancelled, worker).await;
            let command = match execution.state().status {
                // It was never asked for: its suite was cancelled before that.
                None => return Ok(None),
                Some(ExecutionStatus::Pending) => Command::CancelUnstarted(reason),
                Some(_) => Command::RequestCancellation(reason),
            };
            execution.act(&[command]).await?;
            Ok::<_, ExecutionError>(Some((case, execution)))
        });
        let cancelled: Result<Vec<_>, _> =
            stream::iter(cancelled).buffer_unordered(CANCELLATIONS_AT_ONCE).try_collect().await;
        match cancelled {
            Ok(cancelled) => {
                for (case, execution) in cancelled.into_iter().flatten() {
                    match execution.state().status {
                        Some(status) if execution.state().is_final() => *self.ended.entry(status).or_default() += 1,
                        // Another engine that has lost the suite had begun it meanwhile: it is brought to its end here.
                        Some(_) | None => {
                            self.interrupted.push_back(case);
                            self.idle.insert(case, execution);
                        }
                    }
                }
            }
            Err(error) => self.fail(error),
        }
    }
}
