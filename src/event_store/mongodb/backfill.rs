//! When the change stream's history is lost: the order is filled up from the commits themselves, without trusting any
//! clock, and following begins again where that began.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{RawDocumentBuf, doc};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::page::Page;
use tokio::time::Instant;

use crate::event_store::StoreError;
use crate::event_store::mongodb::changes;
use crate::event_store::mongodb::documents::commit_in;
use crate::event_store::mongodb::place::{self, Placed};
use crate::event_store::mongodb::shared::{STATE, Shared};
use crate::event_store::sequencer::{Candidate, MAX_PAGE_ENTRIES, Offered, Sequenced, Sequencer, head_after};

/// So many commits are compared with the pages at once.
const COMPARED_AT_ONCE: usize = 1000;
/// After so long without a page of its own nobody is taken to fill the order up.
const QUIET: Duration = Duration::from_millis(500);
/// How often is looked at what another process has filled up.
const POLL: Duration = Duration::from_millis(50);

/// Seals every commit that has no place, in the order of stream and number, in pages without a token, and closes with a
/// page, perhaps an empty one, that bears the token of the change stream as it was before. Until that page is there,
/// whoever comes begins again. Ends early, and well, where another process comes to the end first, or has since the page
/// with the number `after` was the last one.
///
/// # Errors
/// [`StoreError`]; what was sealed stays.
pub(super) async fn run(shared: &Arc<Shared>, after: u64) -> Result<(), StoreError> {
    let last = shared.last_page().await?;
    if last.number > after && last.token.is_some() {
        return Ok(());
    }
    // First the token, then the commits: what becomes durable in between is in both, and gets one place all the same.
    let token = {
        let shared = Arc::clone(shared);
        let store = shared.store.clone();
        store.ask(async move { changes::token_of_now(&shared).await }).await?
    };
    let session = after_now(shared).await?;
    let mut filling = Filling { shared, last: shared.last_page().await?, pending: vec![], head: None };
    let mut scan = Scan { session: Some(session), after: String::new(), is_over: false };
    while !scan.is_over {
        if !filling.take(scan.next(shared).await?).await? {
            return Ok(());
        }
    }
    if !filling.seal().await? {
        return Ok(());
    }
    filling.close(&token).await
}

/// Waits while another process fills the order up. True once there is a page to go on from; false if nothing comes.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn stand_by(shared: &Arc<Shared>) -> Result<bool, StoreError> {
    let (mut number, mut moved) = (None, Instant::now());
    while !shared.closed.is_cancelled() {
        let last = shared.last_page().await?;
        if last.token.is_some() {
            return Ok(true);
        }
        if number != Some(last.number) {
            (number, moved) = (Some(last.number), Instant::now());
        }
        if moved.elapsed() >= QUIET {
            return Ok(false);
        }
        shared.closed.run_until_cancelled(tokio::time::sleep(POLL)).await;
    }
    Ok(true)
}

/// A session whose reads see at least what was durable when it began: a write of its own came after that.
async fn after_now(shared: &Arc<Shared>) -> Result<ClientSession, StoreError> {
    let (client, database) = (shared.store.client().clone(), shared.store.database());
    let write = async move {
        let mut session = client.start_session().causal_consistency(true).await?;
        let state = database.collection::<RawDocumentBuf>(STATE);
        let begun = doc! { "$inc": { "begun": 1_i64 } };
        state.update_one(doc! { "_id": "backfill" }, begun).upsert(true).session(&mut session).await?;
        Ok(session)
    };
    shared.ask(write).await
}

/// The commits by key.
struct Scan {
    session: Option<ClientSession>,
    after: String,
    is_over: bool,
}

