//! What must hold after every run, however it ended.

use std::collections::{BTreeMap, BTreeSet};

use testledger::execution::{Asked, State, decide, evolve};
use testledger_schemas::command::{Authority, Command, Conclusion};
use testledger_schemas::event::{CancelReason, Event, InterruptReason, StepRun};
use testledger_schemas::ids::StreamId;
use testledger_schemas::plan::{Action, Case, CommandLine};
use testledger_schemas::{Commit, ExecutionId, ExecutionStatus, StepOutcome, Timestamp, WorkerId};
use uuid::Uuid;

use crate::world::{Ending, Run, World};

/// The log is whole: chained, dense, lawful; what was told stands in it; nothing began that it does not know of.
pub fn whole_log(run: &Run) {
    pages_are_dense_and_chained(run);
    let streams = streams(run);
    for (stream, commits) in &streams {
        stream_is_chained(commits);
        if let Some(execution) = stream.execution() {
            history_is_lawful(execution, commits);
        }
    }
    told_is_recorded(run, &streams);
    nothing_began_unrecorded(run, &streams);
}

fn pages_are_dense_and_chained(run: &Run) {
    let mut seen = BTreeSet::new();
    for (number, page) in run.pages.iter().enumerate() {
        assert_eq!((page.number, page.hash), (number as u64, page.computed_hash()));
        if number > 0 {
            let before = &run.pages[number - 1];
            assert_eq!((page.prev_hash, page.first_position), (before.hash, before.next_position()));
        }
        for entry in &page.entries {
            assert!(seen.insert(entry.commit), "{} is sequenced twice", entry.commit);
            assert_eq!(entry.fault, None);
        }
    }
    let durable: BTreeSet<_> = run.commits.iter().map(|commit| commit.id).collect();
    assert_eq!(seen, durable, "every durable commit is sequenced exactly once, and nothing else is");
}

fn streams(run: &Run) -> BTreeMap<StreamId, Vec<&Commit>> {
    let mut streams: BTreeMap<StreamId, Vec<&Commit>> = BTreeMap::new();
    for commit in &run.commits {
        streams.entry(commit.id.stream).or_default().push(commit);
    }
    streams
}

fn stream_is_chained(commits: &[&Commit]) {
    for (index, commit) in commits.iter().enumerate() {
        assert_eq!(commit.check(), Ok(()));
        assert_eq!(commit.id.number, index as u64 + 1);
        if index > 0 {
            let head = commits[index - 1].head();
            assert_eq!((commit.prev_hash, commit.first_version), (head.hash, head.version + 1));
        }
    }
}

/// Statuses follow the table, a started step has at most one end, none is left open by a verdict, and no step of one
/// attempt runs again after it has passed.
fn history_is_lawful(execution: ExecutionId, commits: &[&Commit]) {
    let mut state = State::initial();
    let (mut started, mut ended): (BTreeSet<StepRun>, BTreeSet<StepRun>) = Default::default();
    for event in commits.iter().flat_map(|commit| &commit.events) {
        let event = event.read().unwrap();
        let before = state.status;
        evolve(&mut state, &event);
        if let (Some(from), Some(to)) = (before, state.status)
            && from != to
        {
            assert!(from.transition(to).is_ok(), "{execution}: {from} -> {to}");
        }
        match &event {
            Event::StepStarted(step) => assert!(started.insert(step.run.clone()), "{execution}: {:?} twice", step.run),
            Event::StepFinished(step) => {
                assert!(started.contains(&step.run), "{execution}: {:?} ended before it began", step.run);
                assert!(ended.insert(step.run.clone()), "{execution}: {:?} ended twice", step.run);
            }
            _ => {}
        }
    }
    if state.is_final() {
        assert_eq!(started, ended, "{execution}: each started step has exactly one end");
    }
}

fn told_is_recorded(run: &Run, streams: &BTreeMap<StreamId, Vec<&Commit>>) {
    for (execution, event) in &run.told {
        let commits = streams.get(&StreamId::from(*execution)).map(Vec::as_slice).unwrap_or_default();
        let recorded =
            commits.iter().flat_map(|commit| &commit.events).any(|recorded| recorded.read().as_ref() == Ok(event));
        assert!(recorded, "{execution}: {event:?} was told and is not in the log");
    }
}

