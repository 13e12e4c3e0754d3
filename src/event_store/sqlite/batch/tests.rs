//! Batches that fail: as a whole on a full disk, one commit alone otherwise.

use std::time::Duration;

use testledger_schemas::commit::StreamHead;
use testledger_schemas::event::{ExecutionReady, WorkerContent, WorkerStarted};
use testledger_schemas::{Erasable, Event, ExecutionId, RecordedEvent, Timestamp, commit::Envelope};
use tokio::sync::oneshot::{self, Receiver};
use uuid::Uuid;

use super::*;

fn commit(stream: u128, head: StreamHead, event: Event) -> Commit {
    let envelope = Envelope {
        recorded_at: Timestamp::from_unix_ms(0),
        actor: "ada".to_owned(),
        worker: None,
        claim_epoch: None,
        correlation_id: None,
        causation_id: None,
    };
    let event = RecordedEvent::write(EventId(Uuid::now_v7()), "00".to_owned(), &event).unwrap();
    Commit::seal(ExecutionId(Uuid::from_u128(stream)).into(), head, envelope, vec![event]).unwrap()
}

fn large(stream: u128) -> Commit {
    let content = Erasable::Kept(WorkerContent { host: "x".repeat(900_000) });
    let event = WorkerStarted { pid: 1, boot_id: String::new(), started_ticks: 1, version: String::new(), content };
    commit(stream, StreamHead::EMPTY, event.into())
}

fn job(commit: &Commit) -> (Job, Receiver<Result<(), AppendError>>) {
    let (reply, answer) = oneshot::channel();
    (Job::Append(Append { commit: commit.clone(), json: commit.to_json(), reply }), answer)
}

fn write_all(
    file: &LogFile,
    connection: &Connection,
    known: &mut Known,
    commits: &[Commit],
) -> Vec<Result<(), AppendError>> {
    let (jobs, answers): (Vec<_>, Vec<_>) = commits.iter().map(job).unzip();
    write(file, connection, known, jobs, || {});
    answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect()
}

#[test]
fn a_full_disk_takes_the_whole_batch_back_and_what_was_sent_again_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = LogFile::new(&folder.path().join("ledger.db"), Duration::from_secs(1));
    let connection = file.open_writer().unwrap();
    let mut known = Known::default();
    let small = commit(1, StreamHead::EMPTY, ExecutionReady { parent_epoch: None }.into());
    let stale = commit(
        3,
        StreamHead { version: 7, number: 7, ..StreamHead::EMPTY },
        ExecutionReady { parent_epoch: None }.into(),
    );
    let batch = [small.clone(), large(2), stale.clone()];
    // SQLite answers SQLITE_FULL at this many pages, as on a full disk.
    connection.query_row("PRAGMA max_page_count = 30", [], |_| Ok(())).unwrap();
    let full = write_all(&file, &connection, &mut known, &batch);
    assert!(matches!(&full[0], Err(AppendError::Store(StoreError::Unavailable(_)))), "{full:?}");
    assert!(matches!(&full[1], Err(AppendError::Store(StoreError::Unavailable(why))) if why.contains("full")));
    assert!(matches!(&full[2], Err(AppendError::Conflict { expected: 7, actual: 0, .. })), "{full:?}");
    let queries = Queries { connection: &connection, errors: &file.errors };
    assert_eq!((queries.scan(None, 9).unwrap().len(), queries.last_page().unwrap().number), (0, 0));

    connection.query_row("PRAGMA max_page_count = 1000000", [], |_| Ok(())).unwrap();
    let roomy = write_all(&file, &connection, &mut known, &batch);
    assert!(roomy[0].is_ok() && roomy[1].is_ok() && roomy[2].is_err(), "{roomy:?}");
    let page = queries.last_page().unwrap();
    assert_eq!((page.number, page.entries.len(), page.last_position()), (1, 2, 2));
}

#[test]
fn a_stream_that_cannot_be_read_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = LogFile::new(&folder.path().join("ledger.db"), Duration::from_secs(1));
    let connection = file.open_writer().unwrap();
    let first = commit(1, StreamHead::EMPTY, ExecutionReady { parent_epoch: None }.into());
    assert!(write_all(&file, &connection, &mut Known::default(), std::slice::from_ref(&first))[0].is_ok());
    connection.execute("UPDATE commits SET json = '{}'", []).unwrap();
    let next = [
        commit(1, first.head(), ExecutionReady { parent_epoch: None }.into()),
        commit(2, StreamHead::EMPTY, ExecutionReady { parent_epoch: None }.into()),
    ];
    let answers = write_all(&file, &connection, &mut Known::default(), &next);
    assert!(matches!(answers[0], Err(AppendError::Store(StoreError::Damaged(_)))), "{answers:?}");
    assert!(answers[1].is_ok(), "{answers:?}");
}
