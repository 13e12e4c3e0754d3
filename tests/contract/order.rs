//! Promise 3: positions are dense, keep each stream's order, are given once, and what was seen stays.

use std::sync::Arc;

use testledger_schemas::commit::{CommitId, StreamHead};
use testledger_schemas::page::Page;

use crate::adapters::{self, Adapter, contract};
use crate::support::{all_pages, append_many, check_whole, commit, stream, until_position};

contract! {
    async fn positions_are_dense_with_two_processes_appending(adapter: &Adapter) {
        let logs = [adapter.open().await, adapter.open().await];
        let tasks = (0..16).map(|n| {
            let log = Arc::clone(&logs[n % 2]);
            tokio::spawn(async move { append_many(&*log, stream(n as u64), 20).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        for log in &logs {
            until_position(&**log, 320).await;
            assert_eq!(*log.head().borrow(), 320);
            assert_eq!(check_whole(&**log).await.len(), 320);
        }
    }

    async fn both_processes_append_to_one_stream_in_turn(adapter: &Adapter) {
        let logs = [adapter.open().await, adapter.open().await];
        let mut head = StreamHead::EMPTY;
        for turn in 0..40 {
            let commit = commit(stream(1), head, 1 + turn % 3);
            logs[turn % 2].append(commit.clone()).await.unwrap();
            head = commit.head();
        }
        until_position(&*logs[0], head.version).await;
        assert_eq!(check_whole(&*logs[0]).await, (1..=40).map(|number| CommitId { stream: stream(1), number }).collect::<Vec<_>>());
    }

    async fn what_a_reader_has_seen_stays(adapter: &Adapter) {
        let (log, other) = (adapter.open().await, adapter.open().await);
        let appends = (0..4).map(|n| {
            let log = Arc::clone(if n % 2 == 0 { &log } else { &other });
            tokio::spawn(async move { append_many(&*log, stream(n), 30).await })
        });
        let appends = appends.collect::<Vec<_>>();
        let mut seen: Vec<Page> = Vec::new();
        while seen.last().is_none_or(|page| page.last_position() < 120) {
            let now = all_pages(&*log, 50).await.unwrap();
            assert!(now.len() >= seen.len() && now[..seen.len()] == seen);
            assert!(*log.head().borrow() <= 120);
            seen = now;
        }
        for append in appends {
            append.await.unwrap();
        }
        assert_eq!(check_whole(&*log).await.len(), 120);
    }

    async fn a_new_log_opened_by_many_at_once_has_one_page_0(adapter: &Adapter) {
        let opens = futures::future::join_all((0..8).map(|_| adapter.open())).await;
        let first = opens[0].last_page().await.unwrap();
        for log in &opens {
            assert_eq!(log.last_page().await.unwrap(), first);
        }
    }
}
