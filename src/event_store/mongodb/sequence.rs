//! The sequencer's task: follows the change stream and writes pages, one sequencer of all processes at a time.
//!
//! Nobody is elected: the dense number of the next page lets one win. Who loses stands by, and takes over when commits
//! of its own wait too long for their place, or when no page has come for a while. [`Ended`] is the ladder of all
//! reasons why following ends, and [`run`] the one place that acts on them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use testledger_schemas::commit::{CommitId, StreamHead};
use testledger_schemas::ids::StreamId;
use testledger_schemas::page::Page;
use tokio::sync::{mpsc, watch};

use crate::event_store::StoreError;
use crate::event_store::mongodb::backfill;
use crate::event_store::mongodb::changes::{self, Arrived, Change};
use crate::event_store::mongodb::errors::{code_of, codes, is_history_lost};
use crate::event_store::mongodb::idle::Idle;
use crate::event_store::mongodb::place::{self, Placed};
use crate::event_store::mongodb::shared::Shared;
use crate::event_store::sequencer::{MAX_PAGE_ENTRIES, Offered, Sequenced, Sequencer, head_after};

/// How long an acknowledged commit of this process waits, and no page comes at all, before its sequencer stops standing
/// by. One that is slow but at work is left alone: more readers of the change stream would make it slower.
const TAKE_OVER_AFTER: Duration = Duration::from_millis(100);
/// After so long without a new position every sequencer looks for itself.
const QUIET: Duration = Duration::from_secs(1);
/// How often a sequencer that stands by looks.
const STAND_BY_POLL: Duration = Duration::from_millis(20);
/// The pause after the first failure; each further one is twice as long, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two attempts.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// The ends of so many streams are remembered; then all are forgotten and looked up again.
const REMEMBERED_HEADS: usize = 65_536;

/// Why following the change stream ended: the ladder, from what is meant to what is worst.
#[derive(Debug)]
pub(super) enum Ended {
    /// The log is closed.
    Closed,
    /// Another sequencer was quicker.
    Overtaken,
    /// It may work the next time.
    Passing(StoreError),
    /// The token is refused: the history between it and now may be lost.
    TokenRefused(String),
    /// A backfill was begun and not ended.
    BackfillOpen,
    /// The commits were dropped or renamed.
    Invalidated,
    /// This user may not write pages.
    NotAllowed(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Damaged(_) => Self::Passing(error),
            StoreError::Refused(_) => Self::NotAllowed(error),
        }
    }
}

/// Sequences until the log is closed. `caught_up` turns true once everything durable before the start has its place.
pub(super) async fn run(shared: Arc<Shared>, caught_up: watch::Sender<bool>) {
    let (mut pause, mut refused) = (FIRST_PAUSE, None);
    loop {
        match follow(&shared, &caught_up, &mut pause).await {
            Ended::Closed => return,
            Ended::Overtaken => {
                // Who was quicker does the work.
                caught_up.send_replace(true);
                stand_by(&shared).await;
            }
            Ended::Passing(error) => {
                tracing::warn!(%error, "the change stream of the commits ended; following it anew");
                rest(&shared, &mut pause).await;
            }
            // Once more from the last page: the one this token came from may be an old one.
            Ended::TokenRefused(token) if refused.as_ref() != Some(&token) => refused = Some(token),
            Ended::TokenRefused(_) | Ended::BackfillOpen => fill(&shared, &mut pause).await,
            Ended::Invalidated => {
                tracing::error!("the commits were dropped or renamed; nothing is appended until they are restored");
                shared.gone.store(true, Ordering::Release);
                until_restored(&shared).await;
                fill(&shared, &mut pause).await;
            }
            Ended::NotAllowed(error) => {
                tracing::info!(%error, "this process gives no positions");
                caught_up.send_replace(true);
                return;
            }
        }
        if shared.closed.is_cancelled() {
            return;
        }
    }
}

async fn fill(shared: &Arc<Shared>, pause: &mut Duration) {
    tracing::warn!("the history of the change stream is lost; the order is filled up from the commits themselves");
    if let Err(error) = backfill::run(shared).await {
        tracing::warn!(%error, "the order could not be filled up; trying again");
        rest(shared, pause).await;
    }
}

async fn rest(shared: &Shared, pause: &mut Duration) {
    shared.closed.run_until_cancelled(tokio::time::sleep(*pause)).await;
    *pause = (*pause * 2).min(LAST_PAUSE);
}

/// Waits while another sequencer does the work.
async fn stand_by(shared: &Shared) {
    let is_needed = || {
        let waits = shared.unplaced.longest_wait().is_some_and(|wait| wait >= TAKE_OVER_AFTER);
        let quiet = shared.head.quiet_for();
        (waits && quiet >= TAKE_OVER_AFTER) || quiet >= QUIET
    };
    let waiting = async {
        while !is_needed() {
            tokio::time::sleep(STAND_BY_POLL).await;
        }
    };
    shared.closed.run_until_cancelled(waiting).await;
}

/// Waits until the commits that the last pages name are there again.
async fn until_restored(shared: &Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    while !shared.closed.is_cancelled() {
        match is_restored(shared).await {
            Ok(true) => return shared.gone.store(false, Ordering::Release),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "it cannot be seen whether the commits are restored"),
        }
        rest(shared, &mut pause).await;
    }
}

