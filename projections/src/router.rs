//! Routing: when the ordered prefix of the log is committed to views. At once for what people wait for, by size and by
//! interval for the rest, in full batches under overload. It moves the moment, never the order, and drops nothing. Pure.

use std::collections::{HashMap, VecDeque};
use std::str::FromStr;
use std::time::Duration;

use testledger_schemas::plan::Priority;
use testledger_schemas::{Event, StepOutcome, StreamId};

use crate::projection::Recorded;

/// The priorities of so many executions are remembered; the oldest ones are forgotten, and count as normal.
const REMEMBERED: usize = 16_384;
/// What is raised waits for this part of the interval.
const RAISED_PART: u32 = 4;
/// Between two commits lies at least so many times what the last one took, unless a batch is full.
const BREATH: u32 = 1;

/// How the moment is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strategy {
    /// By what the events say, by priority, by lag and by what the store can take.
    #[default]
    Adaptive,
    /// Every event at once.
    Immediate,
    /// By size and interval alone.
    Batched,
}

impl Strategy {
    /// The name, as settings have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Immediate => "immediate",
            Self::Batched => "batched",
        }
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Adaptive, Self::Immediate, Self::Batched];
        let found = all.into_iter().find(|strategy| strategy.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no strategy: write adaptive, immediate or batched"))
    }
}

/// The settings of routing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Routing {
    /// How the moment is chosen.
    pub strategy: Strategy,
    /// About how many events one commit has at the most.
    pub batch_events: usize,
    /// How long an event of no urgency may wait.
    pub interval: Duration,
    /// A projection that is so many events behind only commits full batches, until it has caught up.
    pub overload_events: u64,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            strategy: Strategy::Adaptive,
            batch_events: 1000,
            interval: Duration::from_millis(250),
            overload_events: 20_000,
        }
    }
}

/// How urgently an event has to be seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// It may wait for company.
    Routine,
    /// Not for long.
    Raised,
    /// Somebody waits for it: a change of state, a failure, an end.
    Critical,
}

/// How urgently this event of an execution of this priority has to be seen.
#[must_use]
pub fn urgency(event: &Event, priority: Priority) -> Urgency {
    let own = match event {
        Event::ExecutionStarted(_)
        | Event::ExecutionPassed(_)
        | Event::ExecutionFailed(_)
        | Event::ExecutionTimedOut(_)
        | Event::ExecutionRetryScheduled(_)
        | Event::ExecutionCancelled(_)
        | Event::ExecutionAborted(_)
        | Event::ExecutionInterrupted(_)
        | Event::ExecutionRecovered(_)
        | Event::VerdictRequested(_)
        | Event::VerdictSubmitted(_)
        | Event::CancellationRequested(_)
        | Event::DataErased(_) => Urgency::Critical,
        Event::StepFinished(step) => match step.outcome {
            StepOutcome::Passed | StepOutcome::Skipped => Urgency::Routine,
            StepOutcome::Failed
            | StepOutcome::Error
            | StepOutcome::Timeout
            | StepOutcome::Cancelled
            | StepOutcome::Interrupted
            | StepOutcome::Blocked => Urgency::Critical,
        },
        Event::ExecutionRequested(_) => Urgency::Raised,
        Event::ExecutionReady(_)
        | Event::ExecutionClaimed(_)
        | Event::ClaimReleased(_)
        | Event::StepStarted(_)
        | Event::StepResultsReported(_)
        | Event::ServiceStarted(_)
        | Event::ServiceStopped(_)
        | Event::HookFinished(_)
        | Event::ArtifactAttached(_)
        | Event::WorkerStarted(_)
        | Event::WorkerStopped(_) => Urgency::Routine,
    };
    match (priority, own) {
        (Priority::Critical, Urgency::Raised | Urgency::Critical) => Urgency::Critical,
        (Priority::Critical | Priority::High, Urgency::Routine) => Urgency::Raised,
        (Priority::Low, Urgency::Critical | Urgency::Raised) => Urgency::Raised,
        (Priority::High | Priority::Normal | Priority::Low, own) => own,
    }
}

/// The priorities of the executions that are under way, as their requests told them.
#[derive(Default)]
pub struct Priorities {
    of: HashMap<StreamId, Priority>,
    order: VecDeque<StreamId>,
}

impl Priorities {
    /// How urgently an event has to be seen; learns from requests.
    pub fn urgency(&mut self, recorded: &Recorded) -> Urgency {
        if let Event::ExecutionRequested(request) = &recorded.event
            && request.priority != Priority::Normal
            && self.of.insert(recorded.stream, request.priority).is_none()
        {
            self.order.push_back(recorded.stream);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.of.remove(&oldest);
            }
        }
        urgency(&recorded.event, self.of.get(&recorded.stream).copied().unwrap_or(Priority::Normal))
    }
}

/// The events that were read and are not committed yet, and how things stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// How many.
    pub events: usize,
    /// How long the first of them has waited here.
    pub waited: Duration,
    /// How urgent the most urgent one is.
    pub urgency: Urgency,
    /// How many events the log has after them.
    pub behind: u64,
    /// How long the last commit took.
    pub last_commit: Duration,
    /// How long ago it ended.
    pub since_commit: Duration,
}

/// Why events were committed when they were.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Route {
    /// Something among them was urgent.
    Immediate,
    /// There were enough of them.
    Size,
    /// They had waited long enough.
    Interval,
    /// The projection is far behind: a full batch.
    Overload,
    /// The worker ends.
    Stop,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Immediate, Self::Size, Self::Interval, Self::Overload, Self::Stop];

    /// The name, as people see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Size => "by size",
            Self::Interval => "by interval",
            Self::Overload => "under overload",
            Self::Stop => "at the end",
        }
    }
}

