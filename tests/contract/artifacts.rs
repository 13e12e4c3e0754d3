//! Artifacts: kept under the hash of their bytes, durable, and erasable.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testledger::audit::{CleanError, clean};
use testledger_schemas::commit::{RecordedEvent, StreamHead};
use testledger_schemas::event::{ArtifactAttached, ArtifactContent};
use testledger_schemas::hash::Hash;
use testledger_schemas::{Erasable, Event, EventId};
use uuid::Uuid;

use crate::adapters::{self, Adapter, contract};
use crate::support::{commit_of, event, stream};

/// How many artifacts nobody has named for long.
const ROUNDS: u64 = 40;
/// Longer than anybody here takes from keeping an artifact to naming it.
const GRACE: Duration = Duration::from_secs(2);

/// An event that names an artifact.
fn attached(artifact: Hash) -> RecordedEvent {
    let content = Erasable::Kept(ArtifactContent { name: "output.txt".to_owned() });
    let event = ArtifactAttached { run: None, artifact, bytes: 1, media_type: "text/plain".to_owned(), content };
    RecordedEvent::write(EventId(Uuid::now_v7()), Uuid::new_v4().simple().to_string(), &Event::from(event)).unwrap()
}

contract! {
    async fn an_artifact_is_kept_under_the_hash_of_its_bytes(adapter: &Adapter) {
        let log = adapter.open().await;
        for bytes in [vec![], b"plan".to_vec(), vec![0, 255, 0], vec![7; 3 << 20]] {
            let hash = log.put_artifact(bytes.clone()).await.unwrap();
            assert_eq!(hash, Hash::of(&bytes));
            assert_eq!(log.put_artifact(bytes.clone()).await.unwrap(), hash);
            assert_eq!(log.get_artifact(hash).await.unwrap(), Some(bytes));
        }
        assert_eq!(log.get_artifact(Hash::of(b"another")).await.unwrap(), None);
        assert_eq!(log.last_page().await.unwrap().number, 0, "artifacts take no position");
    }

    async fn an_artifact_is_there_for_other_processes_and_later_ones(adapter: &Adapter) {
        let (one, two) = (adapter.open().await, adapter.open().await);
        let hash = one.put_artifact(b"output".to_vec()).await.unwrap();
        assert_eq!(two.get_artifact(hash).await.unwrap().as_deref(), Some(b"output".as_slice()));
        one.close().await;
        two.close().await;
        let later = adapter.open().await;
        assert_eq!(later.get_artifact(hash).await.unwrap().as_deref(), Some(b"output".as_slice()));
    }

    async fn an_erased_artifact_is_gone_and_erasing_again_is_success(adapter: &Adapter) {
        let log = adapter.open().await;
        let (gone, kept) = (log.put_artifact(b"leak".to_vec()).await.unwrap(), log.put_artifact(b"plan".to_vec()).await.unwrap());
        for _ in 0..2 {
            log.erase_artifacts(&[gone, Hash::of(b"never there")]).await.unwrap();
            assert_eq!(log.get_artifact(gone).await.unwrap(), None);
            assert!(log.get_artifact(kept).await.unwrap().is_some());
        }
        log.erase_artifacts(&[]).await.unwrap();
    }

    async fn artifacts_are_listed_by_their_hashes_with_their_sizes(adapter: &Adapter) {
        let log = adapter.open().await;
        let mut put: Vec<(Hash, u64)> = vec![];
        for size in [0_usize, 1, 100, 9 << 20, 3, 5] {
            put.push((log.put_artifact(vec![size as u8; size]).await.unwrap(), size as u64));
        }
        put.sort_unstable();
        for limit in [1, 2, 5, 6, 100] {
            let (mut found, mut after) = (vec![], None);
            loop {
                let listed = log.list_artifacts(after, limit).await.unwrap();
                assert!(listed.len() <= limit);
                let Some(last) = listed.last() else { break };
                after = Some(last.hash);
                found.extend(listed.iter().map(|artifact| (artifact.hash, artifact.bytes)));
                assert!(listed.iter().all(|artifact| artifact.age_ms < 240_000), "{listed:?}");
            }
            assert_eq!(found, put, "{limit} at once");
        }
    }

    async fn what_was_put_again_after_the_listing_stays(adapter: &Adapter) {
        let (log, other) = (adapter.open().await, adapter.open().await);
        let large = vec![9; 9 << 20];
        for bytes in [b"output".to_vec(), large] {
            let hash = log.put_artifact(bytes.clone()).await.unwrap();
            let listed = log.list_artifacts(None, 10).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            other.put_artifact(bytes.clone()).await.unwrap();
            log.remove_artifacts(&listed).await.unwrap();
            assert_eq!(log.get_artifact(hash).await.unwrap(), Some(bytes));
            let listed = log.list_artifacts(None, 10).await.unwrap();
            for _ in 0..2 {
                log.remove_artifacts(&listed).await.unwrap();
                assert_eq!(log.get_artifact(hash).await.unwrap(), None);
            }
            assert_eq!(log.list_artifacts(None, 10).await.unwrap(), []);
        }
    }

    /// Cleaning runs again and again while others keep bytes and name them, old ones among them: what is named is there.
    async fn cleaning_never_removes_what_is_named(adapter: &Adapter) {
        let (log, cleaner) = (adapter.open().await, adapter.open().await);
        let old: Vec<Vec<u8>> = (0..ROUNDS).map(|round| format!("old {round}").into_bytes()).collect();
        for bytes in &old {
            log.put_artifact(bytes.clone()).await.unwrap();
        }
        tokio::time::sleep(GRACE * 2).await;
        let done = AtomicBool::new(false);
        let clean_on = async {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                removed += clean(&*cleaner, GRACE, false).await.unwrap().removed;
            }
            removed
        };
        let name_some = async {
            let (mut head, mut named) = (StreamHead::EMPTY, vec![]);
            for (round, bytes) in old.iter().enumerate().filter(|(round, _)| round % 2 == 0) {
                // One that was there long before, and a new one.
                for bytes in [bytes.clone(), format!("new {round}").into_bytes()] {
                    let artifact = log.put_artifact(bytes).await.unwrap();
                    let commit = commit_of(stream(1), head, vec![attached(artifact)]);
                    log.append(commit.clone()).await.unwrap();
                    head = commit.head();
                    named.push(artifact);
                }
            }
            done.store(true, Ordering::Relaxed);
            named
        };
        let (removed, named) = tokio::join!(clean_on, name_some);
        for artifact in &named {
            assert!(log.get_artifact(*artifact).await.unwrap().is_some(), "{artifact}");
        }
        let last = clean(&*cleaner, Duration::ZERO, true).await.unwrap();
        assert_eq!((last.artifacts - last.unnamed, last.removed), (named.len() as u64, 0), "{last:?}");
        let left = clean(&*cleaner, Duration::ZERO, false).await.unwrap();
        // Some were taken away before somebody put them again, and named them.
        assert!(removed + left.removed >= ROUNDS / 2, "{removed} and {left:?}");
        let listed = log.list_artifacts(None, 1_000).await.unwrap();
        let mut there = named.clone();
        there.sort_unstable();
        assert_eq!(listed.iter().map(|artifact| artifact.hash).collect::<Vec<_>>(), there);
    }

    async fn nothing_is_removed_while_a_commit_cannot_be_read(adapter: &Adapter) {
        let log = adapter.open().await;
        let hash = log.put_artifact(b"output".to_vec()).await.unwrap();
        let mut event = event("of a later program");
        event.type_name = "SomethingNew".to_owned();
        log.append(commit_of(stream(1), StreamHead::EMPTY, vec![event])).await.unwrap();
        let refused = clean(&*log, Duration::ZERO, false).await.unwrap_err();
        assert!(matches!(refused, CleanError::Unreadable { .. }), "{refused}");
        assert!(log.get_artifact(hash).await.unwrap().is_some());
    }
}
