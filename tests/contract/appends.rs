//! Promises 1 and 2: durable, atomic, conflicts with the actual version, the same commit again is success.

use std::sync::Arc;

use futures::future::join_all;
use testledger::event_store::{AppendError, SharedLog};
use testledger_schemas::commit::{Commit, CommitId, StreamHead};
use testledger_schemas::hash::Hash;

use crate::adapters::{self, Adapter, contract};
use crate::support::{append_many, bare_event, check_whole, commit, commit_of, event, stream, until_position};

/// So many appenders at once.
const MANY: u64 = 64;

contract! {
    async fn an_acknowledged_commit_is_read_back_as_it_was(adapter: &Adapter) {
        let log = adapter.open().await;
        let commit = commit(stream(1), StreamHead::EMPTY, 3);
        log.append(commit.clone()).await.unwrap();
        assert_eq!(log.read_stream(stream(1), 0, 10).await.unwrap(), std::slice::from_ref(&commit));
        assert_eq!(log.stream_head(stream(1)).await.unwrap(), commit.head());
        assert_eq!(log.stream_head(stream(2)).await.unwrap(), StreamHead::EMPTY);
    }

    async fn a_wrong_version_is_a_conflict_with_the_actual_one(adapter: &Adapter) {
        let log = adapter.open().await;
        let first = commit(stream(1), StreamHead::EMPTY, 3);
        log.append(first.clone()).await.unwrap();
        let too_early = commit(stream(1), StreamHead::EMPTY, 1);
        assert_conflict(&log, too_early, 0, 3).await;
        let too_late = commit(stream(1), StreamHead { number: 4, version: 9, hash: Hash::ZERO }, 1);
        assert_conflict(&log, too_late, 9, 3).await;
        let of_no_stream = commit(stream(2), first.head(), 1);
        assert_conflict(&log, of_no_stream, 3, 0).await;
        until_position(&*log, 3).await;
        assert_eq!(check_whole(&*log).await, [first.id]);
    }

    async fn the_same_commit_again_is_success_for_ever(adapter: &Adapter) {
        let log = adapter.open().await;
        let commits = append_many(&*log, stream(1), 3).await;
        for commit in &commits {
            log.append(commit.clone()).await.unwrap();
        }
        until_position(&*log, 3).await;
        assert_eq!(check_whole(&*log).await.len(), 3);
        assert_eq!(*log.head().borrow(), 3);
    }

    async fn the_same_commit_at_the_same_time_is_there_once(adapter: &Adapter) {
        let (one, two) = (adapter.open().await, adapter.open().await);
        let commit = commit(stream(1), StreamHead::EMPTY, 2);
        let sends = (0..MANY).map(|n| if n % 2 == 0 { one.append(commit.clone()) } else { two.append(commit.clone()) });
        join_all(sends).await.into_iter().for_each(|answer| answer.unwrap());
        until_position(&*one, 2).await;
        assert_eq!(check_whole(&*one).await, [commit.id]);
    }

    async fn a_commit_that_breaks_a_rule_is_refused(adapter: &Adapter) {
        let log = adapter.open().await;
        let first = commit(stream(1), StreamHead::EMPTY, 1);
        log.append(first.clone()).await.unwrap();
        let unchained = commit(stream(1), StreamHead { hash: Hash::ZERO, ..first.head() }, 1);
        assert_invalid(&log, unchained).await;
        let misnumbered = commit(stream(1), StreamHead { number: 7, ..first.head() }, 1);
        assert_invalid(&log, misnumbered).await;
        let good = commit(stream(1), first.head(), 1);
        assert_invalid(&log, Commit { actor: "eve".to_owned(), ..good.clone() }).await;
        assert_invalid(&log, Commit { events: vec![], ..good.clone() }).await;
        let mut forged = good.clone();
        forged.events[0].content.as_mut().unwrap().nonce = "00".to_owned();
        assert_invalid(&log, forged).await;
        let mut number_zero = good.clone();
        number_zero.id = CommitId { number: 0, ..good.id };
        number_zero.hash = number_zero.computed_hash().unwrap();
        assert_invalid(&log, number_zero).await;
        let mut version_zero = Commit { first_version: 0, ..good.clone() };
        version_zero.hash = version_zero.computed_hash().unwrap();
        assert_invalid(&log, version_zero).await;
        assert_eq!(log.read_stream(stream(1), 0, 9).await.unwrap(), [first]);
    }

    async fn a_commit_above_the_limit_is_refused_and_one_below_is_kept(adapter: &Adapter) {
        let log = adapter.open().await;
        let large = commit_of(stream(1), StreamHead::EMPTY, vec![event(&"x".repeat(1_000_000))]);
        log.append(large.clone()).await.unwrap();
        let mut larger = large.clone();
        larger.id.stream = stream(2);
        larger.events.push(event(&"y".repeat(100_000)));
        larger.hash = larger.computed_hash().unwrap();
        assert_invalid(&log, larger).await;
        assert_eq!(log.read_stream(stream(1), 0, 9).await.unwrap(), [large]);
    }

    async fn many_appenders_on_many_streams_all_succeed(adapter: &Adapter) {
        let log = adapter.open().await;
        let tasks = (0..MANY).map(|n| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { append_many(&*log, stream(n), 5).await.len() })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap(), 5);
        }
        until_position(&*log, MANY * 5).await;
        assert_eq!(check_whole(&*log).await.len() as u64, MANY * 5);
    }

    async fn many_appenders_on_one_stream_have_one_winner_for_each_version(adapter: &Adapter) {
        let logs = [adapter.open().await, adapter.open().await];
        let mut head = StreamHead::EMPTY;
        for round in 0..5 {
            let rivals: Vec<_> = (0..MANY).map(|_| commit_of(stream(1), head, vec![bare_event()])).collect();
            let tries = rivals.iter().enumerate().map(|(n, rival)| logs[n % 2].append(rival.clone()));
            let answers = join_all(tries).await;
            let winners: Vec<_> = rivals.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).collect();
            assert_eq!(winners.len(), 1, "round {round}");
            for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                let AppendError::Conflict { expected, actual, .. } = answer else { panic!("{answer}") };
                assert_eq!((*expected, *actual), (round, round + 1));
            }
            head = winners[0].0.head();
            assert_eq!(logs[0].stream_head(stream(1)).await.unwrap(), head);
        }
        until_position(&*logs[0], 5).await;
        assert_eq!(check_whole(&*logs[0]).await.len(), 5);
    }

    async fn a_conflict_in_a_batch_fails_alone(adapter: &Adapter) {
        let log = adapter.open().await;
        append_many(&*log, stream(0), 1).await;
        let commits: Vec<_> = (0..MANY).map(|n| commit(stream(n), StreamHead::EMPTY, 1)).collect();
        let answers = join_all(commits.iter().map(|commit| log.append(commit.clone()))).await;
        assert!(matches!(answers[0], Err(AppendError::Conflict { expected: 0, actual: 1, .. })));
        assert!(answers[1..].iter().all(Result::is_ok));
        until_position(&*log, MANY).await;
        assert_eq!(check_whole(&*log).await.len() as u64, MANY);
    }

    async fn what_a_dropped_future_began_is_whole_or_not_there(adapter: &Adapter) {
        let log = adapter.open().await;
        let commits: Vec<_> = (0..MANY).map(|n| commit(stream(n), StreamHead::EMPTY, 2)).collect();
        for (n, commit) in commits.iter().enumerate() {
            let append = log.append(commit.clone());
            // Polled once and dropped, or given a moment and dropped.
            let moment = std::time::Duration::from_micros(n as u64 * 20);
            drop(tokio::time::timeout(moment, append).await);
        }
        // The outcome is unknown: the same commit may be sent again.
        join_all(commits.iter().map(|commit| log.append(commit.clone()))).await.into_iter().for_each(|a| a.unwrap());
        until_position(&*log, MANY * 2).await;
        assert_eq!(check_whole(&*log).await.len() as u64, MANY);
    }

    async fn everything_is_there_for_who_opens_the_log_later(adapter: &Adapter) {
        let log = adapter.open().await;
        let commits = append_many(&*log, stream(1), 20).await;
        let page_zero = log.read_pages(0, 1).await.unwrap();
        log.close().await;
        let later = adapter.open().await;
        assert_eq!(later.read_stream(stream(1), 0, 100).await.unwrap(), commits);
        assert_eq!(later.read_pages(0, 1).await.unwrap(), page_zero);
        until_position(&*later, 20).await;
        append_many(&*later, stream(1), 1).await;
        until_position(&*later, 21).await;
        assert_eq!(check_whole(&*later).await.len(), 21);
    }

    async fn closing_does_what_was_begun_and_refuses_the_rest(adapter: &Adapter) {
        let log = adapter.open().await;
        let commits: Vec<_> = (0..MANY).map(|n| commit(stream(n), StreamHead::EMPTY, 1)).collect();
        let appends: Vec<_> = commits.iter().map(|commit| tokio::spawn(append(&log, commit.clone()))).collect();
        log.append(commit(stream(MANY), StreamHead::EMPTY, 1)).await.unwrap();
        log.close().await;
        let later = adapter.open().await;
        for (commit, answer) in commits.iter().zip(appends) {
            let acknowledged = answer.await.unwrap().is_ok();
            let there = later.read_commits(&[commit.id]).await.unwrap()[0].is_some();
            assert!(there || !acknowledged, "{} was acknowledged and is lost", commit.id);
        }
        assert!(log.append(commit(stream(99), StreamHead::EMPTY, 1)).await.is_err());
        assert!(log.stream_head(stream(1)).await.is_err());
        log.close().await;
    }
}

fn append(log: &SharedLog, commit: Commit) -> impl Future<Output = Result<(), AppendError>> + use<> {
    let log = Arc::clone(log);
    async move { log.append(commit).await }
}

async fn assert_conflict(log: &SharedLog, commit: Commit, expected: u64, actual: u64) {
    let stream = commit.id.stream;
    match log.append(commit).await {
        Err(AppendError::Conflict { stream: s, expected: e, actual: a }) => {
            assert_eq!((s, e, a), (stream, expected, actual));
        }
        other => panic!("{other:?}"),
    }
}

async fn assert_invalid(log: &SharedLog, commit: Commit) {
    let id = commit.id;
    match log.append(commit).await {
        Err(AppendError::Invalid { id: refused, .. }) => assert_eq!(refused, id),
        other => panic!("{other:?}"),
    }
}
