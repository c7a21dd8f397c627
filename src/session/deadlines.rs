//! [`EarliestDeadlines`]: until when each worker can sleep.

use std::sync::atomic::Ordering;

use crate::base::sync::{AtomicU64, CachePadded};
use crate::base::{Timestamp, WorkerId};

/// For each worker, a time before which none of its stripes has a deadline, readable without a lock. It may
/// be too early, because deadlines can be postponed, but never too late.
pub(super) struct EarliestDeadlines(Box<[CachePadded<AtomicU64>]>);

impl EarliestDeadlines {
    /// Creates the table without deadlines, for at least one worker.
    pub(super) fn new(workers: u8) -> Self {
        Self((0..workers.max(1)).map(|_| CachePadded(AtomicU64::new(Timestamp::MAX.as_micros()))).collect())
    }

    pub(super) fn workers(&self) -> usize {
        self.0.len()
    }

    /// Returns the time for a worker; [`Timestamp::MAX`] if it has no deadline or does not exist.
    pub(super) fn get(&self, worker: WorkerId) -> Timestamp {
        self.place(worker).map_or(Timestamp::MAX, |at| Timestamp::from_micros(at.load(Ordering::Acquire)))
    }

    /// Enters a deadline of one of the worker's stripes, which the stripe already publishes.
    pub(super) fn enter(&self, worker: WorkerId, deadline: Timestamp) {
        if let Some(at) = self.place(worker) {
            at.fetch_min(deadline.as_micros(), Ordering::AcqRel);
        }
    }

    /// Clears the worker's entry before the worker scans its stripes. A deadline that is armed after the scan
    /// enters itself again.
    pub(super) fn clear(&self, worker: WorkerId) {
        if let Some(at) = self.place(worker) {
            at.swap(Timestamp::MAX.as_micros(), Ordering::AcqRel);
        }
    }

    fn place(&self, worker: WorkerId) -> Option<&AtomicU64> {
        self.0.get(usize::from(worker.0)).map(|place| &place.0)
    }
}
