//! The decider, by example and by property.

use proptest::prelude::*;
use testledger_schemas::command::{Authority, Command, Conclusion};
use testledger_schemas::event::{CancelReason, Event, ReleaseReason, ServiceStarted, StartContent, StatusTally};
use testledger_schemas::plan::OnInterrupt;
use testledger_schemas::{ExecutionStatus, Hash, StateTransitionError, StepOutcome};

use super::Refusal;
use super::given::{ADA, BOB, Given, case, conclude, given, now, recover, suite};

use StepOutcome::{Failed, Passed, Timeout};

#[test]
fn a_case_passes_when_every_step_has() {
    let running = given().requested(case(2, 1)).running();
    running.clone().step().ends(Passed).when(conclude(Conclusion::Finished)).refused_somehow();
    running.step().ends(Passed).step().ends(Passed).when(conclude(Conclusion::Finished)).then(&["ExecutionPassed"]);
}

#[test]
fn a_failed_step_ends_the_attempt() {
    let failed = given().requested(case(2, 1)).running().step().ends(Failed);
    failed.when(Command::StartStep(Box::new(failed.due_step()))).refused(&Refusal::AttemptOver);
    let events = failed.when(conclude(Conclusion::Finished)).then(&["ExecutionFailed"]);
    assert!(matches!(&events[0], Event::ExecutionFailed(failed) if !failed.will_retry));
}

#[test]
fn a_failure_with_attempts_left_is_tried_again_after_the_wait() {
    let failed = given().requested(case(1, 3)).running().step().ends(Failed);
    let scheduled = ["ExecutionFailed", "ExecutionRetryScheduled", "ClaimReleased"];
    let events = failed.when(conclude(Conclusion::Finished)).then(&scheduled);
    assert!(matches!(&events[1], Event::ExecutionRetryScheduled(retry)
        if retry.attempt == 2 && retry.not_before == now().plus_ms(1000)));
    let second = failed.and(conclude(Conclusion::Finished)).running().step().ends(Timeout);
    let scheduled = ["ExecutionTimedOut", "ExecutionRetryScheduled", "ClaimReleased"];
    let events = second.when(conclude(Conclusion::Finished)).then(&scheduled);
    assert!(matches!(&events[1], Event::ExecutionRetryScheduled(retry)
        if retry.not_before == now().plus_ms(2000)));
    let third = second.and(conclude(Conclusion::Finished)).running().step().ends(Failed);
    third.when(conclude(Conclusion::Finished)).then(&["ExecutionFailed"]);
}

#[test]
fn a_step_is_tried_again_within_its_attempt() {
    let running = given().requested(case(1, 1)).running();
    let mut step = running.due_step();
    step.max_attempts = 2;
    let tried = running.and(Command::StartStep(Box::new(step))).ends(Failed);
    assert!(matches!(tried.events.last(), Some(Event::StepFinished(end)) if end.will_retry));
    let again = tried.step();
    assert_eq!(again.state.open_step.as_ref().map(|open| open.run.step_attempt), Some(2));
    again.ends(Passed).when(conclude(Conclusion::Finished)).then(&["ExecutionPassed"]);
}

#[test]
fn an_attempt_that_runs_out_of_time_ends_so_once_its_step_has() {
    let open = given().requested(case(2, 1)).running().step();
    let run = open.state.open_step.clone().map(|open| open.run).unwrap();
    open.when(conclude(Conclusion::TimedOut)).refused(&Refusal::StepOpen(run));
    open.ends(Timeout).when(conclude(Conclusion::TimedOut)).then(&["ExecutionTimedOut"]);
}

#[test]
fn a_cancellation_stops_what_runs_and_ends_what_waits() {
    let cancel = || Command::RequestCancellation(CancelReason::User);
    let pending = given().requested(case(1, 2));
    pending.when(cancel()).then(&["CancellationRequested", "ExecutionCancelled"]);
    let running = pending.clone().running().step();
    running.when(cancel()).then(&["CancellationRequested"]);
    let cancelling = running.and(cancel());
    cancelling.when(cancel()).then(&[]);
    cancelling.ends(StepOutcome::Cancelled).when(conclude(Conclusion::Cancelled)).then(&["ExecutionCancelled"]);
    let retrying = pending.running().step().ends(Failed).and(conclude(Conclusion::Finished));
    retrying.when(cancel()).then(&["CancellationRequested", "ExecutionAborted"]);
    retrying.and(cancel()).when(Command::Claim(ADA)).refused(&Refusal::Final(ExecutionStatus::Aborted));
}

