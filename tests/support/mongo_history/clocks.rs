//! The clocks of two writers are an hour off, one ahead and one behind: nothing of the log goes by them.

use testledger::event_store::EventLog;
use testledger::ports::clock::{Clock, SystemClock};
use testledger_schemas::Timestamp;
use testledger_schemas::commit::{Commit, Envelope, StreamHead};

use super::Found;
use super::appending::{Acknowledged, append};
use crate::mongo;
use crate::support::{event, stream};

/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// So many streams.
const STREAMS: usize = 7;

/// Two writers append in turn, `count` commits, and to each other's streams; each commit is there before the next begins.
pub async fn an_hour_off(count: usize) -> Found {
    let place = mongo::database().await;
    let writers = [(place.open().await, HOUR_MS), (place.open().await, -HOUR_MS)];
    let mut acknowledged = Acknowledged::default();
    let mut heads = [StreamHead::EMPTY; STREAMS];
    for number in 0..count {
        let (log, off) = &writers[number % writers.len()];
        let at = number % STREAMS;
        let commit = commit_at(at as u64, heads[at], SystemClock.now().unix_ms() + off);
        append(log, &commit).await;
        heads[at] = commit.head();
        acknowledged.add(&commit);
    }
    let appended: Vec<_> = acknowledged.commits.iter().map(|(id, _)| *id).collect();
    let found = Found::examine(&*writers[0].0, acknowledged, count).await;
    assert_eq!(found.whole.order, appended, "the order is the one in which they became durable");
    for (log, _) in writers {
        log.close().await;
    }
    found
}

fn commit_at(number: u64, head: StreamHead, at_ms: i64) -> Commit {
    let envelope = Envelope {
        recorded_at: Timestamp::from_unix_ms(at_ms),
        actor: "ada".to_owned(),
        worker: None,
        claim_epoch: None,
        correlation_id: None,
        causation_id: None,
    };
    Commit::seal(stream(number), head, envelope, vec![event("a clock that is off")]).unwrap()
}
