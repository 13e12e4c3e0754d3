//! What must hold after every run, however it ended.

use std::collections::{BTreeMap, BTreeSet};

use testledger::execution::{Claim, State, evolve};
use testledger::views::Views;
use testledger_schemas::event::{CancelReason, Event, StepRun};
use testledger_schemas::ids::StreamId;
use testledger_schemas::plan::{Action, Case, CommandLine, OnInterrupt};
use testledger_schemas::{Commit, ExecutionId, ExecutionStatus, StepOutcome};

use crate::remains::Run;
use crate::world::World;

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

/// Nothing that was there before has changed.
pub fn begins_with(run: &Run, before: &[&Commit]) {
    let now: BTreeMap<_, _> = run.commits.iter().map(|commit| (commit.id, commit.hash)).collect();
    for commit in before {
        assert_eq!(now.get(&commit.id), Some(&commit.hash), "{} is not as it was", commit.id);
    }
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
    let (mut recorded, mut unknown): (BTreeMap<String, u32>, BTreeMap<String, u32>) = Default::default();
    for commits in streams.values() {
        let mut open = String::new();
        for event in commits.iter().flat_map(|commit| &commit.events) {
            match event.read() {
                Ok(Event::StepStarted(step)) => {
                    open.clone_from(&step.content.kept().unwrap().inputs[1]);
                    *recorded.entry(open.clone()).or_default() += 1;
                }
                Ok(Event::StepFinished(step)) if may_not_have_begun(step.outcome) => {
                    *unknown.entry(open.clone()).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    for (mark, known) in &recorded {
        let count = run.begun.get(mark).copied().unwrap_or(0);
        assert!(count <= *known, "{mark} began {count} times, and the log knows of {known}");
        // Of those that were stopped, or whose worker was lost, some never began.
        let stopped = unknown.get(mark).copied().unwrap_or(0);
        assert!(count + stopped >= *known, "{mark} began {count} times of {known}, and {stopped} may not have");
    }
    assert!(run.begun.keys().all(|mark| recorded.contains_key(mark)), "{:?}", run.begun);
}

fn may_not_have_begun(outcome: StepOutcome) -> bool {
    matches!(outcome, StepOutcome::Cancelled | StepOutcome::Interrupted)
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
    if world.is_disturbed() {
        return;
    }
    let mut known: BTreeMap<&str, Option<ExecutionStatus>> = BTreeMap::new();
    for case in &world.plan.cases {
        let id = if world.plan.is_suite { ExecutionId::child_of(run.root, &case.id, "") } else { run.root };
        // A crash before everything was asked for leaves nothing to say.
        let Some(state) = states.get(&id) else { continue };
        let needs: Vec<_> = case.needs.iter().map(|need| known.get(need.as_str()).copied().flatten()).collect();
        let is_calm = world.lives.len() == 1 && world.is_without_faults();
        let expected = if !(is_calm || is_foretold(world, case, state)) || needs.contains(&None) {
            None
        } else if needs.iter().all(|need| *need == Some(ExecutionStatus::Passed)) {
            expected(case)
        } else {
            Some(ExecutionStatus::Cancelled)
        };
        if let Some(expected) = expected {
            assert_eq!(state.status, Some(expected), "case {}", case.id);
        }
        known.insert(&case.id, expected);
    }
    let all_known = known.values().all(|status| *status == Some(ExecutionStatus::Passed));
    if world.plan.is_suite && known.values().all(Option::is_some) && known.len() == world.plan.cases.len() {
        let verdict = if all_known { ExecutionStatus::Passed } else { ExecutionStatus::Failed };
        assert_eq!(states[&run.root].status, Some(verdict));
    }
}

/// Whether neither a slow store nor the loss of engines can change what a case comes to. What a step had taken before it was interrupted is charged
/// to nobody, a step that must not run again fails its case, and a new attempt elsewhere runs what had failed once more.
fn is_foretold(world: &World, case: &Case, state: &State) -> bool {
    let may_fail = case.steps.iter().any(|step| step.on_interrupt == OnInterrupt::Fail);
    let is_unmoved = world.is_on_one_machine() || state.restarts == 0;
    case.timeout_ms.is_none() && is_unmoved && !(may_fail && state.interruptions > 0)
}

/// What is closer together than so many milliseconds may come in either order.
const CLOSE_MS: u64 = 10;
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

/// The verdict of a case by its script alone: written anew, without the engine's code. None where two times are so close to
/// each other that either may come first.
fn expected(case: &Case) -> Option<ExecutionStatus> {
    let mut begun = vec![0_u64; case.steps.len()];
    let mut last = ExecutionStatus::Pending;
    for _ in 0..case.retries.max_attempts {
        last = expected_attempt(case, &mut begun)?;
        if last == ExecutionStatus::Passed {
            break;
        }
    }
    Some(last)
}

fn expected_attempt(case: &Case, begun: &mut [u64]) -> Option<ExecutionStatus> {
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
                if wait.abs_diff(left) < CLOSE_MS {
                    return None;
                }
                if wait >= left {
                    return Some(ExecutionStatus::Timeout);
                }
                left -= wait;
            }
            begun[index] += 1;
            let own = step.timeout_ms.unwrap_or(u64::MAX);
            if takes.abs_diff(left) < CLOSE_MS || (takes >= own && own.abs_diff(left) < CLOSE_MS) {
                return None;
            }
            if takes >= left && left <= own {
                return Some(ExecutionStatus::Timeout);
            }
            timed_out = takes >= own;
            left -= takes.min(own);
            passed = !timed_out && exit == 0 && begun[index] > fail_first;
            if passed {
                break;
            }
        }
        if !passed {
            return Some(if timed_out { ExecutionStatus::Timeout } else { ExecutionStatus::Failed });
        }
    }
    Some(ExecutionStatus::Passed)
}

/// Whoever writes under a claim has it: what a worker says after another has taken over never enters the log.
pub fn claims_hold(run: &Run) {
    for (stream, commits) in streams(run) {
        let Some(execution) = stream.execution() else { continue };
        let mut state = State::initial();
        for commit in commits {
            let before = state.claim;
            let mut taken = None;
            for event in &commit.events {
                let event = event.read().unwrap();
                if let Event::ExecutionClaimed(claimed) = &event {
                    taken = Some(Claim { worker: claimed.worker, epoch: claimed.epoch });
                }
                evolve(&mut state, &event);
            }
            let is_of_a_claim = commit.events.iter().any(|event| needs_a_claim(&event.type_name));
            if commit.claim_epoch.is_none() && !is_of_a_claim {
                continue;
            }
            let epoch = commit.claim_epoch;
            let is_held = |claim: Option<Claim>| {
                claim.is_some_and(|it| Some(it.epoch) == epoch && Some(it.worker) == commit.worker)
            };
            assert!(is_held(before) || is_held(taken), "{execution}: {} under a claim that is not held", commit.id);
        }
    }
}

/// What only the holder of the claim says.
fn needs_a_claim(event: &str) -> bool {
    [
        "ExecutionStarted",
        "StepStarted",
        "StepResultsReported",
        "ExecutionPassed",
        "ExecutionTimedOut",
        "ExecutionRecovered",
    ]
    .contains(&event)
}

/// No step has two processes at once, whatever engine began them.
pub fn nothing_runs_twice_at_once(run: &Run) {
    assert!(run.overlaps.is_empty(), "began while the same was alive: {:?}", run.overlaps);
}

/// What the views say is what the log says, and nothing in the history is out of order.
pub fn views_agree(run: &Run) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let views = Views::memory(run.truth.clone());
    runtime.block_on(views.catch_up(None)).unwrap();
    for (execution, state) in final_states(run) {
        let view = runtime.block_on(views.get(execution)).unwrap().unwrap();
        assert_eq!((Some(view.status), view.is_final), (state.status, state.is_final()), "{execution}");
        assert!(view.anomalies.is_empty(), "{execution}: {:?}", view.anomalies);
        assert_eq!(view.interruptions, state.interruptions, "{execution}");
    }
}
