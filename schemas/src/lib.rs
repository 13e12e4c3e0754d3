//! The vocabulary of testledger and its law: what may be said, how it is written down, and what may follow what.
//!
//! Nothing here is async, does IO, reads a clock or draws a random number: time and new ids come in as
//! arguments. Start with [`event`] (the facts), [`commit`] and [`page`] (how they are kept), and
//! [`status`] (what may follow what).

pub mod canonical;
pub mod command;
pub mod commit;
pub mod erasable;
pub mod event;
pub mod hash;
pub mod ids;
pub mod outcome;
pub mod page;
pub mod plan;
pub mod published;
pub mod status;
mod text_serde;
pub mod time;
pub mod upcast;

pub use commit::{Commit, CommitId, RecordedEvent};
pub use erasable::Erasable;
pub use event::Event;
pub use hash::Hash;
pub use ids::{EventId, ExecutionId, StepKey, StreamId, WorkerId};
pub use outcome::StepOutcome;
pub use page::{Page, PageEntry};
pub use plan::Plan;
pub use status::{ExecutionStatus, StateTransitionError};
pub use time::Timestamp;
