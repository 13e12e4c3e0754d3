//! Live updates within this process: what was acknowledged, and the provisional output of what runs.
//!
//! Whoever listens may fall behind and lose updates; the log has everything.

use std::sync::Arc;

use testledger_schemas::{Event, ExecutionId, Timestamp};
use tokio::sync::broadcast;

use crate::steps::context::LiveOutput;

/// How many updates wait for the slowest listener before it loses the oldest.
const CAPACITY: usize = 8_192;

/// One update.
#[derive(Clone, Debug)]
pub enum Update {
    /// Facts, after the log has acknowledged them.
    Acknowledged(Acknowledged),
    /// Output of a step or service that runs: redacted, provisional, not a fact.
    Output(LiveOutput),
    /// Whoever follows a run has seen all of it.
    Closed,
}

/// Facts that the log has acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Whose.
    pub execution: ExecutionId,
    /// When they were recorded.
    pub recorded_at: Timestamp,
    /// The facts, in order.
    pub events: Arc<Vec<Event>>,
}

/// The bus of one process. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    sender: broadcast::Sender<Update>,
}

impl Default for Bus {
    fn default() -> Self {
        Self { sender: broadcast::channel(CAPACITY).0 }
    }
}

impl Bus {
    /// Tells everybody who listens.
    pub fn publish(&self, update: Update) {
        // An error only says that nobody listens.
        let _ = self.sender.send(update);
    }

    /// All updates from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Update> {
        self.sender.subscribe()
    }
}
