//! [`AtomicDeadline`] and [`EarliestDeadlines`]: deadlines that workers read without a lock.

use std::sync::atomic::Ordering;

use crate::base::sync::{AtomicU64, CachePadded};
use crate::base::{Timestamp, WorkerId};

/// A deadline or none, in microseconds.
pub(super) struct AtomicDeadline(AtomicU64);

/// The value for no deadline. The microseconds of every [`Timestamp`] are fewer.
const NONE: u64 = u64::MAX;

impl AtomicDeadline {
    /// Creates it without a deadline.
    pub(super) fn none() -> Self {
        Self(AtomicU64::new(NONE))
    }

    pub(super) fn get(&self) -> Option<Timestamp> {
        let micros = self.0.load(Ordering::Acquire);
        (micros != NONE).then(|| Timestamp::from_micros(micros))
    }

    pub(super) fn set(&self, deadline: Option<Timestamp>) {
        self.0.store(deadline.map_or(NONE, Timestamp::as_micros), Ordering::Release);
    }

    /// Sets the deadline, unless it is already earlier.
    fn lower(&self, deadline: Timestamp) {
        self.0.fetch_min(deadline.as_micros(), Ordering::AcqRel);
    }

    fn clear(&self) {
        self.0.swap(NONE, Ordering::AcqRel);
    }
}

/// For each worker, a time before which none of its stripes has a deadline. It may be too early, because
/// deadlines can be postponed, but never too late.
pub(super) struct EarliestDeadlines(Box<[CachePadded<AtomicDeadline>]>);

impl EarliestDeadlines {
    /// Creates the table without deadlines, for at least one worker.
    pub(super) fn new(workers: u8) -> Self {
        Self((0..workers.max(1)).map(|_| CachePadded(AtomicDeadline::none())).collect())
    }

    pub(super) fn workers(&self) -> usize {
        self.0.len()
    }

    /// Returns the time for a worker; `None` if it has no deadline or does not exist.
    pub(super) fn get(&self, worker: WorkerId) -> Option<Timestamp> {
        self.place(worker)?.get()
    }

    /// Enters a deadline of one of the worker's stripes, which the stripe already publishes.
    pub(super) fn enter(&self, worker: WorkerId, deadline: Timestamp) {
        if let Some(at) = self.place(worker) {
            at.lower(deadline);
        }
    }

    /// Clears the worker's entry before the worker scans its stripes. A deadline that is armed after the scan
    /// enters itself again.
    pub(super) fn clear(&self, worker: WorkerId) {
        if let Some(at) = self.place(worker) {
            at.clear();
        }
    }

    fn place(&self, worker: WorkerId) -> Option<&AtomicDeadline> {
        self.0.get(usize::from(worker.0)).map(|place| &place.0)
    }
}
