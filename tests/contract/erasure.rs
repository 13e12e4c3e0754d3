//! Promise 6: content may be erased; its hash stays, and everything still verifies.

use testledger::event_store::StoreError;
use testledger_schemas::commit::{CommitId, StreamHead};

use crate::adapters::{self, Adapter, contract};
use crate::support::{bare_event, check_whole, commit, commit_of, event, stream, until_position};

contract! {
    async fn erased_content_is_gone_and_its_hash_stays(adapter: &Adapter) {
        let (log, other) = (adapter.open().await, adapter.open().await);
        let commit = commit_of(stream(1), StreamHead::EMPTY, vec![event("leak"), event("kept"), bare_event()]);
        log.append(commit.clone()).await.unwrap();
        let leak = commit.events[0].event_id;
        for _ in 0..2 {
            log.erase_content(commit.id, &[leak]).await.unwrap();
        }
        for log in [&log, &other] {
            let read = log.read_stream(stream(1), 0, 9).await.unwrap().remove(0);
            assert!(read.events[0].is_erased());
            assert_eq!(read.events[0].content_hash, commit.events[0].content_hash);
            assert_eq!(read.events[1..], commit.events[1..]);
            assert_eq!(read.hash, commit.hash);
            assert_eq!(read.check(), Ok(()));
            read.events[0].read().unwrap();
        }
        until_position(&*log, 3).await;
        assert_eq!(check_whole(&*log).await, [commit.id]);
    }

    async fn an_erased_commit_may_be_sent_again_and_stays_erased(adapter: &Adapter) {
        let log = adapter.open().await;
        let first = commit(stream(1), StreamHead::EMPTY, 1);
        log.append(first.clone()).await.unwrap();
        log.erase_content(first.id, &[first.events[0].event_id]).await.unwrap();
        log.append(first.clone()).await.unwrap();
        assert!(log.read_commits(&[first.id]).await.unwrap()[0].as_ref().unwrap().events[0].is_erased());
        log.append(commit(stream(1), first.head(), 1)).await.unwrap();
        assert_eq!(log.stream_head(stream(1)).await.unwrap().number, 2);
    }

    async fn only_a_commit_that_is_there_can_be_erased(adapter: &Adapter) {
        let log = adapter.open().await;
        let missing = CommitId { stream: stream(1), number: 1 };
        assert!(matches!(log.erase_content(missing, &[]).await, Err(StoreError::Refused(_))));
    }
}
