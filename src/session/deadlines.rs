//! [`EarliestDeadlines`]: what a worker must know to sleep.

use std::sync::atomic::Ordering;

use crate::base::sync::{AtomicU64, CachePadded};
use crate::base::{Timestamp, WorkerId};

/// For each worker a time before which none of its stripes has a deadline, to be read without a lock. It
/// may be too early, for deadlines move on; never too late.
pub(super) struct EarliestDeadlines(Box<[CachePadded<AtomicU64>]>);

impl EarliestDeadlines {
    /// No deadlines, for so many workers; at least one.
    pub(super) fn new(workers: u8) -> Self {
        Self((0..workers.max(1)).map(|_| CachePadded(AtomicU64::new(Timestamp::MAX.as_micros()))).collect())
    }

    pub(super) fn workers(&self) -> usize {
        self.0.len()
    }

    /// [`Timestamp::MAX`] for a worker that has none, or is none.
    pub(super) fn of(&self, worker: WorkerId) -> Timestamp {
        self.place(worker).map_or(Timestamp::MAX, |at| Timestamp::from_micros(at.load(Ordering::Acquire)))
    }

    /// A stripe of the worker has this deadline now, and shows it already.
    pub(super) fn enter(&self, worker: WorkerId, deadline: Timestamp) {
        if let Some(at) = self.place(worker) {
            at.fetch_min(deadline.as_micros(), Ordering::AcqRel);
        }
    }

    /// Forgets what was entered for the worker, which looks at its stripes next: a deadline that is armed
    /// behind that enters itself anew.
    pub(super) fn clear(&self, worker: WorkerId) {
        if let Some(at) = self.place(worker) {
            at.swap(Timestamp::MAX.as_micros(), Ordering::AcqRel);
        }
    }

    fn place(&self, worker: WorkerId) -> Option<&AtomicU64> {
        self.0.get(usize::from(worker.0)).map(|place| &place.0)
    }
}
