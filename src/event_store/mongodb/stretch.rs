//! One stretch of following: from a token on, what the change stream brings gets its place, page by page.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mongodb::error::Error;
use testledger_schemas::commit::{CommitId, StreamHead};
use testledger_schemas::ids::StreamId;
use testledger_schemas::page::Page;
use tokio::sync::{mpsc, watch};

use crate::event_store::StoreError;
use crate::event_store::mongodb::changes::{self, Arrived, Change};
use crate::event_store::mongodb::errors::{code_of, codes, is_history_lost};
use crate::event_store::mongodb::idle::Idle;
use crate::event_store::mongodb::place::{self, Placed};
use crate::event_store::mongodb::sequence::{Ended, FIRST_PAUSE};
use crate::event_store::mongodb::shared::Shared;
use crate::event_store::sequencer::{MAX_PAGE_ENTRIES, Offered, Sequenced, Sequencer, head_after};

/// The ends of so many streams are remembered; then all are forgotten and looked up again.
const REMEMBERED_HEADS: usize = 65_536;

/// The ends of streams before some commits, by commit.
type Before = HashMap<CommitId, StreamHead>;

/// One stretch of following.
pub(super) struct Stretch<'a> {
    shared: &'a Arc<Shared>,
    sequencer: Sequencer,
    /// The ends of streams as far as they have places.
    heads: HashMap<StreamId, StreamHead>,
    idle: Idle,
    changes: mpsc::Receiver<Change>,
}

impl<'a> Stretch<'a> {
    /// Goes on after the last page, from a token that is its own or a later one.
    pub(super) fn begin(shared: &'a Arc<Shared>, last: Page, idle: Idle, token: String) -> Self {
        let changes = changes::follow(shared, token);
        Self { shared, sequencer: Sequencer::resume(last), heads: HashMap::new(), idle, changes }
    }

    /// Sequences until something ends it.
    pub(super) async fn run(&mut self, caught_up: &watch::Sender<bool>, pause: &mut Duration) -> Ended {
        loop {
            let Some(changes) = self.shared.closed.run_until_cancelled(self.next_changes()).await else {
                return Ended::Closed;
            };
            *pause = FIRST_PAUSE;
            let (mut commits, mut end, mut is_idle) = (Vec::with_capacity(changes.len()), None, false);
            for change in changes {
                match change {
                    Change::Commit(arrived) => commits.push(*arrived),
                    Change::Foreign(token) => self.idle.passed(token),
                    Change::Idle(token) => {
                        is_idle = true;
                        self.idle.passed(token);
                    }
                    Change::Invalidated => end = Some(Ended::Invalidated),
                    Change::Failed(error) => end = Some(self.ended_by(&error)),
                }
            }
            if !commits.is_empty()
                && let Err(ended) = self.place(&commits).await
            {
                return ended;
            }
            if let Some(end) = end {
                return end;
            }
            if self.shared.gone.load(Ordering::Acquire) {
                // Whoever watches the database has seen it first.
                return Ended::Invalidated;
            }
            if is_idle {
                caught_up.send_replace(true);
                self.idle.keep(self.shared).await;
            }
        }
    }

    /// What has come, at most a page of it. Empty never; the end of the stream is a change, too.
    async fn next_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        let count = self.changes.recv_many(&mut changes, MAX_PAGE_ENTRIES).await;
        if count == 0 {
            changes.push(Change::Failed(Error::custom("the change stream ended")));
        }
        changes
    }

    fn ended_by(&self, error: &Error) -> Ended {
        if is_history_lost(error) {
            tracing::warn!(%error, "the change stream cannot go on from the last page");
            return Ended::TokenRefused(String::new());
        }
        let translated = self.shared.store.errors.store(error);
        match code_of(error) {
            Some(codes::UNAUTHORIZED) => Ended::NotAllowed(translated),
            Some(_) | None => Ended::Passing(translated),
        }
    }

    /// Gives commits their places. Those that have one already are passed over.
    async fn place(&mut self, commits: &[Arrived]) -> Result<(), Ended> {
        let before = self.look_up(commits).await?;
        let mut known: HashSet<CommitId> = HashSet::new();
        loop {
            let mut sequencer = self.sequencer.clone();
            for Arrived { commit, token, .. } in commits {
                let head = self.head_before(&before, commit.id());
                let sequenced = Sequenced { commit: known.contains(&commit.id()), head };
                // As many commits as a page holds at the most: it is never full.
                let offered = sequencer.offer(commit, token, sequenced);
                debug_assert_ne!(offered, Offered::Full);
            }
            let Some(page) = sequencer.seal() else {
                // All known: what was passed over is not read again.
                self.remember(commits, &before);
                self.sequencer = sequencer;
                return Ok(());
            };
            match place::insert(self.shared, &page).await? {
                Placed::Here => {
                    self.remember(commits, &before);
                    self.idle = Idle::new(page.anchor());
                    self.sequencer = Sequencer::resume(page);
                    return Ok(());
                }
                Placed::Overtaken => return Err(Ended::Overtaken),
                Placed::Before(before) => known = before,
            }
        }
    }

    /// The end of the stream before a commit: as far as is remembered, or the commit before where that is further.
    fn head_before(&self, before: &Before, id: CommitId) -> StreamHead {
        let heads = [self.heads.get(&id.stream), before.get(&id)];
        heads.into_iter().flatten().copied().max_by_key(|head| head.number).unwrap_or(StreamHead::EMPTY)
    }

    fn remember(&mut self, commits: &[Arrived], before: &Before) {
        if self.heads.len() > REMEMBERED_HEADS {
            self.heads.clear();
        }
        for Arrived { commit, .. } in commits {
            let head = self.head_before(before, commit.id());
            self.heads.insert(commit.id().stream, head_after(commit, head));
        }
    }

    /// What stands before the commits that do not follow what is remembered: of a stream that was not met lately, or of
    /// which a backfill has placed the ones between. It became durable before, so it is there; where it cannot be read,
    /// the commit follows nothing.
    async fn look_up(&self, commits: &[Arrived]) -> Result<Before, StoreError> {
        let mut reached: HashMap<StreamId, u64> = HashMap::new();
        let mut previous = Vec::new();
        for Arrived { commit, .. } in commits {
            let CommitId { stream, number } = commit.id();
            let remembered = || self.heads.get(&stream).map_or(0, |head| head.number);
            let end = reached.entry(stream).or_insert_with(remembered);
            if number > end.saturating_add(1) {
                previous.push(CommitId { stream, number: number - 1 });
            }
            *end = number.max(*end);
        }
        if previous.is_empty() {
            return Ok(Before::new());
        }
        let found = self.shared.readable_by_id(&previous).await?;
        let next = |id: CommitId| CommitId { number: id.number.saturating_add(1), ..id };
        Ok(found.into_values().map(|commit| (next(commit.id), commit.head())).collect())
    }
}
