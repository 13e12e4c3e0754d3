//! What the writer remembers of the file, so that an append need not look it up.

use std::collections::HashMap;

use testledger_schemas::commit::{Commit, StreamHead};
use testledger_schemas::ids::StreamId;
use testledger_schemas::page::Page;

use crate::event_store::StoreError;
use crate::event_store::sqlite::queries::Queries;

/// The ends of so many streams are remembered; then all are forgotten and looked up again.
const REMEMBERED_HEADS: usize = 4096;

/// What the writer knows of the file, true as long as no other connection has written.
#[derive(Default)]
pub(super) struct Known {
    data_version: Option<i64>,
    last_page: Option<Page>,
    heads: HashMap<StreamId, StreamHead>,
}

impl Known {
    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Forgets everything if another connection has written since; says whether one has.
    pub(super) fn refresh(&mut self, queries: &Queries<'_>) -> Result<bool, StoreError> {
        let version = queries.data_version()?;
        let stale = self.data_version != Some(version);
        if stale {
            self.forget();
            self.data_version = Some(version);
        }
        Ok(stale)
    }

    /// The last page.
    pub(super) fn last_page(&mut self, queries: &Queries<'_>) -> Result<&Page, StoreError> {
        let page = match self.last_page.take() {
            Some(page) => page,
            None => queries.last_page()?,
        };
        Ok(self.last_page.insert(page))
    }

    /// The end of a stream.
    pub(super) fn head(&mut self, queries: &Queries<'_>, stream: StreamId) -> Result<StreamHead, StoreError> {
        if let Some(head) = self.heads.get(&stream) {
            return Ok(*head);
        }
        let head = queries.stream_head(stream)?;
        if self.heads.len() >= REMEMBERED_HEADS {
            self.heads.clear();
        }
        self.heads.insert(stream, head);
        Ok(head)
    }

    /// Takes over what a transaction has made durable.
    pub(super) fn advance(&mut self, commits: &[Commit], page: Option<Page>) {
        self.heads.extend(commits.iter().map(|commit| (commit.id.stream, commit.head())));
        self.last_page = page.or(self.last_page.take());
    }
}
