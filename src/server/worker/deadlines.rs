//! Deadlines of shared state: a worker sees to those of the stripes that it owns.

use super::Worker;
use crate::base::Timestamp;

impl Worker {
    /// Ends what is due in this worker's stripes.
    pub(super) fn expire(&mut self, now: Timestamp) {
        if self.draining {
            return;
        }
        for stripe in self.own_stripes() {
            while self.shared.sessions.next_deadline(stripe) <= now {
                let expired = self.with_table(|table, outbox| table.expire(stripe, now, outbox));
                self.expired(expired);
            }
        }
    }

    /// When this worker's stripes have something to do next. Whoever arms an earlier deadline wakes
    /// this worker, which asks again at the end of that turn.
    pub(super) fn next_deadline(&self) -> Timestamp {
        let deadlines = self.own_stripes().map(|stripe| self.shared.sessions.next_deadline(stripe));
        if self.draining { Timestamp::MAX } else { deadlines.min().unwrap_or(Timestamp::MAX) }
    }

    fn own_stripes(&self) -> impl Iterator<Item = usize> + use<> {
        let workers = self.shared.mailboxes.workers().len();
        (usize::from(self.id.0)..self.shared.sessions.stripes()).step_by(workers.max(1))
    }
}
