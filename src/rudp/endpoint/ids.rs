//! [`IdPool`]: connection ids that cannot be guessed and that rest before they are reused.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngCore;

use crate::base::{ConnectionId, IdSet, Timestamp, WorkerId};

/// How long an id rests after its connection ended, so that late packets find no connection. Spec: PKT-6.
pub(super) const REST: Duration = Duration::from_secs(60);

/// Draws before an endpoint counts as full. With half of all ids taken, one in 2^32 calls fails.
const DRAWS: u32 = 32;

/// Assigns the connection ids of one worker.
pub(super) struct IdPool {
    worker: WorkerId,
    /// Ids in use or resting: at most 2^24, all ids that a worker has.
    taken: IdSet<ConnectionId>,
    resting: VecDeque<(Timestamp, ConnectionId)>,
}

impl IdPool {
    pub(super) fn new(worker: WorkerId) -> Self {
        Self { worker, taken: IdSet::default(), resting: VecDeque::new() }
    }

    /// Returns an id that is neither in use nor resting; `None` when hardly any is left.
    // spec: PKT-6
    pub(super) fn take(&mut self, now: Timestamp, rng: &mut impl RngCore) -> Option<ConnectionId> {
        while let Some((_, id)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.taken.remove(&id);
        }
        (0..DRAWS).map(|_| ConnectionId::new(self.worker, rng.next_u32())).find(|id| self.taken.insert(*id))
    }

    /// Returns an id to the pool, where it rests first.
    pub(super) fn give_back(&mut self, now: Timestamp, id: ConnectionId) {
        self.resting.push_back((now + REST, id));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// Draws the same number each time.
    pub(in crate::rudp::endpoint) struct Stuck(pub(in crate::rudp::endpoint) u32);

    impl RngCore for Stuck {
        fn next_u32(&mut self) -> u32 {
            self.0
        }

        fn next_u64(&mut self) -> u64 {
            self.0.into()
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    // spec-test: PKT-6
    #[test]
    fn an_endpoint_without_a_free_id_is_full_and_uses_none_twice() {
        let mut pool = IdPool::new(WorkerId(255));
        let at = Timestamp::from_millis;
        let last = pool.take(at(0), &mut Stuck(u32::MAX)).unwrap();
        assert_eq!(last, ConnectionId(u32::MAX));
        assert_eq!(pool.take(at(0), &mut Stuck(u32::MAX)), None, "in use");
        pool.give_back(at(0), last);
        assert_eq!(pool.take(at(59_999), &mut Stuck(u32::MAX)), None, "resting");
        assert_eq!(pool.take(at(60_000), &mut Stuck(u32::MAX)), Some(last));
    }

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
