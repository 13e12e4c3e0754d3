//! All published JSON Schemas: those of the vocabulary, and those of what the commands print with `--json`.

use serde_json::Value;

/// Every schema with its file name in `schemas/json/`.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    let of_output: [(&str, schemars::Schema); 5] = [
        ("run.schema.json", schemars::schema_for!(crate::cli::result::RunResult)),
        ("event-line.schema.json", schemars::schema_for!(crate::views::events::EventLine)),
        ("executions-list.schema.json", schemars::schema_for!(crate::views::query::ExecutionPage)),
        ("executions-show.schema.json", schemars::schema_for!(crate::views::show::ExecutionShow)),
        ("audit-verify.schema.json", schemars::schema_for!(crate::audit::AuditReport)),
    ];
    let mut all = testledger_schemas::published::all();
    all.extend(of_output.map(|(file, schema)| (file, schema.to_value())));
    all
}
