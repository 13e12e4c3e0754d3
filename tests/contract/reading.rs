//! Reading: in pieces, from any place, in the order asked for, and woken up by whoever appends.

use testledger_schemas::commit::{CommitId, StreamHead};

use crate::adapters::{self, Adapter, contract};
use crate::support::{HANG, all_pages, append_many, commit, scan, stream, until_position};

contract! {
    async fn a_stream_is_read_in_pieces(adapter: &Adapter) {
        let log = adapter.open().await;
        // Neighbours in the order of ids on both sides: none of them may be read.
        append_many(&*log, stream(0), 3).await;
        append_many(&*log, stream(2), 3).await;
        let commits = append_many(&*log, stream(1), 25).await;
        for (after, limit) in [(0, 10), (10, 10), (20, 10), (25, 10), (24, 1), (0, 25), (7, 0)] {
            let read = log.read_stream(stream(1), after, limit).await.unwrap();
            let from = (after as usize).min(25);
            assert_eq!(read, commits[from..(from + limit).min(25)], "after {after}, limit {limit}");
        }
        assert!(log.read_stream(stream(1), u64::MAX, usize::MAX).await.unwrap().is_empty());
        assert!(log.read_stream(stream(7), 0, 10).await.unwrap().is_empty());
    }

    async fn commits_come_in_the_order_asked_for(adapter: &Adapter) {
        let log = adapter.open().await;
        let commits = append_many(&*log, stream(1), 3).await;
        let missing = CommitId { stream: stream(1), number: 4 };
        let asked = [commits[2].id, missing, commits[0].id, commits[2].id];
        let read = log.read_commits(&asked).await.unwrap();
        assert_eq!(read, [Some(commits[2].clone()), None, Some(commits[0].clone()), Some(commits[2].clone())]);
        assert!(log.read_commits(&[]).await.unwrap().is_empty());
    }

    async fn page_0_is_always_there(adapter: &Adapter) {
        let log = adapter.open().await;
        let page = log.last_page().await.unwrap();
        assert_eq!((page.number, page.last_position(), page.entries.len()), (0, 0, 0));
        assert!(page.header.is_some());
        assert_eq!(log.read_pages(0, 10).await.unwrap(), [page]);
        assert!(log.read_pages(1, 10).await.unwrap().is_empty());
        assert_eq!(log.page_of(0).await.unwrap(), None);
        assert_eq!(log.page_of(1).await.unwrap(), None);
        assert_eq!(*log.head().borrow(), 0);
    }

    async fn every_position_has_its_page_and_no_other_has_one(adapter: &Adapter) {
        let log = adapter.open().await;
        let mut head = StreamHead::EMPTY;
        for events in [1, 3, 2, 5, 1] {
            let commit = commit(stream(1), head, events);
            log.append(commit.clone()).await.unwrap();
            head = commit.head();
        }
        until_position(&*log, 12).await;
        let pages = all_pages(&*log, 2).await.unwrap();
        assert_eq!(pages, all_pages(&*log, 1000).await.unwrap());
        for position in 1..=12 {
            let page = log.page_of(position).await.unwrap().unwrap();
            assert!((page.first_position..page.next_position()).contains(&position), "{position}");
            assert_eq!(page, pages[page.number as usize]);
        }
        assert_eq!(log.page_of(13).await.unwrap(), None);
        assert_eq!(log.page_of(u64::MAX).await.unwrap(), None);
        assert_eq!(log.last_page().await.unwrap(), *pages.last().unwrap());
    }

    async fn the_head_wakes_up_readers_in_every_process(adapter: &Adapter) {
        let (writer, reader) = (adapter.open().await, adapter.open().await);
        let mut head = reader.head();
        assert_eq!(*head.borrow_and_update(), 0);
        for position in 1..=3 {
            append_many(&*writer, stream(1), 1).await;
            tokio::time::timeout(HANG, head.changed()).await.expect("hangs").unwrap();
            assert_eq!(*head.borrow_and_update(), position);
            let page = reader.page_of(position).await.unwrap();
            assert!(page.is_some(), "what the head tells can be read");
        }
    }

    async fn a_conflict_tells_the_reader_of_the_others_commit(adapter: &Adapter) {
        let (one, two) = (adapter.open().await, adapter.open().await);
        let mut head = two.head();
        append_many(&*one, stream(1), 4).await;
        two.append(commit(stream(1), StreamHead::EMPTY, 1)).await.unwrap_err();
        tokio::time::timeout(HANG, head.wait_for(|head| *head == 4)).await.expect("hangs").unwrap();
    }

    async fn a_scan_finds_every_commit_by_id(adapter: &Adapter) {
        let log = adapter.open().await;
        let mut ids = Vec::new();
        for number in [5, 1, 3] {
            ids.extend(append_many(&*log, stream(number), 40).await.into_iter().map(|commit| commit.id));
        }
        ids.sort();
        assert_eq!(scan(&*log).await, ids);
        let some = log.scan_commits(Some(ids[9]), 3).await.unwrap();
        assert_eq!(some.iter().map(|raw| raw.id.clone()).collect::<Vec<_>>(), ids[10..13].iter().map(CommitId::to_string).collect::<Vec<_>>());
    }
}
