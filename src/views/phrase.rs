//! One event in words: one line for people.

use testledger_schemas::Event;
use testledger_schemas::commit::RecordedEvent;
use testledger_schemas::event::{OutcomeTally, StepRun};
use testledger_schemas::ids::WorkerId;

/// The event in words. Text that was erased is said to be.
#[must_use]
pub fn phrase(recorded: &RecordedEvent) -> String {
    let erased = if recorded.is_erased() { " (content erased)" } else { "" };
    match recorded.read() {
        Ok(event) => format!("{:<24} {}{erased}", recorded.type_name, detail(&event)).trim_end().to_owned(),
        Err(error) => format!("{:<24} cannot be read: {error}", recorded.type_name),
    }
}

/// What there is to say besides the event's name. No wildcard arm: a new event must say it here.
fn detail(event: &Event) -> String {
    match event {
        Event::ExecutionRequested(it) => match &it.case {
            Some(case) => format!("{}/{case} {}", it.suite, it.matrix).trim_end().to_owned(),
            None => format!("suite {} of {} cases", it.suite, it.cases),
        },
        Event::ExecutionReady(_) | Event::WorkerStopped(_) => String::new(),
        Event::ExecutionClaimed(it) => format!("by {} (epoch {})", short(it.worker), it.epoch),
        Event::ClaimReleased(it) => constant(&it.reason),
        Event::ExecutionStarted(it) => format!("attempt {}", it.attempt),
        Event::StepStarted(it) => run(&it.run),
        Event::StepFinished(it) => {
            let message = it.content.kept().map(|content| first_line(&content.message)).unwrap_or_default();
            let again = if it.will_retry { ", will retry" } else { "" };
            format!("{} {} in {}{again} {message}", run(&it.run), it.outcome, time(it.duration_ms))
        }
        Event::StepResultsReported(it) => {
            let mut tally = OutcomeTally::new();
            it.results.iter().for_each(|result| *tally.entry(result.outcome).or_default() += 1);
            format!("{} {} (part {} of {})", run(&it.run), outcomes(&tally), it.chunk, it.chunks)
        }
        Event::ServiceStarted(it) => {
            format!("{} ready after {}, pid {}", it.service, time(it.ready_after_ms), it.pid)
        }
        Event::ServiceStopped(it) => format!("{} {}", it.service, constant(&it.end)),
        Event::HookFinished(it) => format!("{} {} in {}", it.hook, it.outcome, time(it.duration_ms)),
        Event::VerdictRequested(it) => run(&it.run),
        Event::VerdictSubmitted(it) => format!("{} {}", run(&it.run), it.outcome),
        Event::ArtifactAttached(it) => format!("{} ({} bytes, {})", it.artifact, it.bytes, it.media_type),
        Event::CancellationRequested(it) => constant(&it.reason),
        Event::ExecutionPassed(it) => format!("attempt {} in {}", it.attempt, time(it.duration_ms)),
        Event::ExecutionFailed(it) => {
            let again = if it.will_retry { ", will retry" } else { "" };
            format!("attempt {} in {}: {}{again}", it.attempt, time(it.duration_ms), constant(&it.reason))
        }
        Event::ExecutionTimedOut(it) => {
            let again = if it.will_retry { ", will retry" } else { "" };
            format!("attempt {} after {}{again}", it.attempt, time(it.duration_ms))
        }
        Event::ExecutionRetryScheduled(it) => format!("attempt {} not before {}", it.attempt, it.not_before),
        Event::ExecutionCancelled(it) => constant(&it.reason),
        Event::ExecutionAborted(it) => constant(&it.reason),
        Event::ExecutionInterrupted(it) => format!("{} (loss {})", constant(&it.reason), it.interruption),
        Event::ExecutionRecovered(it) if it.restarts => "begins anew".to_owned(),
        Event::ExecutionRecovered(it) => format!("goes on at step {}", it.next_step + 1),
        Event::DataErased(it) => format!("content of {} in {}", it.event_id, it.commit),
        Event::WorkerStarted(it) => format!("testledger {}, pid {}", it.version, it.pid),
    }
}

fn short(worker: WorkerId) -> String {
    worker.to_string().chars().take(13).collect()
}

/// A constant of the vocabulary as it is written.
pub(super) fn constant(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn run(run: &StepRun) -> String {
    if run.step_attempt > 1 { format!("{} (try {})", run.step, run.step_attempt) } else { run.step.clone() }
}

/// Outcomes with their counts, in the order in which they are listed to people.
pub(super) fn outcomes(tally: &OutcomeTally) -> String {
    let parts: Vec<String> =
        tally.iter().map(|(outcome, count)| format!("{count} {}", outcome.as_str().to_lowercase())).collect();
    parts.join(", ")
}

/// The first line of a text, without what a terminal would act upon.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(160).collect()
}

/// A duration for people.
pub(super) fn time(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}
