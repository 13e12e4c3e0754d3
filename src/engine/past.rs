//! What the log tells of an attempt that was interrupted: where it ran, how long, and what its steps captured.

use std::collections::BTreeMap;

use serde_json::Value;
use testledger_schemas::commit::Commit;
use testledger_schemas::event::StepFinished;
use testledger_schemas::{Event, ExecutionId, Timestamp};

use crate::engine::error::ExecutionError;
use crate::event_store::EventLog;

/// How many commits of a stream are read at once.
const COMMITS_AT_ONCE: usize = 1_000;

/// What an attempt has come to until its worker was lost.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Past {
    /// The host it ran on; none once that was erased.
    pub host: Option<String>,
    /// When the first attempt began.
    pub first_started_at: Option<Timestamp>,
    /// The running time of the attempt, lives that ended in earlier interruptions included.
    pub spent_ms: u64,
    /// When the last step that is to be tried again had ended; none where none is.
    pub failed_at: Option<Timestamp>,
    /// What steps captured, by name.
    pub captures: BTreeMap<String, Value>,
    /// Secret captures, sealed.
    pub sealed: BTreeMap<String, String>,
    /// Secret captures of all attempts, sealed: with the name of each.
    pub ever_sealed: Vec<(String, String)>,
    /// Since when the present life of the attempt has run.
    alive_since: Option<Timestamp>,
    /// When it was heard of last.
    heard_at: Option<Timestamp>,
}

impl Past {
    /// Reads the stream of an execution.
    ///
    /// # Errors
    /// [`ExecutionError`] if the log cannot be read.
    pub async fn read(log: &dyn EventLog, id: ExecutionId) -> Result<Self, ExecutionError> {
        let mut past = Self::default();
        let mut after = 0;
        loop {
            let commits = log.read_stream(id.into(), after, COMMITS_AT_ONCE).await?;
            for commit in &commits {
                past.fold(commit).map_err(|source| ExecutionError::Unreadable { execution: id, source })?;
                after = commit.id.number;
            }
            if commits.len() < COMMITS_AT_ONCE {
                return Ok(past);
            }
        }
    }

