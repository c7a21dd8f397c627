//! [`Population`]: how many users each worker serves now.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::WorkerId;
use crate::base::sync::CachePadded;

/// Number of users by worker. A moving user counts at its destination from the moment that it leaves, so that
/// concurrent moves take each other into account.
#[derive(Debug)]
pub struct Population {
    users: Box<[CachePadded<AtomicU64>]>,
}

impl Population {
    /// Creates the counters of `workers`, all zero.
    pub fn new(workers: u8) -> Self {
        Self { users: (0..workers).map(|_| CachePadded::default()).collect() }
    }

    /// Counts a user that has connected.
    pub fn enter(&self, worker: WorkerId) {
        self.at(worker).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a user of `worker` that is gone.
    pub fn leave(&self, worker: WorkerId) {
        self.at(worker).fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a user that moves.
    pub fn shift(&self, from: WorkerId, to: WorkerId) {
        self.enter(to);
        self.leave(from);
    }

    /// Returns the number of users of one worker.
    pub fn users_of(&self, worker: WorkerId) -> u64 {
        self.at(worker).load(Ordering::Relaxed)
    }

    /// Returns the number of users of all workers.
    pub fn all(&self) -> u64 {
        self.users.iter().map(|users| users.load(Ordering::Relaxed)).sum()
    }

    fn at(&self, worker: WorkerId) -> &AtomicU64 {
        self.users.get(usize::from(worker.0)).expect("invariant: made for every worker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_counts_once() {
        let population = Population::new(2);
        let [here, there] = [WorkerId(0), WorkerId(1)];
        (0..3).for_each(|_| population.enter(here));
        population.shift(here, there);
        assert_eq!((population.users_of(here), population.users_of(there), population.all()), (2, 1, 3));
        population.leave(there);
        assert_eq!((population.users_of(there), population.all()), (0, 2));
    }
}
