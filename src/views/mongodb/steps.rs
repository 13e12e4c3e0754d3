//! The statistics of steps in MongoDB: the buckets have an index by step and day, which all questions walk.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bson::{Document, doc};
use mongodb::IndexModel;
use testledger_projections::flaky_steps::{Bucket, Days, FlakySteps, WindowSums};
use testledger_projections::ports::ViewStoreError;
use testledger_schemas::{ExecutionId, StepKey};

use crate::views::mongodb::listed::{Listed, index};
use crate::views::mongodb::server::Question;
use crate::views::mongodb::{MongoViews, found, sums};
use crate::views::steps::{StepQueries, bucket};

/// The index of all questions.
const BY_STEP: &str = "by_step";
/// The step of a bucket, and no other document has it.
const STEP: &str = "bucket.step_key";
/// The day of a bucket.
const DAY: &str = "bucket.day";

impl Listed for FlakySteps {
    fn indexes() -> Vec<IndexModel> {
        // Any text comes after the empty one: an index of the buckets alone.
        vec![index(BY_STEP, order(), doc! { STEP: { "$gt": "" } })]
    }
}

fn order() -> Document {
    doc! { STEP: 1, DAY: 1 }
}

fn within(days: Days) -> Document {
    doc! { "$gte": days.first.to_string(), "$lte": days.last.to_string() }
}

#[async_trait]
impl StepQueries for MongoViews<FlakySteps> {
    async fn buckets(&self, after: Option<StepKey>, days: Days, limit: usize) -> Result<Vec<Bucket>, ViewStoreError> {
        if limit == 0 {
            return Ok(vec![]);
        }
        let after = after.map(|key| key.to_string()).unwrap_or_default();
        let filter = doc! { STEP: { "$gt": after }, DAY: within(days) };
        let found =
            self.ask(Question { filter, sort: order(), limit, walk: Some(BY_STEP), ..Question::default() }).await?;
        Ok(found.into_iter().filter_map(bucket).collect())
    }

    async fn sums(&self, days: Days, left_out: &BTreeSet<ExecutionId>) -> Result<Vec<WindowSums>, ViewStoreError> {
        let filter = doc! { STEP: { "$gt": "" }, DAY: within(days) };
        let question = Question { filter, walk: Some(BY_STEP), stages: sums::stages(left_out), ..Question::default() };
        let server = Arc::clone(&self.server);
        let adding = async move {
            let documents = found::<FlakySteps>(&server, &question).await?;
            documents.iter().map(|document| sums::of(document)).collect()
        };
        self.server.run(adding).await
    }

    async fn first_from(&self, least: &str) -> Result<Option<StepKey>, ViewStoreError> {
        // Both bounds: the index knows only documents with a step.
        let filter = doc! { STEP: { "$gt": "", "$gte": least } };
        let found =
            self.ask(Question { filter, sort: order(), limit: 1, walk: Some(BY_STEP), ..Question::default() }).await?;
        Ok(found.into_iter().find_map(bucket).map(|bucket| bucket.step_key))
    }
}
