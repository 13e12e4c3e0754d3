//! One group of appends: what may be sent goes in one unordered insert, and each commit gets an answer that is true.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mongodb::bson::RawDocumentBuf;
use mongodb::error::{Error, ErrorKind, InsertManyError};
use testledger_schemas::commit::{Commit, CommitId};
use testledger_schemas::ids::StreamId;
use tokio::time::Instant;

use crate::event_store::mongodb::errors::codes;
use crate::event_store::mongodb::shared::{GONE, Shared};
use crate::event_store::mongodb::writer::{Append, Known};
use crate::event_store::rules::{self, Admission};
use crate::event_store::{AppendError, StoreError};

/// How long a commit that the server says is there may take to be there for a majority.
const APPEAR_PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two looks.
const APPEAR_PAUSE: Duration = Duration::from_millis(20);

/// A group that was sent, with what became of it.
pub(super) struct Sent {
    streams: Vec<StreamId>,
    appends: Vec<Append>,
    outcomes: Outcomes,
}

/// Sends a group that has at most one commit of each stream. Those that are refused or there already are answered.
pub(super) fn send(shared: &Arc<Shared>, known: &Known, group: Vec<Append>) -> impl Future<Output = Sent> + use<> {
    let shared = Arc::clone(shared);
    let streams = group.iter().map(|append| append.commit.id.stream).collect();
    let (sure, unsure): (Vec<_>, Vec<_>) = group.into_iter().partition(|it| known.is_continued_by(&it.commit));
    async move {
        let appends = match shared.check_there() {
            Ok(()) => look_up(&shared, sure, unsure).await,
            Err(error) => {
                sure.into_iter().chain(unsure).for_each(|append| append.answer(Err(error.clone().into())));
                vec![]
            }
        };
        let outcomes = insert(&shared, &appends).await;
        Sent { streams, appends, outcomes }
    }
}

async fn insert(shared: &Arc<Shared>, appends: &[Append]) -> Outcomes {
    if appends.is_empty() {
        return Outcomes::all_durable();
    }
    appends.iter().for_each(|append| shared.unplaced.sent(&append.commit, &append.document));
    let documents: Vec<Arc<RawDocumentBuf>> = appends.iter().map(|append| Arc::clone(&append.document)).collect();
    shared.batches.fetch_add(1, Ordering::Relaxed);
    let commits = shared.commits.clone();
    let sent = shared.store.attempt(async move { commits.insert_many(documents).ordered(false).await }).await;
    match sent {
        Ok(Ok(_)) => Outcomes::all_durable(),
        Ok(Err(error)) => Outcomes::of(shared, &error),
        Err(error) => Outcomes::unknown(error),
    }
}

/// Answers each append of a group that was sent.
pub(super) fn settle(shared: &Arc<Shared>, known: &mut Known, busy: &mut HashSet<StreamId>, sent: Sent) {
    sent.streams.iter().for_each(|stream| _ = busy.remove(stream));
    if shared.check_there().is_err() {
        known.forget_all();
    }
    for (index, append) in sent.appends.into_iter().enumerate() {
        settle_one(shared, known, append, sent.outcomes.of_commit(index));
    }
}

/// Adds to those that may be sent what continues a commit that is there, and answers the others.
async fn look_up(shared: &Arc<Shared>, mut due: Vec<Append>, unsure: Vec<Append>) -> Vec<Append> {
    let before: Vec<CommitId> = unsure.iter().filter_map(|append| previous(append.commit.id)).collect();
    // What cannot be read is looked at for its own append, so that it fails no other.
    let found = if before.is_empty() { Ok(HashMap::new()) } else { shared.readable_by_id(&before).await };
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            unsure.into_iter().for_each(|append| append.answer(Err(error.clone().into())));
            return due;
        }
    };
    for append in unsure {
        let before = previous(append.commit.id).and_then(|id| found.get(&id));
        if before.is_some_and(|before| continues(&append.commit, before)) {
            due.push(append);
            continue;
        }
        match admit(shared, &append.commit).await {
            Ok(Admission::New) => due.push(append),
            Ok(Admission::AlreadyThere) => append.answer(Ok(())),
            Err(error) => append.answer(Err(error)),
        }
    }
    due
}

fn previous(id: CommitId) -> Option<CommitId> {
    (id.number > 1).then(|| CommitId { number: id.number - 1, ..id })
}

fn continues(commit: &Commit, before: &Commit) -> bool {
    (commit.id.number, commit.first_version, commit.prev_hash)
        == (before.id.number + 1, before.last_version().saturating_add(1), before.hash)
}