/// What is to be done with pending events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Commit them now.
    Commit(Route),
    /// Read more first.
    Gather,
    /// Wait so long, or until there are more.
    Wait(Duration),
}

impl Routing {
    /// What is to be done with pending events: at least one.
    #[must_use]
    pub fn decide(&self, pending: &Pending) -> Decision {
        let is_overloaded = pending.behind.saturating_add(pending.events as u64) >= self.overload_events;
        if pending.events >= self.batch_events {
            return Decision::Commit(if is_overloaded { Route::Overload } else { Route::Size });
        }
        if is_overloaded && pending.behind > 0 {
            return Decision::Gather;
        }
        let at_once = match self.strategy {
            Strategy::Immediate => true,
            Strategy::Adaptive => pending.urgency == Urgency::Critical,
            Strategy::Batched => false,
        };
        let breath = pending.last_commit * BREATH;
        if at_once {
            let is_free = self.strategy == Strategy::Immediate || pending.since_commit >= breath;
            return match is_free {
                true => Decision::Commit(Route::Immediate),
                false => Decision::Wait(breath - pending.since_commit),
            };
        }
        let is_raised = self.strategy == Strategy::Adaptive && pending.urgency == Urgency::Raised;
        let interval = if is_raised { self.interval / RAISED_PART } else { self.interval };
        let interval = interval.max(breath);
        match interval.checked_sub(pending.waited).filter(|left| !left.is_zero()) {
            Some(left) => Decision::Wait(left),
            None => Decision::Commit(Route::Interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testledger_schemas::event::{CancelReason, CancellationRequested, ExecutionReady};

    const MS: Duration = Duration::from_millis(1);

    fn pending() -> Pending {
        Pending {
            events: 1,
            waited: Duration::ZERO,
            urgency: Urgency::Routine,
            behind: 0,
            last_commit: MS * 2,
            since_commit: MS * 1000,
        }
    }

    #[test]
    fn what_is_critical_is_committed_at_once() {
        let routing = Routing::default();
        let critical = Pending { urgency: Urgency::Critical, ..pending() };
        assert_eq!(routing.decide(&critical), Decision::Commit(Route::Immediate));
        assert_eq!(routing.decide(&pending()), Decision::Wait(routing.interval));
        let raised = Pending { urgency: Urgency::Raised, ..pending() };
        assert_eq!(routing.decide(&raised), Decision::Wait(routing.interval / RAISED_PART));
    }

    #[test]
    fn the_rest_is_committed_by_size_and_by_interval() {
        let routing = Routing::default();
        let waited = Pending { waited: routing.interval, ..pending() };
        assert_eq!(routing.decide(&waited), Decision::Commit(Route::Interval));
        let full = Pending { events: routing.batch_events, ..pending() };
        assert_eq!(routing.decide(&full), Decision::Commit(Route::Size));
    }

    #[test]
    fn overload_makes_full_batches_whatever_is_urgent() {
        let routing = Routing::default();
        let behind = Pending { urgency: Urgency::Critical, behind: routing.overload_events, ..pending() };
        assert_eq!(routing.decide(&behind), Decision::Gather);
        let full = Pending { events: routing.batch_events, ..behind };
        assert_eq!(routing.decide(&full), Decision::Commit(Route::Overload));
        let last = Pending { behind: 0, ..behind };
        assert_eq!(routing.decide(&last), Decision::Commit(Route::Immediate), "the end of the log is not waited for");
    }

    #[test]
    fn a_slow_store_is_given_time() {
        let routing = Routing::default();
        let slow = Pending { urgency: Urgency::Critical, last_commit: MS * 400, since_commit: MS * 100, ..pending() };
        assert_eq!(routing.decide(&slow), Decision::Wait(MS * 300));
        let routine = Pending { urgency: Urgency::Routine, ..slow };
        assert_eq!(routing.decide(&routine), Decision::Wait(MS * 400), "no sooner than the store can take it");
        let at_once = Routing { strategy: Strategy::Immediate, ..routing };
        assert_eq!(at_once.decide(&routine), Decision::Commit(Route::Immediate));
    }

    #[test]
    fn the_batched_strategy_knows_no_urgency() {
        let routing = Routing { strategy: Strategy::Batched, ..Routing::default() };
        let critical = Pending { urgency: Urgency::Critical, ..pending() };
        assert_eq!(routing.decide(&critical), Decision::Wait(routing.interval));
    }

    #[test]
    fn priority_moves_urgency() {
        let (ready, cancelled) = (
            Event::from(ExecutionReady { parent_epoch: None }),
            Event::from(CancellationRequested { reason: CancelReason::User }),
        );
        let of = |priority| (urgency(&ready, priority), urgency(&cancelled, priority));
        assert_eq!(of(Priority::Normal), (Urgency::Routine, Urgency::Critical));
        assert_eq!(of(Priority::Critical), (Urgency::Raised, Urgency::Critical));
        assert_eq!(of(Priority::High), (Urgency::Raised, Urgency::Critical));
        assert_eq!(of(Priority::Low), (Urgency::Routine, Urgency::Raised));
    }

    #[test]
    fn strategies_are_read_by_name() {
        for strategy in [Strategy::Adaptive, Strategy::Immediate, Strategy::Batched] {
            assert_eq!(strategy.as_str().parse(), Ok(strategy));
        }
        assert!("fast".parse::<Strategy>().unwrap_err().contains("adaptive, immediate or batched"));
    }
}
