//! How far the change stream was read while nothing came: so that the token of a log at rest does not grow too old.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{RawDocumentBuf, cstr, doc};
use testledger_schemas::page::Anchor;
use tokio::time::Instant;

use crate::event_store::StoreError;
use crate::event_store::mongodb::errors::is_duplicate;
use crate::event_store::mongodb::queries::number;
use crate::event_store::mongodb::shared::Shared;

/// How often the token is kept at the most.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// The key of the one document.
const KEY: &str = "idle";

/// The newest token after a page that is the last one.
pub(super) struct Idle {
    after: Anchor,
    token: Option<String>,
    kept: Instant,
}

impl Idle {
    pub(super) fn new(after: Anchor) -> Self {
        Self { after, token: None, kept: Instant::now() }
    }

    /// Up to this token nothing came that needs a place.
    pub(super) fn passed(&mut self, token: String) {
        self.token = Some(token);
    }

    /// The token that was kept, if the page is still the one it was kept for.
    pub(super) async fn token(&self, shared: &Shared) -> Result<Option<String>, StoreError> {
        let state = shared.state.clone();
        let found = shared.ask(async move { state.find_one(doc! { "_id": KEY }).await }).await?;
        let Some(found) = found else { return Ok(None) };
        let is_last = found.get_i64("page").ok() == Some(number(self.after.page))
            && found.get_str("page_hash").ok() == Some(self.after.hash.to_string().as_str());
        Ok(found.get_str("token").ok().filter(|_| is_last).map(ToOwned::to_owned))
    }

    /// Keeps the newest token, now and then. Where that fails nothing is lost but time.
    pub(super) async fn keep(&mut self, shared: &Arc<Shared>) {
        if self.kept.elapsed() < KEEP_EVERY {
            return;
        }
        let Some(token) = self.token.take() else { return };
        self.kept = Instant::now();
        let mut document = RawDocumentBuf::new();
        document.append(cstr!("_id"), KEY);
        document.append(cstr!("page"), number(self.after.page));
        document.append(cstr!("page_hash"), self.after.hash.to_string());
        document.append(cstr!("token"), token);
        let state = shared.state.clone();
        // A later page's token stays: then the key is taken.
        let older = doc! { "_id": KEY, "page": { "$lte": number(self.after.page) } };
        match shared.store.attempt(async move { state.replace_one(older, document).upsert(true).await }).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if is_duplicate(&error) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the token of the idle log is not kept"),
            Err(error) => tracing::debug!(%error, "the token of the idle log is not kept"),
        }
    }
}
