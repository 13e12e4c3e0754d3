//! When the change stream's history is lost: the order is filled up from the commits themselves, without trusting any
//! clock, and following begins again where that began.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::{RawDocumentBuf, doc};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::page::Page;

use crate::event_store::StoreError;
use crate::event_store::mongodb::changes;
use crate::event_store::mongodb::documents::commit_in;
use crate::event_store::mongodb::place::{self, Placed};
use crate::event_store::mongodb::shared::{STATE, Shared};
use crate::event_store::sequencer::{Candidate, MAX_PAGE_ENTRIES, Offered, Sequenced, Sequencer, head_after};

/// So many commits are compared with the pages at once.
const COMPARED_AT_ONCE: usize = 1000;

/// Seals every commit that has no place, in the order of stream and number, in pages without a token, and closes with a
/// page, perhaps an empty one, that bears the token of the change stream as it was before. Until that page is there,
/// whoever comes begins again. Ends early, and well, where another sequencer is quicker.
///
/// # Errors
/// [`StoreError`]; what was sealed stays.
pub(super) async fn run(shared: &Arc<Shared>) -> Result<(), StoreError> {
    // First the token, then the commits: what becomes durable in between is in both, and gets one place all the same.
    let token = {
        let shared = Arc::clone(shared);
        let store = shared.store.clone();
        store.ask(async move { changes::token_of_now(&shared).await }).await?
    };
    let session = after_now(shared).await?;
    let mut filling = Filling { shared, last: shared.last_page().await?, pending: vec![], head: None };
    let mut scan = Scan { session: Some(session), after: String::new() };
    loop {
        let commits = scan.next(shared).await?;
        let is_end = commits.len() < COMPARED_AT_ONCE;
        if !filling.take(commits).await? {
            return Ok(());
        }
        if is_end {
            break;
        }
    }
    if !filling.seal().await? {
        return Ok(());
    }
    let closing = Page::following(&filling.last, vec![], Some(token), true);
    place::insert(shared, &closing).await?;
    Ok(())
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
    /// Takes commits in the order of their keys. False when another sequencer was quicker.
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

    /// Writes a page of what is pending. False when another sequencer was quicker.
    async fn seal(&mut self) -> Result<bool, StoreError> {
        let mut sequencer = Sequencer::resume(self.last.clone());
        for (commit, head) in &self.pending {
            let offered = sequencer.offer(commit, "", Sequenced { commit: false, head: *head });
            debug_assert_ne!(offered, Offered::Full);
        }
        let Some(page) = sequencer.seal_backfill() else { return Ok(true) };
        match place::insert(self.shared, &page).await? {
            Placed::Here => {
                self.last = page;
                self.pending.clear();
                Ok(true)
            }
            Placed::Overtaken | Placed::Before(_) => Ok(false),
        }
    }
}
