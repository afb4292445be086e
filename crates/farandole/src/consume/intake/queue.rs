//! The queue of a partition's worker: bounded in records and bytes.
//!
//! **Guarantee.** A record of any size gets through. An empty queue takes it whatever it is, and what would let a record in is the
//! same rule that ends its partition's pause, so nobody is told to go on and then turned away.
//!
//! **How it would fail without**: judged by what waits alone, a partition goes on although the record that was too much before
//! is still too much; it is turned away, its pause has ended, and the partition is mute with nothing to say why.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::wire::record::Record;

/// Records that wait for a worker. A full queue costs a pause, and has the client fetch once more what it had at hand: so it holds
/// several batches, of records as well as of bytes.
const WAITING: usize = 4_096;
/// Batches of bytes that wait.
const BATCHES: usize = 4;

/// The consumer's end.
pub(super) struct Queue {
    records: mpsc::Sender<Record>,
    /// Bytes that wait.
    bytes: Arc<AtomicUsize>,
    /// Bytes of a batch.
    batch: usize,
}

/// The worker's end.
pub(super) struct Waiting {
    records: mpsc::Receiver<Record>,
    bytes: Arc<AtomicUsize>,
}

/// A queue for batches of `batch` bytes.
pub(super) fn queue(batch: usize) -> (Queue, Waiting) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Queue { records: sender, bytes: Arc::clone(&bytes), batch }, Waiting { records: receiver, bytes })
}

impl Queue {
    /// Whether bytes of this size may join what waits.
    fn fits(&self, size: usize) -> bool {
        let waiting = self.bytes.load(Ordering::Relaxed);
        waiting == 0 || waiting.saturating_add(size) <= self.batch.saturating_mul(BATCHES)
    }

    /// Queues a record for the worker, unless [`BATCHES`] wait already.
    pub(super) fn take(&self, record: Record) -> Result<(), TrySendError<Record>> {
        let size = record.size();
        if !self.records.is_closed() && !self.fits(size) {
            return Err(TrySendError::Full(record));
        }
        // Counted first: the worker may be quicker than the next line.
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.records.try_send(record).inspect_err(|_| {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        })
    }

    /// Whether a record that found no room is to be tried again: the queue is half empty, since a pause costs a fetch and
    /// shouldn't follow at once, or its worker has ended.
    pub(super) fn goes_on(&self, record: &Record) -> bool {
        let half = self.records.capacity() >= WAITING / 2
            && self.bytes.load(Ordering::Relaxed) <= self.batch.saturating_mul(BATCHES / 2);
        self.records.is_closed() || half && self.fits(record.size())
    }
}

impl Waiting {
    /// The next record; none when the consumer has let go.
    pub(super) async fn next(&mut self) -> Option<Record> {
        let record = self.records.recv().await;
        self.left(record)
    }

    /// The next record, if one is there.
    pub(super) fn ready(&mut self) -> Option<Record> {
        let record = self.records.try_recv().ok();
        self.left(record)
    }

    fn left(&self, record: Option<Record>) -> Option<Record> {
        record.inspect(|record| {
            self.bytes.fetch_sub(record.size(), Ordering::Relaxed);
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(size: usize) -> Record {
        Record { topic: String::new(), partition: 0, offset: 0, key: None, value: Some(vec![0; size]), headers: Vec::new() }
    }

    proptest! {
        /// As the consumer does it: what finds no room waits, and nothing else comes before it is in. However large the records are
        /// and whenever the worker takes one, all get through.
        #[test]
        fn records_of_any_size_get_through(sizes in prop::collection::vec(0_usize..400, 1..60), batch in 0_usize..200, takes in prop::collection::vec(0_usize..4, 1..20)) {
            let (queue, mut waiting) = queue(batch);
            let (mut coming, mut spill, mut through) = (sizes.iter().copied(), None, 0);
            for round in 0..sizes.len() * 10 + 10 {
                for _ in 0..takes[round % takes.len()].max(usize::from(round % 10 == 9)) {
                    through += usize::from(waiting.ready().is_some());
                }
                if let Some(record) = spill.take_if(|record: &mut Record| queue.goes_on(record)) {
                    prop_assert!(queue.take(record).is_ok(), "told to go on, and turned away");
                }
                while spill.is_none() {
                    let Some(size) = coming.next() else { break };
                    spill = match queue.take(record(size)) {
                        Ok(()) => None,
                        Err(TrySendError::Full(record)) => Some(record),
                        Err(TrySendError::Closed(_)) => unreachable!(),
                    };
                }
            }
            prop_assert_eq!((through, queue.bytes.load(Ordering::Relaxed)), (sizes.len(), 0));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (queue, mut waiting) = queue(100);
        assert!(queue.take(record(1_000)).is_ok(), "an empty queue takes anything");
        assert!(matches!(queue.take(record(1)), Err(TrySendError::Full(_))));
        assert!(waiting.ready().is_some());
        assert_eq!((0..20).filter(|_| queue.take(record(50)).is_ok()).count(), 2 * BATCHES, "two records a batch");
        drop(waiting);
        assert!(queue.goes_on(&record(1_000)), "a worker that has ended is started again from its position");
        assert!(matches!(queue.take(record(1_000)), Err(TrySendError::Closed(_))));
    }
}
