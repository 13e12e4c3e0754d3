//! Asked for, ready, claimed, started: how an execution gets on its way.

use std::collections::BTreeMap;

use super::constants::{ExecutionKind, ReleaseReason};
use super::declare::vocabulary;
use crate::erasable::Erasable;
use crate::hash::Hash;
use crate::ids::{ExecutionId, WorkerId};
use crate::plan::{CaseType, Priority};

vocabulary! {
    /// The version of the tested code.
    pub struct Revision {
        /// The commit of the tested working tree.
        pub commit: String,
        /// Whether the working tree had changes of its own.
        pub dirty: bool,
    }

    /// What bounds an execution.
    pub struct Limits {
        /// How many attempts there are at the most; 1 is no retry.
        pub max_attempts: u32,
        /// The wait before the second attempt.
        pub backoff_ms: u64,
        /// How much longer each further wait is than the one before it.
        pub backoff_factor: u32,
        /// The running time an attempt may take; none is no bound.
        pub timeout_ms: Option<u64>,
        /// After how many losses of its worker the execution fails.
        pub max_interruptions: u32,
    }

    /// Somebody asked for an execution. The first event of every execution.
    pub struct ExecutionRequested {
        /// What this is a run of.
        pub kind: ExecutionKind,
        /// The plan: an artifact, durable before this event.
        pub plan: Hash,
        /// The suite's id.
        pub suite: String,
        /// The case's id; none for a suite.
        pub case: Option<String>,
        /// The cell of the case's matrix, as `key=value` pairs joined by commas; empty where there is no matrix.
        pub matrix: String,
        /// How the case is carried out; none for a suite.
        pub case_type: Option<CaseType>,
        /// The suite execution this belongs to.
        pub parent_id: Option<ExecutionId>,
        /// The tags of the case.
        pub tags: Vec<String>,
        /// How urgent it is.
        pub priority: Priority,
        /// How many steps the case has; 0 for a suite.
        pub steps: u32,
        /// How many cases the suite has: the children's ids follow from the plan (UUIDv5 of this execution, case and matrix).
        pub cases: u32,
        /// What bounds it.
        pub limits: Limits,
        /// The tested revision, where it is known.
        pub revision: Option<Revision>,
        /// The caller's key: the same key means the same execution.
        pub idempotency_key: Option<String>,
        /// The hash of what was asked for: the same key with another body is a conflict.
        pub body: Hash,
        /// The execution that this one repeats by hand.
        pub retry_of: Option<ExecutionId>,
        /// Names and parameters.
        pub content: Erasable<RequestContent>,
    }

    /// Names and parameters of a request.
    #[derive(Default)]
    pub struct RequestContent {
        /// The name shown to people.
        pub name: String,
        /// The file the plan came from, or the wrapped command.
        pub source: String,
        /// The parameters of the run.
        pub params: BTreeMap<String, String>,
    }

    /// It may be claimed: what it needs is there.
    pub struct ExecutionReady {
        /// The claim of its suite under which it may be; none for what belongs to no suite. Who lost the suite to a later
        /// claim can make nothing ready any more.
        pub parent_epoch: Option<u64>,
    }

    /// A worker took it. Every later event of that worker carries this epoch.
    pub struct ExecutionClaimed {
        /// The worker.
        pub worker: WorkerId,
        /// 1 for the first claim of this execution, one more for each further one.
        pub epoch: u64,
    }

    /// Its worker gave it back.
    pub struct ClaimReleased {
        /// Why.
        pub reason: ReleaseReason,
    }

    /// An attempt began.
    pub struct ExecutionStarted {
        /// 1 for the first attempt.
        pub attempt: u32,
        /// What repeating the test needs to know.
        pub content: Erasable<StartContent>,
    }

    /// What repeating the test needs to know of the place where it ran.
    #[derive(Default)]
    pub struct StartContent {
        /// The host's name.
        pub host: String,
        /// Operating system and processor.
        pub platform: String,
        /// The version of this program.
        pub version: String,
        /// The working directory.
        pub directory: String,
        /// The allow-listed part of the environment.
        pub environment: BTreeMap<String, String>,
    }
}