/// Compares a commit with what is stored of its stream, by reads that rest on a majority.
async fn admit(shared: &Shared, commit: &Commit) -> Result<Admission, AppendError> {
    if let Some(before) = previous(commit.id) {
        // The writer names a commit that was not found: a primary that was deposed may not know it. This read would.
        match shared.commit_for_certain(before).await? {
            Some(before) if continues(commit, &before) => return Ok(Admission::New),
            // It was there once: the stream did not end before it, whatever is left of it.
            None if !shared.placed(&[before]).await?.is_empty() => {
                return Err(shared.store.errors.unavailable(GONE).into());
            }
            Some(_) | None => {}
        }
    }
    let head = shared.stream_head(commit.id.stream).await?;
    let stored = shared.commits_by_id(&[commit.id]).await?;
    rules::admit(commit, head, stored.get(&commit.id))
}

/// What became of one commit of a group.
enum Outcome {
    /// A majority has it.
    Durable,
    /// Its key is taken: by itself, sent before, or by another commit.
    KeyTaken,
    /// Not known, or not done.
    Failed(StoreError),
}

/// What became of a group.
struct Outcomes {
    /// What holds for all that no error names: nothing, or why it is not known.
    others: Option<StoreError>,
    named: HashMap<usize, Option<StoreError>>,
}

impl Outcomes {
    fn all_durable() -> Self {
        Self { others: None, named: HashMap::new() }
    }

    fn unknown(error: StoreError) -> Self {
        Self { others: Some(error), named: HashMap::new() }
    }

    fn of(shared: &Shared, error: &Error) -> Self {
        match error.kind.as_ref() {
            ErrorKind::InsertMany(failed) => Self::of_each(shared, failed),
            _ => Self::unknown(shared.store.errors.store(error)),
        }
    }

    /// An error of the write concern makes everything unknown that has no error of its own.
    fn of_each(shared: &Shared, failed: &InsertManyError) -> Self {
        let errors = &shared.store.errors;
        let others = failed.write_concern_error.as_ref().map(|error| {
            errors.unavailable(&format!("the majority did not confirm an append: {} ({})", error.message, error.code))
        });
        let named = failed.write_errors.iter().flatten().map(|error| {
            let is_taken = error.code == codes::DUPLICATE_KEY;
            (error.index, (!is_taken).then(|| errors.unavailable(&format!("{} ({})", error.message, error.code))))
        });
        Self { others, named: named.collect() }
    }

    fn of_commit(&self, index: usize) -> Outcome {
        match (self.named.get(&index), &self.others) {
            (Some(None), _) => Outcome::KeyTaken,
            (Some(Some(error)), _) | (None, Some(error)) => Outcome::Failed(error.clone()),
            (None, None) => Outcome::Durable,
        }
    }
}

fn settle_one(shared: &Arc<Shared>, known: &mut Known, append: Append, outcome: Outcome) {
    let id = append.commit.id;
    match outcome {
        Outcome::Durable => {
            shared.unplaced.acknowledged(id);
            known.learn(&append.commit);
            append.answer(Ok(()));
        }
        Outcome::KeyTaken => {
            shared.unplaced.forget([&id]);
            known.forget(id.stream);
            // Beside the writer: what is there may yet have to reach a majority.
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                let answer = who_has_the_key(&shared, &append.commit).await;
                append.answer(answer);
            });
        }
        Outcome::Failed(error) => {
            shared.unplaced.forget([&id]);
            known.forget(id.stream);
            append.answer(Err(error.into()));
        }
    }
}

/// Waits until a majority has something under the key, and says whether it is this commit.
async fn who_has_the_key(shared: &Shared, commit: &Commit) -> Result<(), AppendError> {
    let began = Instant::now();
    loop {
        let stored = shared.commits_by_id(&[commit.id]).await?;
        if let Some(stored) = stored.get(&commit.id) {
            if stored.is_same_append(commit) {
                return Ok(());
            }
            let actual = shared.stream_head(commit.id.stream).await?.version.max(stored.last_version());
            return Err(AppendError::Conflict { stream: commit.id.stream, expected: commit.first_version - 1, actual });
        }
        if began.elapsed() >= APPEAR_PATIENCE {
            // Perhaps it was rolled back: sent again, it will be known.
            let why = format!("the outcome of {} is not known yet", commit.id);
            return Err(shared.store.errors.unavailable(&why).into());
        }
        tokio::time::sleep(APPEAR_PAUSE).await;
    }
}
