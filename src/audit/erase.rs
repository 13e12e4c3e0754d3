//! Lawful erasure: first the log says what is erased, by whom and on what grounds; then the content goes.
//!
//! Doing it again finishes what a crash cut short: an event that a `DataErased` names already is not named again, and
//! taking away what is gone is success.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use testledger_schemas::Erasable;
use testledger_schemas::commit::{Commit, CommitId, Envelope, RecordedEvent, SealError};
use testledger_schemas::event::{DataErased, ErasureContent, Event};
use testledger_schemas::hash::Hash;
use testledger_schemas::ids::{EventId, StreamId};

use crate::audit::artifacts::artifacts_of;
use crate::event_store::{AppendError, EventLog, StoreError};
use crate::ports::clock::Clock;
use crate::ports::ids::Ids;

/// How many commits or pages are read at once.
const AT_ONCE: usize = 64;
/// How many events one commit of `DataErased` has at the most.
const EVENTS_PER_COMMIT: usize = 200;
/// How often an append is decided anew because somebody else was faster.
const MAX_CONFLICTS: u32 = 100;

/// What is to be erased.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErasureRequest {
    /// The events whose content goes, each with its commit.
    pub events: Vec<(CommitId, EventId)>,
    /// On what grounds, in words. Do not name here what is to be forgotten.
    pub grounds: String,
    /// Who asks for it: an opaque id.
    pub actor: String,
}

/// What was erased.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ErasureDone {
    /// How many events have no content any more.
    pub events: u64,
    /// How many of them the log had named before.
    pub already_named: u64,
    /// Artifacts that were erased with them.
    pub artifacts: Vec<Hash>,
    /// Artifacts that stay, because other events name them.
    pub kept_artifacts: Vec<Hash>,
}

/// Why content could not be erased.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// There is no such event.
    #[error("the log has no event {event} in a commit {commit}")]
    NoSuchEvent {
        /// The commit that was named.
        commit: CommitId,
        /// The event that was named.
        event: EventId,
    },
    /// The event has nothing that can be erased.
    #[error("the event {event} has no content that could be erased")]
    NoContent {
        /// The event.
        event: EventId,
    },
    /// What is to be recorded cannot be written.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log could not be read, or the content not be taken away: run it again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Erases the content of events, and the artifacts that no other event names.
///
/// # Errors
/// [`ErasureError`]. Nothing is erased that the log does not name; run it again after an error.
pub async fn erase(
    log: &dyn EventLog,
    request: &ErasureRequest,
    ids: &dyn Ids,
    clock: &dyn Clock,
) -> Result<ErasureDone, ErasureError> {
    let targets = find_targets(log, &request.events).await?;
    let candidates: BTreeSet<Hash> = targets.iter().flat_map(|target| target.artifacts.iter().copied()).collect();
    let named: HashSet<(CommitId, EventId)> = targets.iter().map(|target| (target.commit, target.event)).collect();
    let kept = named_elsewhere(log, &candidates, &named).await?;
    let mut done = ErasureDone { kept_artifacts: kept.iter().copied().collect(), ..ErasureDone::default() };
    for (stream, targets) in by_stream(targets) {
        done.already_named += name_them(log, stream, &targets, request, &kept, (ids, clock)).await?;
        for (commit, events) in by_commit(&targets) {
            log.erase_content(commit, &events).await?;
            done.events += events.len() as u64;
        }
    }
    done.artifacts = candidates.difference(&kept).copied().collect();
    log.erase_artifacts(&done.artifacts).await?;
    Ok(done)
}

/// One event to be erased.
#[derive(Clone)]
struct Target {
    commit: CommitId,
    event: EventId,
    artifacts: Vec<Hash>,
}

async fn find_targets(log: &dyn EventLog, events: &[(CommitId, EventId)]) -> Result<Vec<Target>, ErasureError> {
    let wanted: BTreeSet<(CommitId, EventId)> = events.iter().copied().collect();
    let mut targets = Vec::with_capacity(wanted.len());
    for (commit, event) in wanted {
        let stored = log.read_commits(&[commit]).await?.pop().flatten();
        let found = stored.as_ref().and_then(|stored| stored.events.iter().find(|it| it.event_id == event));
        let recorded = found.ok_or(ErasureError::NoSuchEvent { commit, event })?;
        if recorded.content_hash.is_none() {
            return Err(ErasureError::NoContent { event });
        }
        // An event that cannot be read names nothing that this program knows of; its content can go all the same.
        let artifacts = recorded.read().map(|event| artifacts_of(&event)).unwrap_or_default();
        targets.push(Target { commit, event, artifacts });
    }
    Ok(targets)
}

