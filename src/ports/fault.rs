//! Where tests may kill an engine, and what they may break in it. Without the feature `faults`, which no release has, nothing
//! here does anything.
//!
//! - A **fault point** is a place between two things that an engine does, at which dying is interesting. A simulation counts
//!   them and lets an engine die there; a process that is started with `TESTLEDGER_FAULT=POINT:N` kills itself when it comes
//!   to the point for the N-th time.
//! - A **planted bug** is a mistake somebody could make. A test plants one after the other, and each must be caught.

use testledger_schemas::WorkerId;

/// A place at which an engine may die.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Point {
    /// The plan is kept, and nothing was asked for yet.
    PlanKept,
    /// A suite is asked for, and not all of its cases.
    SuiteRequested,
    /// An append is about to be sent.
    BeforeAppend,
    /// An append is durable, and nobody knows yet.
    AfterAppend,
    /// A suite was taken, and none of its cases.
    SuiteTaken,
    /// A step is recorded as started, and has not begun.
    StepRecorded,
    /// A step has ended, and that is not recorded.
    StepEnded,
    /// Another attempt of a case is announced, and nobody waits for it yet.
    RetryAnnounced,
    /// Every case has its end, and the suite has no verdict.
    CasesOver,
    /// A case that will not run is about to get its end.
    CaseCancelled,
    /// The claim of a lost engine is ended, and nobody has the execution.
    ClaimEnded,
    /// What an interrupted attempt had come to is read, and nobody has taken it up.
    PastRead,
    /// A lease is about to be renewed.
    LeaseRenewal,
    /// Abandoned executions are about to be looked for.
    Sweep,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::PlanKept,
        Self::SuiteRequested,
        Self::BeforeAppend,
        Self::AfterAppend,
        Self::SuiteTaken,
        Self::StepRecorded,
        Self::StepEnded,
        Self::RetryAnnounced,
        Self::CasesOver,
        Self::CaseCancelled,
        Self::ClaimEnded,
        Self::PastRead,
        Self::LeaseRenewal,
        Self::Sweep,
    ];
}

/// A mistake that tests plant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bug {
    /// An append is told as a fact before it is durable.
    AcknowledgedBeforeDurable,
    /// A commit gets a second place in the order.
    SequencedTwice,
    /// A recovered execution passes although steps are missing.
    PassInvented,
    /// A recovered attempt begins with its first step again.
    FinishedStepsAgain,
    /// A step that was interrupted never gets its end.
    InterruptedWithoutEnd,
    /// A step begins before that is recorded.
    BegunBeforeRecorded,
    /// After a conflict the same is sent again, whatever happened meanwhile.
    ConflictIgnored,
    /// An interrupted case that waits for its next attempt is forgotten.
    RetryForgotten,
    /// An engine that lives is taken for dead.
    LivingTakenForDead,
    /// Processes of an engine whose lease ran out live on.
    LeaseNotEnforced,
    /// An interruption costs an attempt.
    InterruptionCounted,
    /// The decider looks at no claim: neither who speaks, nor which one is ended, nor whether another has it.
    ClaimNotChecked,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::AcknowledgedBeforeDurable,
        Self::SequencedTwice,
        Self::PassInvented,
        Self::FinishedStepsAgain,
        Self::InterruptedWithoutEnd,
        Self::BegunBeforeRecorded,
        Self::ConflictIgnored,
        Self::RetryForgotten,
        Self::LivingTakenForDead,
        Self::LeaseNotEnforced,
        Self::InterruptionCounted,
        Self::ClaimNotChecked,
    ];
}

/// An engine comes to a point. Does not return where it dies there.
#[cfg(not(feature = "faults"))]
pub async fn reached(_: Point, _: Option<WorkerId>) {}

/// Whether a bug is planted.
#[cfg(not(feature = "faults"))]
#[must_use]
pub fn is_planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "faults")]
pub use planted::{Watcher, is_planted, plant, reached, watch};

#[cfg(feature = "faults")]
mod planted {
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use super::{Bug, Point, WorkerId};

    /// Says whether the engine dies there.
    pub type Watcher = Box<dyn Fn(Point, Option<WorkerId>) -> bool>;

    thread_local! {
        static BUG: Cell<Option<Bug>> = const { Cell::new(None) };
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    }

    /// Where this process is to kill itself: the name of a point, and at which time.
    static FATE: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let text = std::env::var("TESTLEDGER_FAULT").ok()?;
        let (point, number) = text.split_once(':')?;
        Some((point.to_owned(), number.parse().ok()?))
    });
    static SEEN: LazyLock<Mutex<HashMap<Point, u64>>> = LazyLock::new(Mutex::default);

    /// Plants a bug in everything that this thread does; none takes it away.
    pub fn plant(bug: Option<Bug>) {
        BUG.set(bug);
    }

    /// Whether a bug is planted in this thread.
    #[must_use]
    pub fn is_planted(bug: Bug) -> bool {
        BUG.get() == Some(bug)
    }

    /// Asks `watcher` at each point that this thread comes to.
    pub fn watch(watcher: Option<Watcher>) {
        WATCHER.replace(watcher);
    }

    /// An engine comes to a point. Does not return where it dies there.
    pub async fn reached(point: Point, worker: Option<WorkerId>) {
        die_by_own_hand(point);
        let dies = WATCHER.with_borrow(|watcher| watcher.as_ref().is_some_and(|watcher| watcher(point, worker)));
        if dies {
            std::future::pending::<()>().await;
        }
    }

    fn die_by_own_hand(point: Point) {
        let Some((name, number)) = &*FATE else { return };
        if *name != format!("{point:?}") {
            return;
        }
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(point).or_default();
        *count += 1;
        if *count == *number {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        }
    }
}