/// How many of the last pages are looked at for a restored collection.
const LOOKED_BACK: u64 = 64;

async fn is_restored(shared: &Shared) -> Result<bool, StoreError> {
    let last = shared.last_page().await?.number;
    let pages = shared.pages(last.saturating_sub(LOOKED_BACK), usize::MAX).await?;
    let Some(page) = pages.iter().rev().find(|page| !page.entries.is_empty()) else { return Ok(true) };
    let named: Vec<CommitId> = page.entries.iter().map(|entry| entry.commit).collect();
    Ok(shared.commits_by_id(&named).await?.len() == named.len())
}

/// Follows the change stream from the last page on, until something ends it.
async fn follow(shared: &Arc<Shared>, caught_up: &watch::Sender<bool>, pause: &mut Duration) -> Ended {
    if shared.gone.load(Ordering::Acquire) {
        until_restored(shared).await;
    }
    let last = match shared.last_page().await {
        Ok(last) => last,
        Err(error) => return error.into(),
    };
    let Some(page_token) = last.token.clone() else { return Ended::BackfillOpen };
    let idle = Idle::new(last.anchor());
    let token = match idle.token(shared).await {
        Ok(token) => token.unwrap_or(page_token),
        Err(error) => return error.into(),
    };
    shared.head.advance(last.last_position());
    let changes = changes::follow(shared, token.clone());
    let mut sequencing =
        Sequencing { shared, sequencer: Sequencer::resume(last), heads: HashMap::new(), idle, changes };
    let ended = sequencing.run(caught_up, pause).await;
    match ended {
        Ended::TokenRefused(_) => Ended::TokenRefused(token),
        other => other,
    }
}

/// One stretch of following.
struct Sequencing<'a> {
    shared: &'a Arc<Shared>,
    sequencer: Sequencer,
    /// The ends of streams as far as they have places.
    heads: HashMap<StreamId, StreamHead>,
    idle: Idle,
    changes: mpsc::Receiver<Change>,
}

impl Sequencing<'_> {
    async fn run(&mut self, caught_up: &watch::Sender<bool>, pause: &mut Duration) -> Ended {
        loop {
            let Some(changes) = self.shared.closed.run_until_cancelled(self.next_changes()).await else {
                return Ended::Closed;
            };
            *pause = FIRST_PAUSE;
            let mut commits = Vec::with_capacity(changes.len());
            let mut end = None;
            let mut is_idle = false;
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
            changes.push(Change::Failed(mongodb::error::Error::custom("the change stream ended")));
        }
        changes
    }

    fn ended_by(&self, error: &mongodb::error::Error) -> Ended {
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
        self.look_up_heads(commits).await?;
        let mut known: HashSet<CommitId> = HashSet::new();
        loop {
            let mut sequencer = self.sequencer.clone();
            for Arrived { commit, token, .. } in commits {
                let head = self.heads.get(&commit.id().stream).copied().unwrap_or(StreamHead::EMPTY);
                let sequenced = Sequenced { commit: known.contains(&commit.id()), head };
                // As many commits as a page holds at the most: it is never full.
                let offered = sequencer.offer(commit, token, sequenced);
                debug_assert_ne!(offered, Offered::Full);
            }
            let Some(page) = sequencer.seal() else {
                // All known: what was passed over is not read again.
                self.sequencer = sequencer;
                return Ok(());
            };
            match place::insert(self.shared, &page).await? {
                Placed::Here => {
                    self.remember(commits);
                    self.begin_after(page);
                    return Ok(());
                }
                Placed::Overtaken => return Err(Ended::Overtaken),
                Placed::Before(before) => known = before,
            }
        }
    }

    fn begin_after(&mut self, page: Page) {
        self.idle = Idle::new(page.anchor());
        self.sequencer = Sequencer::resume(page);
    }

    fn remember(&mut self, commits: &[Arrived]) {
        if self.heads.len() > REMEMBERED_HEADS {
            self.heads.clear();
        }
        for Arrived { commit, .. } in commits {
            let head = self.heads.get(&commit.id().stream).copied().unwrap_or(StreamHead::EMPTY);
            self.heads.insert(commit.id().stream, head_after(commit, head));
        }
    }

    /// A stream that was not met lately: the commit before stands for its end, as it became durable before.
    async fn look_up_heads(&mut self, commits: &[Arrived]) -> Result<(), StoreError> {
        let ids = commits.iter().map(|arrived| arrived.commit.id());
        let unknown = ids.filter(|id| id.number > 1 && !self.heads.contains_key(&id.stream));
        let before: Vec<CommitId> = unknown.map(|id| CommitId { number: id.number - 1, ..id }).collect();
        if before.is_empty() {
            return Ok(());
        }
        for (id, commit) in self.shared.commits_by_id(&before).await? {
            let head = self.heads.entry(id.stream).or_insert(StreamHead::EMPTY);
            // Of several commits of one stream in this group the first one is meant.
            if head.number == 0 || id.number < head.number {
                *head = commit.head();
            }
        }
        Ok(())
    }
}
