//! Deadlines of shared state: a worker handles those of the stripes that it keeps.

use super::Worker;
use crate::base::Timestamp;
use crate::session::Expired;

/// Sessions and invites that are ended in one round of a turn; one batch of a stripe may exceed it. A batch
/// that only forgets invites counts as one.
const ENDS_A_ROUND: usize = 64;

impl Worker {
    /// Ends what is due in this worker's stripes, a part of it in each round, so that clients do not wait for
    /// all of it.
    pub(super) fn expire(&mut self, now: Timestamp) {
        if self.next_expiry().is_none_or(|at| at > now) {
            return;
        }
        let mut left = ENDS_A_ROUND;
        for stripe in self.shared.sessions.begin_expiry(self.id) {
            while left > 0 && self.shared.sessions.next_deadline(stripe).is_some_and(|at| at <= now) {
                let expired = self.with_table(|table, port| table.expire(stripe, now, port));
                left = left.saturating_sub(expired.iter().map(Expired::ends).sum::<usize>().max(1));
                self.expired(now, expired);
            }
        }
        self.shared.sessions.end_expiry(self.id);
    }

    /// Returns when this worker's stripes may next have work; `None` if never. Arming an earlier deadline
    /// wakes this worker.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.shared.sessions.earliest_deadline(self.id).filter(|_| !self.is_draining())
    }
}