#[test]
fn a_cancelled_failure_is_not_tried_again() {
    let running = given().requested(case(1, 3)).running().step();
    let cancelling = running.and(Command::RequestCancellation(CancelReason::Signal)).ends(Failed);
    cancelling.when(conclude(Conclusion::Finished)).then(&["ExecutionFailed"]);
}

#[test]
fn nothing_is_cancelled_that_nobody_asked_for() {
    given().requested(case(1, 1)).running().when(conclude(Conclusion::Cancelled)).refused_somehow();
}

#[test]
fn what_never_started_is_cancelled_with_its_reason() {
    let pending = given().and(Command::Request(Box::new(case(1, 1))));
    pending.when(Command::CancelUnstarted(CancelReason::DependencyFailed)).then(&["ExecutionCancelled"]);
    pending
        .and(Command::MakeReady(None))
        .running()
        .when(Command::CancelUnstarted(CancelReason::FailFast))
        .refused_somehow();
}

#[test]
fn exactly_one_worker_has_the_claim_and_a_zombie_is_refused() {
    let claimed = given().requested(case(1, 1)).running().step();
    claimed.when(Command::Claim(BOB)).refused(&Refusal::AlreadyClaimed(ADA));
    let taken_over = claimed.lost().and(Command::Claim(BOB));
    let zombie = Some(Authority { worker: ADA, epoch: 1 });
    assert_eq!(taken_over.ask_as(taken_over.finish(Passed), zombie), Err(Refusal::StaleClaim));
    let liar = Some(Authority { worker: BOB, epoch: 1 });
    assert_eq!(taken_over.ask_as(recover(), liar), Err(Refusal::StaleClaim));
}

#[test]
fn an_interrupted_step_runs_again_and_costs_no_attempt() {
    let open = given().requested(case(1, 1)).running().step();
    open.when(open.interrupt()).then(&["StepFinished", "ExecutionInterrupted"]);
    let recovered = open.lost().and(Command::Claim(BOB)).and(recover()).step();
    assert_eq!(recovered.state.open_step.as_ref().map(|open| open.run.step_attempt), Some(2));
    assert_eq!(recovered.state.step_attempts, 0);
    recovered.ends(Passed).when(conclude(Conclusion::Finished)).then(&["ExecutionPassed"]);
}

#[test]
fn an_interrupted_step_that_must_not_run_again_fails_the_attempt() {
    let running = given().requested(case(2, 1)).running();
    let mut step = running.due_step();
    step.on_interrupt = OnInterrupt::Fail;
    let lost = running.and(Command::StartStep(Box::new(step))).lost();
    let recovered = lost.and(Command::Claim(BOB)).and(recover());
    recovered.when(conclude(Conclusion::Finished)).then(&["ExecutionFailed"]);
}

#[test]
fn what_was_interrupted_is_recovered_before_anything_else() {
    let lost = given().requested(case(2, 1)).running().step().ends(Passed).step().lost().and(Command::Claim(BOB));
    lost.when(Command::StartStep(Box::new(lost.due_step()))).refused(&Refusal::NotRecovered);
    lost.when(conclude(Conclusion::Finished)).refused(&Refusal::NotRecovered);
    let recovered = lost.and(recover());
    assert!(
        matches!(recovered.events.last(), Some(Event::ExecutionRecovered(it)) if it.next_step == 1 && !it.restarts)
    );
    recovered.step().ends(Passed).when(conclude(Conclusion::Finished)).then(&["ExecutionPassed"]);
}

#[test]
fn an_attempt_that_cannot_go_on_is_followed_by_another_and_costs_no_retry() {
    let restart = || Command::Recover { restart: true, spent_ms: 9 };
    let lost = given().requested(case(2, 2)).running().step().ends(Passed).lost();
    let restarted = lost.and(Command::Claim(BOB)).and(restart());
    restarted.when(Command::StartStep(Box::new(restarted.due_step()))).refused(&Refusal::NotRecovered);
    // Whoever comes after a second loss cannot go on in the middle of what was given up.
    let twice = restarted.lost().and(Command::Claim(ADA)).and(recover());
    assert!(matches!(twice.events.last(), Some(Event::ExecutionRecovered(it)) if it.restarts));
    let second = twice.and(Command::Start(StartContent::default()));
    assert_eq!((second.state.attempt, second.state.next_step, second.state.counted_attempts()), (2, 0, 1));
    let failed = second.step().ends(Failed);
    let scheduled = ["ExecutionFailed", "ExecutionRetryScheduled", "ClaimReleased"];
    let events = failed.when(conclude(Conclusion::Finished)).then(&scheduled);
    assert!(matches!(&events[1], Event::ExecutionRetryScheduled(retry)
        if retry.attempt == 3 && retry.not_before == now().plus_ms(1000)));
    let third = failed.and(conclude(Conclusion::Finished)).running().step().ends(Failed);
    third.when(conclude(Conclusion::Finished)).then(&["ExecutionFailed"]);
}

