//! Takes away artifacts that nobody refers to: of runs that were killed between keeping bytes and naming them.
//!
//! It never takes away what is named. Whoever names an artifact has put it before, and to put it again renews its time. So:
//! first the artifacts are listed with their times, then every commit is read, and then those are removed that no event
//! names and that were put long ago, each only if its time is still the one that was listed. An event that comes after its
//! stream was read names what was put after the listing, or shortly before it: that is too young.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use testledger_schemas::hash::Hash;

use crate::audit::artifacts::artifacts_of;
use crate::event_store::{EventLog, StoreError, StoredArtifact};

/// How many artifacts are listed, and removed, at once.
const ARTIFACTS_AT_ONCE: usize = 500;
/// How many commits are read at once.
const COMMITS_AT_ONCE: usize = 500;

/// What a cleaning found and did: the output of `artifacts clean --json`. Sizes are in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Cleaned {
    /// How many artifacts there were.
    pub artifacts: u64,
    /// How large they were together.
    pub bytes: u64,
    /// How many of them were put so lately that nothing is said of them.
    pub young: u64,
    /// How many of the others no event names.
    pub unnamed: u64,
    /// How large those were together.
    pub unnamed_bytes: u64,
    /// How many are gone; the others of the unnamed ones were put again meanwhile, or nothing was to be removed.
    pub removed: u64,
    /// How large those were together.
    pub removed_bytes: u64,
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The log could not be read or changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What cannot be read may name any artifact.
    #[error(
        "the commit {commit} cannot be read ({why}), and may name any artifact: nothing was removed. Use the program that \
         wrote it, or see `testledger audit verify`"
    )]
    Unreadable {
        /// The commit.
        commit: String,
        /// Why.
        why: String,
    },
}

/// Removes the artifacts that no event names and that were put at least `grace` ago; with `dry_run`, only counts them.
/// `grace` has to be longer than anybody takes from keeping an artifact to naming it.
///
/// # Errors
/// [`CleanError`].
pub async fn clean(log: &dyn EventLog, grace: Duration, dry_run: bool) -> Result<Cleaned, CleanError> {
    let (mut cleaned, mut unnamed) = (Cleaned::default(), BTreeMap::new());
    let mut after = None;
    loop {
        let listed = log.list_artifacts(after, ARTIFACTS_AT_ONCE).await?;
        let Some(last) = listed.last() else { break };
        after = Some(last.hash);
        for artifact in listed {
            cleaned.artifacts += 1;
            cleaned.bytes += artifact.bytes;
            if u128::from(artifact.age_ms) >= grace.as_millis() {
                unnamed.insert(artifact.hash, artifact);
            } else {
                cleaned.young += 1;
            }
        }
    }
    pass_over_named(log, &mut unnamed).await?;
    cleaned.unnamed = unnamed.len() as u64;
    cleaned.unnamed_bytes = unnamed.values().map(|artifact| artifact.bytes).sum();
    if !dry_run {
        let unnamed: Vec<StoredArtifact> = unnamed.into_values().collect();
        for chunk in unnamed.chunks(ARTIFACTS_AT_ONCE) {
            log.remove_artifacts(chunk).await?;
            for artifact in gone(log, chunk).await? {
                cleaned.removed += 1;
                cleaned.removed_bytes += artifact.bytes;
            }
        }
    }
    Ok(cleaned)
}

/// Leaves only artifacts that no event names.
async fn pass_over_named(log: &dyn EventLog, artifacts: &mut BTreeMap<Hash, StoredArtifact>) -> Result<(), CleanError> {
    let mut after = None;
    while !artifacts.is_empty() {
        let rows = log.scan_commits(after, COMMITS_AT_ONCE).await?;
        let is_end = rows.len() < COMMITS_AT_ONCE;
        for row in rows {
            let unreadable = |why: String| CleanError::Unreadable { commit: row.id.clone(), why };
            let commit = row.commit.map_err(unreadable)?;
            after = Some(commit.id);
            for event in &commit.events {
                let event = event.read().map_err(|error| unreadable(error.to_string()))?;
                for named in artifacts_of(&event) {
                    artifacts.remove(&named);
                }
            }
        }
        if is_end {
            break;
        }
    }
    Ok(())
}

/// Those of some artifacts, in the order of their hashes, that are not there any more.
async fn gone(log: &dyn EventLog, artifacts: &[StoredArtifact]) -> Result<Vec<StoredArtifact>, StoreError> {
    let mut gone = vec![];
    for artifact in artifacts {
        if log.get_artifact(artifact.hash).await?.is_none() {
            gone.push(*artifact);
        }
    }
    Ok(gone)
}