impl Scan {
    async fn next(&mut self, shared: &Arc<Shared>) -> Result<Vec<Commit>, StoreError> {
        let commits = shared.commits.clone();
        let filter = doc! { "_id": { "$gt": self.after.clone() } };
        let Some(mut session) = self.session.take() else { return Err(shared.store.errors.closed()) };
        let read = async move {
            let found = commits.find(filter).sort(doc! { "_id": 1 }).limit(COMPARED_AT_ONCE as i64);
            let mut cursor = found.session(&mut session).await?;
            let documents: Vec<RawDocumentBuf> = cursor.stream(&mut session).try_collect().await?;
            Ok((session, documents))
        };
        let (session, documents) = shared.ask(read).await?;
        self.session = Some(session);
        self.is_over = documents.len() < COMPARED_AT_ONCE;
        if let Some(last) = documents.last().and_then(|last| last.get_str("_id").ok()) {
            last.clone_into(&mut self.after);
        }
        // What is no commit gets no place; an audit names it.
        Ok(documents.iter().filter_map(|document| commit_in(document).ok()).collect())
    }
}

/// The pages that are being written.
struct Filling<'a> {
    shared: &'a Arc<Shared>,
    last: Page,
    /// Commits without a place, each with the end of its stream before it.
    pending: Vec<(Candidate, StreamHead)>,
    /// The last commit that was met, with its stream's end after it.
    head: Option<(CommitId, StreamHead)>,
}

impl Filling<'_> {
    /// Takes commits in the order of their keys. False when another process has come to the end.
    async fn take(&mut self, commits: Vec<Commit>) -> Result<bool, StoreError> {
        let ids: Vec<CommitId> = commits.iter().map(|commit| commit.id).collect();
        let placed: HashSet<CommitId> = self.shared.placed(&ids).await?;
        for commit in commits {
            let head = match self.head {
                Some((before, head)) if before.stream == commit.id.stream => head,
                Some(_) | None => StreamHead::EMPTY,
            };
            let candidate = Candidate::checked(&commit);
            self.head = Some((commit.id, head_after(&candidate, head)));
            if !placed.contains(&commit.id) {
                self.pending.push((candidate, head));
            }
            if self.pending.len() >= MAX_PAGE_ENTRIES && !self.seal().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a page of what is pending. False when another process has come to the end.
    async fn seal(&mut self) -> Result<bool, StoreError> {
        while let Some(page) = self.page() {
            match place::insert(self.shared, &page).await? {
                Placed::Here => {
                    self.last = page;
                    self.pending.clear();
                }
                Placed::Before(placed) => self.pending.retain(|(commit, _)| !placed.contains(&commit.id())),
                Placed::Overtaken if !self.catch_up().await? => return Ok(false),
                Placed::Overtaken => {}
            }
        }
        Ok(true)
    }

    fn page(&self) -> Option<Page> {
        let mut sequencer = Sequencer::resume(self.last.clone());
        for (commit, head) in &self.pending {
            let offered = sequencer.offer(commit, "", Sequenced { commit: false, head: *head });
            debug_assert_ne!(offered, Offered::Full);
        }
        sequencer.seal_backfill()
    }

    /// Writes the closing page, unless another process has.
    async fn close(&mut self, token: &str) -> Result<(), StoreError> {
        loop {
            let closing = Page::following(&self.last, vec![], Some(token.to_owned()), true);
            let placed = place::insert(self.shared, &closing).await?;
            if matches!(placed, Placed::Here) || !self.catch_up().await? {
                return Ok(());
            }
        }
    }

    /// Another process fills the order up as well, and was quicker with a page. What was read so far holds all the same:
    /// who began anew could be overtaken for ever. False when the other one has come to the end.
    async fn catch_up(&mut self) -> Result<bool, StoreError> {
        self.last = self.shared.last_page().await?;
        let ids: Vec<CommitId> = self.pending.iter().map(|(commit, _)| commit.id()).collect();
        let placed = self.shared.placed(&ids).await?;
        self.pending.retain(|(commit, _)| !placed.contains(&commit.id()));
        Ok(self.last.token.is_none())
    }
}