#[test]
fn what_is_to_end_does_not_begin_anew() {
    let restart = || Command::Recover { restart: true, spent_ms: 0 };
    let failed = given().requested(case(2, 1)).running().step().ends(Failed).lost().and(Command::Claim(BOB));
    failed.when(restart()).refused_somehow();
    failed.and(recover()).when(conclude(Conclusion::Finished)).then(&["ExecutionFailed"]);
    let restarting = given().requested(case(2, 1)).running().lost().and(Command::Claim(BOB)).and(restart());
    let cancelled = restarting.and(Command::RequestCancellation(CancelReason::User));
    cancelled.when(Command::Start(StartContent::default())).refused(&Refusal::Cancelling);
    cancelled.when(conclude(Conclusion::Cancelled)).then(&["ExecutionCancelled"]);
}

#[test]
fn only_the_claim_that_is_named_is_lost() {
    let claimed = given().requested(case(1, 1)).running();
    let of_the_first = claimed.interrupt();
    let taken_over = claimed.lost().and(Command::Claim(BOB)).and(recover());
    taken_over.when(of_the_first).refused(&Refusal::StaleClaim);
}

#[test]
fn who_lost_the_suite_makes_nothing_ready_any_more() {
    let ready = given().and(Command::Request(Box::new(case(1, 1)))).and(Command::MakeReady(Some(2)));
    ready.when(Command::MakeReady(Some(1))).refused(&Refusal::StaleClaim);
    ready.when(Command::MakeReady(Some(2))).then(&[]);
    ready.when(Command::MakeReady(Some(3))).then(&["ExecutionReady"]);
}

#[test]
fn services_are_lost_with_their_worker() {
    let up = Command::RecordServiceStarted(ServiceStarted { service: "web".into(), ready_after_ms: 1, pid: 7 });
    let running = given().requested(suite(1)).running().and(up);
    running.when(running.interrupt()).then(&["ServiceStopped", "ExecutionInterrupted"]);
    assert!(running.lost().state.services.is_empty());
}

#[test]
fn too_many_interruptions_are_a_failure_of_the_infrastructure() {
    let twice = given().requested(case(1, 1)).running().lost().and(Command::Claim(BOB)).and(recover()).lost();
    let third = twice.and(Command::Claim(ADA)).and(recover());
    third.when(third.interrupt()).then(&["ExecutionInterrupted", "ExecutionFailed"]);
    // What is only to end is cancelled, as it was asked for.
    let wished = third.and(Command::RequestCancellation(CancelReason::User));
    wished.when(wished.interrupt()).then(&["ExecutionInterrupted"]);
}

#[test]
fn the_same_request_is_the_same_execution_and_another_one_a_conflict() {
    let requested = given().and(Command::Request(Box::new(case(1, 1))));
    requested.when(Command::Request(Box::new(case(1, 1)))).then(&[]);
    let other = testledger_schemas::event::ExecutionRequested { body: Hash::of(b"other"), ..case(1, 1) };
    requested.when(Command::Request(Box::new(other))).refused(&Refusal::RequestConflict);
}

#[test]
fn a_case_is_claimed_only_when_it_is_ready_and_started_only_once() {
    let requested = given().and(Command::Request(Box::new(case(1, 1))));
    requested.when(Command::Claim(ADA)).refused(&Refusal::NotReady);
    let running = requested.and(Command::MakeReady(None)).running();
    running.when(Command::Start(StartContent::default())).refused(&Refusal::StateTransition(StateTransitionError {
        from: ExecutionStatus::Running,
        to: ExecutionStatus::Running,
    }));
}

#[test]
fn a_suite_has_the_verdict_of_its_cases() {
    let running = given().requested(suite(3)).running();
    let finish = |cases: &[(ExecutionStatus, u64)]| Command::Conclude {
        conclusion: Conclusion::Finished,
        duration_ms: 1,
        cases: cases.iter().copied().collect::<StatusTally>(),
    };
    running.when(finish(&[(ExecutionStatus::Passed, 2)])).refused_somehow();
    running.when(finish(&[(ExecutionStatus::Passed, 3)])).then(&["ExecutionPassed"]);
    let mixed = [(ExecutionStatus::Passed, 2), (ExecutionStatus::Cancelled, 1)];
    running.when(finish(&mixed)).then(&["ExecutionFailed"]);
    running
        .clone()
        .and(Command::RequestCancellation(CancelReason::User))
        .when(finish(&mixed))
        .then(&["ExecutionCancelled"]);
    let none = Command::Conclude {
        conclusion: Conclusion::SetupFailed,
        duration_ms: 1,
        cases: [(ExecutionStatus::Cancelled, 3)].into(),
    };
    running.when(none).then(&["ExecutionFailed"]);
}