/// Write-ahead: every command that really began has its `StepStarted` in the log; and of those in the log that were not
/// cancelled, every one began.
fn nothing_began_unrecorded(run: &Run, streams: &BTreeMap<StreamId, Vec<&Commit>>) {
    let (mut recorded, mut cancelled): (BTreeMap<String, u32>, BTreeMap<String, u32>) = Default::default();
    for commits in streams.values() {
        let mut open = String::new();
        for event in commits.iter().flat_map(|commit| &commit.events) {
            match event.read() {
                Ok(Event::StepStarted(step)) => {
                    open.clone_from(&step.content.kept().unwrap().inputs[1]);
                    *recorded.entry(open.clone()).or_default() += 1;
                }
                Ok(Event::StepFinished(step)) if step.outcome == StepOutcome::Cancelled => {
                    *cancelled.entry(open.clone()).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    for (mark, known) in &recorded {
        let count = run.begun.get(mark).copied().unwrap_or(0);
        assert!(count <= *known, "{mark} began {count} times, and the log knows of {known}");
        if run.ending == Ending::Finished {
            let stopped = cancelled.get(mark).copied().unwrap_or(0);
            assert!(count + stopped >= *known, "{mark} began {count} times of {known}, and {stopped} were cancelled");
        }
    }
    assert!(run.begun.keys().all(|mark| recorded.contains_key(mark)), "{:?}", run.begun);
}

fn final_states(run: &Run) -> BTreeMap<ExecutionId, State> {
    let mut states = BTreeMap::new();
    for (stream, commits) in streams(run) {
        let Some(execution) = stream.execution() else { continue };
        let mut state = State::initial();
        commits.iter().flat_map(|commit| &commit.events).for_each(|event| evolve(&mut state, &event.read().unwrap()));
        states.insert(execution, state);
    }
    states
}

/// A run that was let to its end has an end for every execution, and, where nobody stopped it, the verdict that the
/// plan's scripts give.
pub fn verdicts(world: &World, run: &Run) {
    let states = final_states(run);
    for (execution, state) in &states {
        assert!(state.is_final(), "{execution} is left {:?}", state.status);
    }
    let disturbed = world.cancel.is_some()
        || world.stop_after.is_some()
        || world.plan.deadline_ms.is_some()
        || world.plan.fail_fast;
    if disturbed {
        return;
    }
    let mut passed = BTreeSet::new();
    for case in &world.plan.cases {
        let id = if world.plan.is_suite { ExecutionId::child_of(run.root, &case.id, "") } else { run.root };
        let expected = if case.needs.iter().all(|need| passed.contains(need.as_str())) {
            expected(case)
        } else {
            ExecutionStatus::Cancelled
        };
        assert_eq!(states[&id].status, Some(expected), "case {}", case.id);
        if expected == ExecutionStatus::Passed {
            passed.insert(case.id.as_str());
        }
    }
    let root = if passed.len() == world.plan.cases.len() { ExecutionStatus::Passed } else { ExecutionStatus::Failed };
    if world.plan.is_suite {
        assert_eq!(states[&run.root].status, Some(root));
    }
}

/// The longest a cancellation by another process may go unnoticed.
const NOTICED_WITHIN_MS: u64 = 1_000;

/// No step begins later than a second after the cancellation of its execution, or of the suite it belongs to, and none
/// is still under way. Returns whether a cancellation met something that was running.
pub fn nothing_begins_after_a_cancellation(run: &Run) -> bool {
    let events = |execution: ExecutionId| {
        let commits = run.commits.iter().filter(move |commit| commit.id.stream.execution() == Some(execution));
        commits.flat_map(|commit| commit.events.iter().map(|event| (commit.recorded_at, event.read().unwrap())))
    };
    let mut met = false;
    for (execution, state) in final_states(run) {
        let parent = state.request.as_ref().and_then(|request| request.parent_id);
        let is_wish =
            |event: &Event| matches!(event, Event::CancellationRequested(wish) if wish.reason == CancelReason::User);
        let wishes = [Some(execution), parent].into_iter().flatten().flat_map(events);
        let Some(wished) = wishes.filter(|(_, event)| is_wish(event)).map(|(at, _)| at).min() else { continue };
        for (at, event) in events(execution).filter(|(at, _)| *at > wished) {
            met |= matches!(event, Event::StepFinished(_));
            let is_step = matches!(event, Event::StepStarted(_) | Event::StepFinished(_));
            let late = at.since_ms(wished);
            assert!(!is_step || late <= NOTICED_WITHIN_MS, "{execution}: {event:?} {late} ms after its cancellation");
        }
    }
    met
}

/// The verdict of a case by its script alone: written anew, without the engine's code.
fn expected(case: &Case) -> ExecutionStatus {
    let mut begun = vec![0_u64; case.steps.len()];
    let mut last = ExecutionStatus::Pending;
    for _ in 0..case.retries.max_attempts {
        last = expected_attempt(case, &mut begun);
        if last == ExecutionStatus::Passed {
            break;
        }
    }
    last
}

fn expected_attempt(case: &Case, begun: &mut [u64]) -> ExecutionStatus {
    let mut left = case.timeout_ms.unwrap_or(u64::MAX);
    for (index, step) in case.steps.iter().enumerate() {
        let Action::Run(run) = &step.action else { panic!("not a command") };
        let CommandLine::Argv(argv) = &run.command else { panic!("not a list") };
        let number = |place: usize| argv[place].parse::<u64>().unwrap();
        let (takes, exit, fail_first) = (number(2), number(3), number(4));
        let mut passed = false;
        let mut timed_out = false;
        for attempt in 1..=step.retries.max_attempts {
            if attempt > 1 {
                let wait = step.retries.wait_before_ms(attempt);
                if wait >= left {
                    return ExecutionStatus::Timeout;
                }
                left -= wait;
            }
            begun[index] += 1;
            let own = step.timeout_ms.unwrap_or(u64::MAX);
            if takes >= left && left <= own {
                return ExecutionStatus::Timeout;
            }
            timed_out = takes >= own;
            left -= takes.min(own);
            passed = !timed_out && exit == 0 && begun[index] > fail_first;
            if passed {
                break;
            }
        }
        if !passed {
            return if timed_out { ExecutionStatus::Timeout } else { ExecutionStatus::Failed };
        }
    }
    ExecutionStatus::Passed
}

/// Every execution that a crash has left unfinished can be brought to a lawful end by commands alone, and the end is
/// never a pass that the steps do not give.
pub fn can_be_finished(run: &Run) {
    for (execution, mut state) in final_states(run) {
        if state.is_suite() || state.is_final() {
            continue;
        }
        for _ in 0..20 {
            if state.is_final() {
                break;
            }
            let command = next_of_recovery(&state);
            step(&mut state, command).unwrap_or_else(|refusal| panic!("{execution}: {refusal}"));
        }
        assert!(state.is_final(), "{execution} cannot be finished: {state:?}");
        assert_ne!(state.status, Some(ExecutionStatus::Passed), "{execution}: recovery invents a pass");
    }
}

const RESCUER: WorkerId = WorkerId(Uuid::from_u128(0xbeef));

/// A recovery that only gives up: it interrupts, claims, and cancels.
fn next_of_recovery(state: &State) -> Command {
    match (&state.claim, state.status) {
        (Some(claim), _) if claim.worker != RESCUER => Command::Interrupt(InterruptReason::WorkerDied),
        (_, Some(ExecutionStatus::Running)) if state.claim.is_none() => Command::Claim(RESCUER),
        (_, Some(ExecutionStatus::Running)) if state.interrupted => Command::Recover,
        (_, Some(ExecutionStatus::Running)) if state.cancellation.is_none() => {
            Command::RequestCancellation(CancelReason::User)
        }
        (_, Some(ExecutionStatus::Running)) => Command::Conclude {
            conclusion: if state.halted.is_some() { Conclusion::Finished } else { Conclusion::Cancelled },
            duration_ms: 0,
            cases: BTreeMap::new(),
        },
        _ => Command::RequestCancellation(CancelReason::User),
    }
}

fn step(state: &mut State, command: Command) -> Result<(), testledger::execution::Refusal> {
    let authority = state.claim.map(|claim| Authority { worker: claim.worker, epoch: claim.epoch });
    let asked = Asked { command, authority, now: Timestamp::default() };
    for event in decide(state, &asked)? {
        evolve(state, &event);
    }
    Ok(())
}