/// Those of the candidates that events name which are not erased, neither now nor before.
async fn named_elsewhere(
    log: &dyn EventLog,
    candidates: &BTreeSet<Hash>,
    targets: &HashSet<(CommitId, EventId)>,
) -> Result<BTreeSet<Hash>, StoreError> {
    let mut kept = BTreeSet::new();
    if candidates.is_empty() {
        return Ok(kept);
    }
    let mut after = None;
    loop {
        let rows = log.scan_commits(after, AT_ONCE).await?;
        let is_end = rows.len() < AT_ONCE;
        for commit in rows.into_iter().filter_map(|row| row.commit.ok()) {
            after = Some(commit.id);
            let others = commit
                .events
                .iter()
                .filter(|event| !event.is_erased() && !targets.contains(&(commit.id, event.event_id)));
            kept.extend(others.flat_map(names).filter(|artifact| candidates.contains(artifact)));
        }
        if is_end {
            return Ok(kept);
        }
    }
}

fn names(event: &RecordedEvent) -> Vec<Hash> {
    event.read().map(|event| artifacts_of(&event)).unwrap_or_default()
}

fn by_stream(targets: Vec<Target>) -> BTreeMap<StreamId, Vec<Target>> {
    let mut streams: BTreeMap<StreamId, Vec<Target>> = BTreeMap::new();
    for target in targets {
        streams.entry(target.commit.stream).or_default().push(target);
    }
    streams
}

fn by_commit(targets: &[Target]) -> BTreeMap<CommitId, Vec<EventId>> {
    let mut commits: BTreeMap<CommitId, Vec<EventId>> = BTreeMap::new();
    for target in targets {
        commits.entry(target.commit).or_default().push(target.event);
    }
    commits
}

/// Appends what is erased to the stream; returns how many events were named before.
async fn name_them(
    log: &dyn EventLog,
    stream: StreamId,
    targets: &[Target],
    request: &ErasureRequest,
    kept: &BTreeSet<Hash>,
    (ids, clock): (&dyn Ids, &dyn Clock),
) -> Result<u64, ErasureError> {
    let mut already = 0;
    let before = named_before(log, stream).await?;
    let new: Vec<&Target> = targets.iter().filter(|target| !before.contains(&(target.commit, target.event))).collect();
    already += (targets.len() - new.len()) as u64;
    for targets in new.chunks(EVENTS_PER_COMMIT) {
        let mut conflicts = 0;
        loop {
            let commit = record(log, stream, targets, request, kept, (ids, clock)).await?;
            match log.append(commit).await {
                Ok(()) => break,
                Err(AppendError::Conflict { .. }) if conflicts < MAX_CONFLICTS => conflicts += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(already)
}

async fn record(
    log: &dyn EventLog,
    stream: StreamId,
    targets: &[&Target],
    request: &ErasureRequest,
    kept: &BTreeSet<Hash>,
    (ids, clock): (&dyn Ids, &dyn Clock),
) -> Result<Commit, ErasureError> {
    let erased = |target: &Target| DataErased {
        commit: target.commit,
        event_id: target.event,
        artifacts: target.artifacts.iter().filter(|artifact| !kept.contains(artifact)).copied().collect(),
        content: Erasable::Kept(ErasureContent { grounds: request.grounds.clone() }),
    };
    let events: Result<Vec<_>, _> = targets
        .iter()
        .map(|target| RecordedEvent::write(ids.event_id(), ids.nonce(), &Event::from(erased(target))))
        .collect();
    let envelope = Envelope {
        recorded_at: clock.now(),
        actor: request.actor.clone(),
        worker: None,
        claim_epoch: None,
        correlation_id: None,
        causation_id: None,
    };
    let head = log.stream_head(stream).await?;
    Ok(Commit::seal(stream, head, envelope, events.map_err(SealError::from)?)?)
}

/// The events that the stream's `DataErased` name so far.
async fn named_before(log: &dyn EventLog, stream: StreamId) -> Result<HashSet<(CommitId, EventId)>, StoreError> {
    let (mut named, mut after) = (HashSet::new(), 0);
    loop {
        let commits = log.read_stream(stream, after, AT_ONCE).await?;
        let Some(last) = commits.last() else { return Ok(named) };
        after = last.id.number;
        let events = commits.iter().flat_map(|commit| &commit.events);
        for event in events.filter_map(|event| event.read().ok()) {
            if let Event::DataErased(erased) = event {
                named.insert((erased.commit, erased.event_id));
            }
        }
    }
}