#[test]
fn a_suite_ends_after_its_last_case_whatever_it_comes_to() {
    let running = given().requested(suite(3)).running().and(Command::RequestCancellation(CancelReason::User));
    for conclusion in [Conclusion::Finished, Conclusion::TimedOut, Conclusion::SetupFailed, Conclusion::Cancelled] {
        running.when(conclude(conclusion.clone())).refused_somehow();
        for open in [ExecutionStatus::Pending, ExecutionStatus::Running, ExecutionStatus::Retrying] {
            let cases = [(ExecutionStatus::Passed, 2), (open, 1)].into();
            running.when(Command::Conclude { conclusion: conclusion.clone(), duration_ms: 1, cases }).refused_somehow();
        }
    }
}

#[test]
fn after_the_end_nothing_follows() {
    let over = given().requested(case(1, 1)).running().step().ends(Passed).and(conclude(Conclusion::Finished));
    let passed = Refusal::Final(ExecutionStatus::Passed);
    over.when(Command::Claim(BOB)).refused(&passed);
    over.when(over.interrupt()).refused(&passed);
    over.when(conclude(Conclusion::Finished)).refused(&passed);
    over.when(Command::RequestCancellation(CancelReason::User)).then(&[]);
}

/// One thing that may happen next, drawn at random; refused or not.
fn anything(given: &Given, draw: u8) -> Command {
    match draw % 16 {
        0 => Command::MakeReady(None),
        1 => Command::Claim(ADA),
        2 => Command::Claim(BOB),
        3 => Command::Start(StartContent::default()),
        4..=6 => Command::StartStep(Box::new(given.due_step())),
        7..=9 => given.finish(Passed),
        10 => given.finish(Failed),
        11 => given.finish(Timeout),
        12 => Command::RequestCancellation(CancelReason::User),
        13 => given.interrupt(),
        14 => Command::Recover { restart: draw > 128, spent_ms: 7 },
        _ if draw > 128 => Command::ReleaseClaim(ReleaseReason::Drain),
        _ => conclude(Conclusion::Finished),
    }
}

/// What a recovery does, as commands: the least that must lead every prefix to an end.
fn finish_by_recovery(mut given: Given) -> Given {
    for _ in 0..40 {
        if given.state.is_final() {
            return given;
        }
        let next = if given.state.claim.is_some_and(|claim| claim.worker == ADA) {
            given.interrupt()
        } else if !given.state.ready {
            Command::MakeReady(None)
        } else if given.state.claim.is_none() {
            Command::Claim(BOB)
        } else if given.state.interrupted {
            recover()
        } else if given.state.restarting && given.state.cancellation.is_some() {
            conclude(Conclusion::Cancelled)
        } else if given.state.status != Some(ExecutionStatus::Running) || given.state.restarting {
            Command::Start(StartContent::default())
        } else if given.state.open_step.is_some() {
            given.finish(if given.state.cancellation.is_some() { StepOutcome::Cancelled } else { Passed })
        } else if given.state.halted.is_some() {
            conclude(Conclusion::Finished)
        } else if given.state.cancellation.is_some() {
            conclude(Conclusion::Cancelled)
        } else if given.state.next_step == 3 {
            conclude(Conclusion::Finished)
        } else {
            Command::StartStep(Box::new(given.due_step()))
        };
        given = given.and(next);
    }
    panic!("no end in sight: {:?}", given.state);
}

proptest! {
    /// Whatever happens in whatever order: the statuses follow the table, every started step has at most one end, an
    /// attempt never passes unless all its steps have, and every prefix can be brought to an end.
    #[test]
    fn every_history_is_lawful_and_can_be_finished(draws in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut given = given().and(Command::Request(Box::new(case(3, 2))));
        for draw in draws {
            let before = given.clone();
            let command = anything(&given, draw);
            let Ok(events) = given.ask(command) else { continue };
            for event in &events {
                let from = given.state.status;
                super::evolve(&mut given.state, event);
                let to = given.state.status;
                if from != to && let (Some(from), Some(to)) = (from, to) {
                    prop_assert!(from.transition(to).is_ok(), "{from} -> {to}");
                }
                if let Event::ExecutionPassed(passed) = event {
                    prop_assert_eq!(passed.steps.get(&Passed).copied(), Some(3));
                }
                if let Event::StepFinished(_) = event {
                    prop_assert!(before.state.open_step.is_some());
                }
            }
            given.events.extend(events);
            finish_by_recovery(given.clone());
        }
    }
}
