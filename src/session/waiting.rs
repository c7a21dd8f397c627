//! [`Waiting`]: how many deliveries of a session wait in the mailboxes of workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::sync::AtomicUsize;

/// Counts the deliveries of one session that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// Returns the present count.
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds `count` deliveries, which wait until the returned value is dropped.
    pub(super) fn add(&self, count: usize) -> Deliveries {
        self.0.fetch_add(count, Ordering::Relaxed);
        Deliveries { count, waiting: Arc::clone(&self.0) }
    }
}

/// The deliveries of one mail. They wait until it is dropped.
#[derive(Debug)]
pub struct Deliveries {
    count: usize,
    waiting: Arc<AtomicUsize>,
}

impl Deliveries {
    /// Returns their number, at least one.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.count, Ordering::Relaxed);
    }
}