    fn fold(&mut self, commit: &Commit) -> Result<(), testledger_schemas::upcast::UnreadableEvent> {
        let at = commit.recorded_at;
        for recorded in &commit.events {
            self.apply(&recorded.read()?, at);
        }
        Ok(())
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::ExecutionStarted(started) => {
                let first_started_at = self.first_started_at.or(Some(at));
                let host = started.content.kept().map(|place| place.host.clone());
                let ever_sealed = std::mem::take(&mut self.ever_sealed);
                let (alive_since, heard_at) = (Some(at), Some(at));
                *self = Self { host, first_started_at, ever_sealed, alive_since, heard_at, ..Self::default() };
            }
            Event::ExecutionRecovered(recovered) => {
                self.spent_ms = recovered.spent_ms;
                self.alive_since = Some(at);
                self.heard_at = Some(at);
            }
            Event::StepFinished(finished) => self.step_finished(finished, at),
            Event::StepStarted(_) => {
                self.failed_at = None;
                self.heard_at = Some(at);
            }
            Event::StepResultsReported(_) | Event::ServiceStarted(_) => self.heard_at = Some(at),
            Event::ServiceStopped(_)
            | Event::ExecutionRequested(_)
            | Event::ExecutionReady(_)
            | Event::ExecutionClaimed(_)
            | Event::ClaimReleased(_)
            | Event::HookFinished(_)
            | Event::VerdictRequested(_)
            | Event::VerdictSubmitted(_)
            | Event::ArtifactAttached(_)
            | Event::CancellationRequested(_)
            | Event::ExecutionPassed(_)
            | Event::ExecutionFailed(_)
            | Event::ExecutionTimedOut(_)
            | Event::ExecutionRetryScheduled(_)
            | Event::ExecutionCancelled(_)
            | Event::ExecutionAborted(_)
            // Said by somebody else, after a time in which nobody ran.
            | Event::ExecutionInterrupted(_)
            | Event::DataErased(_)
            | Event::WorkerStarted(_)
            | Event::WorkerStopped(_) => {}
        }
    }

    fn step_finished(&mut self, finished: &StepFinished, at: Timestamp) {
        use testledger_schemas::StepOutcome::{Interrupted, Passed};
        if finished.outcome == Interrupted {
            return;
        }
        self.heard_at = Some(at);
        self.failed_at = finished.will_retry.then_some(at);
        if finished.outcome != Passed {
            return;
        }
        // What was erased, or cannot be read, is missed by whoever needs it.
        let Some(content) = finished.content.kept() else { return };
        let values = content.captures.iter().filter_map(|(name, text)| Some((name, serde_json::from_str(text).ok()?)));
        // The last step that captures a name has it.
        for (name, value) in values {
            self.sealed.remove(name);
            self.captures.insert(name.clone(), value);
        }
        for (name, sealed) in &content.sealed_captures {
            self.captures.remove(name);
            self.sealed.insert(name.clone(), sealed.clone());
            self.ever_sealed.push((name.clone(), sealed.clone()));
        }
    }

    /// The running time of the attempt until it was heard of last, here or, of a suite, of one of its cases.
    #[must_use]
    pub fn until_heard_ms(&self, of_cases: Option<Timestamp>) -> u64 {
        let Some(since) = self.alive_since else { return self.spent_ms };
        let heard = self.heard_at.max(of_cases).map_or(0, |heard| heard.since_ms(since));
        self.spent_ms.saturating_add(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testledger_schemas::event::{
        ExecutionInterrupted, ExecutionRecovered, ExecutionStarted, InterruptReason, StartContent, StepOutputs, StepRun,
    };
    use testledger_schemas::{Erasable, StepOutcome};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn started(attempt: u32) -> Event {
        let content = StartContent { host: "here".to_owned(), ..StartContent::default() };
        ExecutionStarted { attempt, content: content.into() }.into()
    }

    fn finished(outcome: StepOutcome, content: Erasable<StepOutputs>) -> Event {
        let run = StepRun { attempt: 1, step: "s".to_owned(), step_attempt: 1 };
        StepFinished { content, ..StepFinished::bare(run, outcome) }.into()
    }

    fn capturing(name: &str, value: &str) -> Erasable<StepOutputs> {
        let captures = [(name.to_owned(), value.to_owned())].into();
        StepOutputs { captures, ..StepOutputs::default() }.into()
    }

    fn interrupted() -> Event {
        ExecutionInterrupted { reason: InterruptReason::WorkerDied, interruption: 1, epoch: 1 }.into()
    }

    #[test]
    fn down_time_is_not_charged() {
        let mut past = Past::default();
        past.apply(&started(1), at(1_000));
        past.apply(&finished(StepOutcome::Passed, capturing("token", "\"t\"")), at(1_300));
        past.apply(&finished(StepOutcome::Interrupted, Erasable::default()), at(90_000));
        past.apply(&interrupted(), at(90_000));
        assert_eq!((past.until_heard_ms(None), past.first_started_at), (300, Some(at(1_000))));
        let recovered = ExecutionRecovered { next_step: 1, restarts: false, spent_ms: 300 };
        past.apply(&recovered.into(), at(91_000));
        past.apply(&finished(StepOutcome::Passed, capturing("n", "7")), at(91_050));
        past.apply(&interrupted(), at(99_000));
        assert_eq!(past.until_heard_ms(None), 350);
        assert_eq!(past.until_heard_ms(Some(at(91_500))), 800);
        assert_eq!(past.captures, [("token".to_owned(), "t".into()), ("n".to_owned(), 7.into())].into());
    }

    #[test]
    fn the_last_capture_of_a_name_counts_plain_or_secret() {
        let sealing = |name: &str, sealed: &str| {
            let sealed_captures = [(name.to_owned(), sealed.to_owned())].into();
            StepOutputs { sealed_captures, ..StepOutputs::default() }.into()
        };
        let mut past = Past::default();
        past.apply(&started(1), at(0));
        past.apply(&finished(StepOutcome::Passed, capturing("token", "1")), at(1));
        past.apply(&finished(StepOutcome::Passed, sealing("token", "x")), at(2));
        assert_eq!((past.captures.len(), past.sealed.len()), (0, 1));
        past.apply(&finished(StepOutcome::Passed, capturing("token", "2")), at(3));
        assert_eq!((past.captures.len(), past.sealed.len()), (1, 0));
        past.apply(&started(2), at(4));
        assert_eq!(past.ever_sealed, [("token".to_owned(), "x".to_owned())], "what was secret stays so");
    }

    #[test]
    fn another_attempt_begins_with_nothing_but_the_first_start() {
        let mut past = Past::default();
        past.apply(&started(1), at(1_000));
        past.apply(&finished(StepOutcome::Passed, capturing("token", "\"t\"")), at(1_300));
        past.apply(&started(2), at(5_000));
        assert_eq!((past.until_heard_ms(None), past.captures.len(), past.first_started_at), (0, 0, Some(at(1_000))));
        assert_eq!(past.host.as_deref(), Some("here"));
    }
}
