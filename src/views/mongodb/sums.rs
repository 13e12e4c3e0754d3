//! The sums of windows, counted by the server in one aggregation over the buckets of all steps: as the fold counts them.

use std::collections::BTreeSet;

use bson::raw::RawDocument;
use bson::{Bson, Document, doc};
use testledger_projections::flaky_steps::{Counts, WindowSums};
use testledger_schemas::ExecutionId;

use crate::views::mongodb::errors::Fault;

/// From buckets to sums, one document for each step, in the order of their keys.
pub(super) fn stages(left_out: &BTreeSet<ExecutionId>) -> Vec<Document> {
    let left_out: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    let is_bucket = doc! { "$not": [{ "$gt": ["$index", 0] }] };
    // What a bucket counts beside its runs stands in each of them, and counts with the first.
    let once = |field: &str| doc! { "$sum": { "$cond": [is_bucket.clone(), format!("$bucket.{field}"), 0] } };
    let times = |is: Document| doc! { "$sum": { "$cond": [{ "$and": ["$is_counted", is] }, 1, 0] } };
    let failed = doc! { "$gt": ["$failures", 0] };
    vec![
        doc! { "$unwind": { "path": "$bucket.runs", "includeArrayIndex": "index", "preserveNullAndEmptyArrays": true } },
        // A run that went on over midnight stands in two buckets, and is one run: its last sample decides.
        doc! { "$group": {
            "_id": { "step": "$bucket.step_key", "execution": "$bucket.runs.execution_id" },
            "root": { "$first": "$bucket.runs.root_id" },
            "position": { "$min": "$bucket.runs.position" },
            "passes": { "$sum": "$bucket.runs.passes" },
            "failures": { "$sum": "$bucket.runs.failures" },
            "passed": { "$top": { "sortBy": { "bucket.runs.position": -1 }, "output": "$bucket.runs.passed" } },
            "older_runs": once("older.runs"),
            "older_failures": once("older.failures"),
            "older_passed_on_retry": once("older.passed_on_retry"),
            "older_mixed": once("older.mixed"),
            "older_transitions": once("older.transitions"),
            "lost": once("lost"),
            "not_judged": once("not_judged"),
        } },
        // Without a run a bucket is there for what it counts beside.
        doc! { "$set": { "is_run": { "$gt": ["$root", Bson::Null] }, "is_left_out": { "$in": ["$root", left_out] } } },
        doc! { "$set": { "is_counted": { "$and": ["$is_run", { "$not": ["$is_left_out"] }] } } },
        doc! { "$setWindowFields": {
            "partitionBy": { "step": "$_id.step", "is_counted": "$is_counted" },
            "sortBy": { "position": 1 },
            "output": { "before": { "$shift": { "output": "$passed", "by": -1, "default": Bson::Null } } },
        } },
        doc! { "$group": {
            "_id": "$_id.step",
            "runs": times(doc! { "$literal": true }),
            "failures": times(doc! { "$not": ["$passed"] }),
            "passed_on_retry": times(doc! { "$and": ["$passed", failed.clone()] }),
            "mixed": times(doc! { "$and": [{ "$gt": ["$passes", 0] }, failed] }),
            "transitions": times(doc! { "$in": [["$before", "$passed"], [[true, false], [false, true]]] }),
            "older_runs": { "$sum": "$older_runs" },
            "older_failures": { "$sum": "$older_failures" },
            "older_passed_on_retry": { "$sum": "$older_passed_on_retry" },
            "older_mixed": { "$sum": "$older_mixed" },
            "older_transitions": { "$sum": "$older_transitions" },
            "mass_failures": { "$sum": { "$cond": [{ "$and": ["$is_run", "$is_left_out"] }, 1, 0] } },
            "lost": { "$sum": "$lost" },
            "not_judged": { "$sum": "$not_judged" },
        } },
        doc! { "$sort": { "_id": 1 } },
    ]
}

/// The sums in a document.
pub(super) fn of(document: &RawDocument) -> Result<WindowSums, Fault> {
    let unreadable = |why: String| Fault::Unreadable(format!("the sums of a step: {why}"));
    let key = document.get_str("_id").map_err(|error| unreadable(error.to_string()))?;
    let count = |name: &str| {
        let found = document.get_i64(name).or_else(|_| document.get_i32(name).map(i64::from));
        let count = found.map_err(|error| unreadable(error.to_string()))?;
        u64::try_from(count).map_err(|error| unreadable(format!("{name}: {error}")))
    };
    let both = |name: &str| Ok::<u64, Fault>(count(name)? + count(&format!("older_{name}"))?);
    Ok(WindowSums {
        step_key: key.parse().map_err(|_| unreadable(format!("`{key}` is no key")))?,
        counts: Counts {
            runs: both("runs")?,
            failures: both("failures")?,
            passed_on_retry: both("passed_on_retry")?,
            mixed: both("mixed")?,
            transitions: both("transitions")?,
        },
        mass_failures: count("mass_failures")?,
        lost: count("lost")?,
        not_judged: count("not_judged")?,
    })
}
