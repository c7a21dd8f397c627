//! [`IdPool`]: connection ids that nobody can guess and that rest before they return.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use rand::{RngCore, rngs::StdRng};

use crate::base::{ConnectionId, Timestamp, WorkerId};

/// How long an id rests after its connection ended, so that late packets find nobody. Spec: PKT-6.
pub(super) const REST: Duration = Duration::from_secs(60);

/// Draws before an endpoint counts as full. With half of all ids taken, one in 2^32 tries fails.
const DRAWS: u32 = 32;

/// Gives out connection ids of one worker.
pub(super) struct IdPool {
    worker: WorkerId,
    /// In use or resting: at most 2^24, all ids that a worker has.
    taken: HashSet<ConnectionId>,
    resting: VecDeque<(Timestamp, ConnectionId)>,
}

impl IdPool {
    pub(super) fn new(worker: WorkerId) -> Self {
        Self { worker, taken: HashSet::new(), resting: VecDeque::new() }
    }

    /// An id that is neither in use nor resting; `None` when hardly any is left.
    // spec: PKT-6
    pub(super) fn take(&mut self, now: Timestamp, rng: &mut StdRng) -> Option<ConnectionId> {
        while let Some((_, id)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.taken.remove(&id);
        }
        (0..DRAWS).map(|_| ConnectionId::new(self.worker, rng.next_u32())).find(|id| self.taken.insert(*id))
    }

    /// Sends an id to rest.
    pub(super) fn give_back(&mut self, now: Timestamp, id: ConnectionId) {
        self.resting.push_back((now + REST, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    // spec-test: PKT-6
    #[test]
    fn an_id_rests_before_it_returns() {
        let mut pool = IdPool::new(WorkerId(3));
        let take = |pool: &mut IdPool, secs: u64| {
            pool.take(Timestamp::from_millis(secs * 1_000), &mut StdRng::seed_from_u64(1)).unwrap()
        };
        let first = take(&mut pool, 0);
        assert_eq!(first.worker(), WorkerId(3));
        assert_ne!(take(&mut pool, 0), first, "the same draw, but in use");
        pool.give_back(Timestamp::from_millis(10_000), first);
        assert_ne!(take(&mut pool, 69), first, "resting");
        assert_eq!(take(&mut pool, 70), first);
    }
}
