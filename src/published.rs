//! All published JSON Schemas: those of the vocabulary, and those of what the commands print with `--json`.

use serde_json::Value;
use testledger_schemas::published::{self, output_schema};

use crate::audit::Cleaned;
use crate::cli::recover::RecoveredLine;
use crate::cli::result::{RunResult, VerifyResult};
use crate::views::events::EventLine;
use crate::views::flaky::{FlakyList, FlakyShow};
use crate::views::projections::ProjectionsStatus;
use crate::views::query::ExecutionPage;
use crate::views::show::ExecutionShow;
use crate::views::traces::TraceShow;

/// Every schema with its file name in `schemas/json/`.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    let mut all = published::all();
    all.extend([
        ("run.schema.json", output_schema::<RunResult>("testledger run")),
        ("recover.schema.json", output_schema::<RecoveredLine>("testledger recover line")),
        ("event-line.schema.json", output_schema::<EventLine>("testledger event line")),
        ("executions-list.schema.json", output_schema::<ExecutionPage>("testledger executions list")),
        ("executions-show.schema.json", output_schema::<ExecutionShow>("testledger executions show")),
        ("trace.schema.json", output_schema::<TraceShow>("testledger trace")),
        ("flaky-list.schema.json", output_schema::<FlakyList>("testledger flaky")),
        ("flaky-show.schema.json", output_schema::<FlakyShow>("testledger flaky show")),
        ("audit-verify.schema.json", output_schema::<VerifyResult>("testledger audit verify")),
        ("artifacts-clean.schema.json", output_schema::<Cleaned>("testledger artifacts clean")),
        ("projections-status.schema.json", output_schema::<ProjectionsStatus>("testledger projections status")),
    ]);
    all
}
