//! One group of appends: what may be sent goes in one unordered insert, and each commit gets an answer that is true.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mongodb::bson::RawDocumentBuf;
use mongodb::error::{Error, ErrorKind, InsertManyError};
use testledger_schemas::commit::{Commit, CommitId};
use tokio::time::Instant;

use crate::event_store::mongodb::errors::codes;
use crate::event_store::mongodb::shared::Shared;
use crate::event_store::mongodb::writer::{Append, Known};
use crate::event_store::rules::{self, Admission};
use crate::event_store::{AppendError, StoreError};

/// How long a commit that the server says is there may take to be there for a majority.
const APPEAR_PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two looks.
const APPEAR_PAUSE: Duration = Duration::from_millis(20);

/// Writes a group that has at most one commit of each stream, and answers each.
pub(super) async fn write(shared: &Arc<Shared>, known: &mut Known, group: Vec<Append>) {
    if let Err(error) = shared.check_there() {
        known.forget_all();
        return group.into_iter().for_each(|append| append.answer(Err(error.clone().into())));
    }
    let due = admit_all(shared, known, group).await;
    if due.is_empty() {
        return;
    }
    due.iter().for_each(|append| shared.unplaced.sent(&append.commit, &append.document));
    let documents: Vec<Arc<RawDocumentBuf>> = due.iter().map(|append| Arc::clone(&append.document)).collect();
    shared.batches.fetch_add(1, Ordering::Relaxed);
    let commits = shared.commits.clone();
    let sent = shared.store.attempt(async move { commits.insert_many(documents).ordered(false).await }).await;
    let outcomes = match sent {
        Ok(Ok(_)) => Outcomes::all_durable(),
        Ok(Err(error)) => Outcomes::of(shared, &error),
        Err(error) => Outcomes::unknown(error),
    };
    for (index, append) in due.into_iter().enumerate() {
        settle(shared, known, append, outcomes.of_commit(index));
    }
}

/// Answers those that are refused or there already, and gives those that are to be sent.
async fn admit_all(shared: &Arc<Shared>, known: &Known, group: Vec<Append>) -> Vec<Append> {
    let (mut due, unsure): (Vec<_>, Vec<_>) = group.into_iter().partition(|it| known.is_continued_by(&it.commit));
    let before: Vec<CommitId> = unsure.iter().filter_map(|append| previous(append.commit.id)).collect();
    let found = if before.is_empty() { Ok(HashMap::new()) } else { shared.commits_by_id(&before).await };
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
        let before = shared.commit_for_certain(before).await?;
        if before.is_some_and(|before| continues(commit, &before)) {
            return Ok(Admission::New);
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

fn settle(shared: &Arc<Shared>, known: &mut Known, append: Append, outcome: Outcome) {
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
