//! What waits for the writer of a log: how much of it may wait, and what of it goes together.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use testledger_schemas::ids::StreamId;
use tokio::sync::Semaphore;

/// So many KiB of jobs may wait for the writer; who comes then waits for room.
const QUEUE_KIB: usize = 128 << 10;
/// What every job counts at least, in KiB: it bounds the number of small ones to 8,192.
const LEAST_KIB: usize = 16;
/// A batch has at most so many jobs: it is also the bound of a page's entries.
const MAX_BATCH_JOBS: usize = 256;
/// A batch has at most so many bytes, unless one job alone has more.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// Something that waits for the writer.
pub(super) trait Waiting {
    /// About how many bytes it holds.
    fn bytes(&self) -> usize;
    /// The stream it appends to, if it is an append.
    fn stream(&self) -> Option<StreamId>;
}

/// The room in the queue.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(QUEUE_KIB))
}

/// How much room a job of so many bytes takes.
pub(super) fn room_for(bytes: usize) -> u32 {
    u32::try_from((LEAST_KIB + bytes / 1024).min(QUEUE_KIB)).unwrap_or(u32::MAX)
}

/// The jobs that go together: in order, at most one commit of each stream and none of a `busy` one, the others stay for
/// the next batch.
pub(super) fn next_batch<W: Waiting>(waiting: &mut VecDeque<W>, busy: &HashSet<StreamId>) -> Vec<W> {
    let (mut batch, mut bytes, mut streams) = (Vec::new(), 0, busy.clone());
    let mut stay = VecDeque::new();
    for job in std::mem::take(waiting) {
        let fits = batch.is_empty() || (batch.len() < MAX_BATCH_JOBS && bytes + job.bytes() <= MAX_BATCH_BYTES);
        let is_alone = job.stream().is_none_or(|stream| streams.insert(stream));
        if fits && is_alone {
            bytes += job.bytes();
            batch.push(job);
        } else {
            stay.push_back(job);
        }
    }
    *waiting = stay;
    batch
}

#[cfg(test)]
mod tests {
    use testledger_schemas::ExecutionId;
    use uuid::Uuid;

    use super::*;

    /// Stream (0 for a change that is no append), number, bytes.
    #[derive(Clone, Copy)]
    struct Job(u128, u64, usize);

    impl Waiting for Job {
        fn bytes(&self) -> usize {
            self.2
        }

        fn stream(&self) -> Option<StreamId> {
            (self.0 > 0).then(|| ExecutionId(Uuid::from_u128(self.0)).into())
        }
    }

    fn batches(jobs: Vec<Job>) -> Vec<Vec<(u128, u64)>> {
        let (mut waiting, mut batches) = (VecDeque::from(jobs), Vec::new());
        while !waiting.is_empty() {
            batches.push(next_batch(&mut waiting, &HashSet::new()).into_iter().map(|job| (job.0, job.1)).collect());
        }
        batches
    }

    #[test]
    fn a_batch_has_one_commit_of_a_stream_and_keeps_their_order() {
        let jobs = vec![Job(1, 1, 9), Job(2, 1, 9), Job(1, 2, 9), Job(0, 0, 9), Job(1, 3, 9), Job(2, 2, 9)];
        let expected = [vec![(1, 1), (2, 1), (0, 0)], vec![(1, 2), (2, 2)], vec![(1, 3)]];
        assert_eq!(batches(jobs), expected);
    }

    #[test]
    fn a_busy_stream_stays_and_keeps_its_order() {
        let mut waiting = VecDeque::from(vec![Job(1, 2, 9), Job(2, 1, 9), Job(1, 3, 9)]);
        let busy = HashSet::from([ExecutionId(Uuid::from_u128(1)).into()]);
        let batch = next_batch(&mut waiting, &busy);
        assert_eq!(batch.iter().map(|job| (job.0, job.1)).collect::<Vec<_>>(), [(2, 1)]);
        assert_eq!(waiting.iter().map(|job| (job.0, job.1)).collect::<Vec<_>>(), [(1, 2), (1, 3)]);
    }

    #[test]
    fn a_batch_is_bounded_and_one_large_job_goes_alone() {
        let many = batches((1..=600).map(|stream| Job(stream, 1, 9)).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 88]);
        let large = MAX_BATCH_BYTES + 1;
        let sizes = batches(vec![Job(1, 1, large), Job(2, 1, large), Job(3, 1, 9), Job(1, 2, 9)]);
        assert_eq!(sizes, [vec![(1, 1)], vec![(2, 1)], vec![(3, 1), (1, 2)]]);
    }
}
