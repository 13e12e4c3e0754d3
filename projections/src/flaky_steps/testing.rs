//! Runs of a step for tests.

use testledger_schemas::{ExecutionId, Timestamp};
use uuid::Uuid;

use super::bucket::StepRunRecord;

/// The run of this number, in an execution of its own, at no known revision.
pub fn run(number: u64, passed: bool) -> StepRunRecord {
    let execution_id = ExecutionId(Uuid::from_u128(number.into()));
    StepRunRecord {
        execution_id,
        root_id: execution_id,
        position: number,
        at: Timestamp::from_unix_ms(number as i64),
        revision: None,
        passes: u64::from(passed),
        failures: u64::from(!passed),
        flips: 0,
        began_passed: passed,
        passed,
        error: None,
    }
}

/// A run that failed first and passed then.
pub fn retried(number: u64) -> StepRunRecord {
    StepRunRecord { failures: 1, flips: 1, began_passed: false, ..run(number, true) }
}

/// The run, at this revision.
pub fn at_revision(run: StepRunRecord, revision: &str) -> StepRunRecord {
    StepRunRecord { revision: Some(revision.to_owned()), ..run }
}
