//! What becomes due by itself, stripe by stripe; each stripe has one worker that sees to it.

use std::sync::atomic::Ordering;

use super::super::state::Turn;
use super::super::{Expired, Outbox};
use super::SessionTable;
use crate::base::{Timestamp, WorkerId};

/// Sessions and invites that one call of [`SessionTable::expire`] ends or forgets; the last session brings all of
/// its invites.
const EXPIRE_BATCH: usize = 64;

impl SessionTable {
    /// The worker that sees to the deadlines of a stripe.
    pub fn owner_of(&self, stripe: usize) -> WorkerId {
        let worker = stripe % self.earliest.workers();
        WorkerId(u8::try_from(worker).expect("invariant: below a u8"))
    }

    /// When a stripe has something to do by itself; [`Timestamp::MAX`] when never.
    ///
    /// # Panics
    /// When there is no such stripe.
    #[allow(clippy::indexing_slicing, reason = "the caller counts stripes, not the network")]
    pub fn next_deadline(&self, stripe: usize) -> Timestamp {
        Timestamp::from_micros(self.stripes[stripe].next_deadline.load(Ordering::Acquire))
    }

    /// No stripe of `owner` has something to do by itself before this time. It may be too early, for
    /// deadlines may move on; never too late.
    pub fn earliest_deadline(&self, owner: WorkerId) -> Timestamp {
        self.earliest.of(owner)
    }

    /// The stripes of `owner`, which looks at the [next deadline](SessionTable::next_deadline) of each and
    /// calls [`SessionTable::end_expiry`] afterwards.
    pub fn begin_expiry(&self, owner: WorkerId) -> impl Iterator<Item = usize> + use<> {
        self.earliest.clear(owner);
        self.stripes_of(owner)
    }

    /// Finds the earliest deadline of `owner`'s stripes anew.
    pub fn end_expiry(&self, owner: WorkerId) {
        if let Some(next) = self.stripes_of(owner).map(|stripe| self.next_deadline(stripe)).min() {
            self.earliest.enter(owner, next);
        }
    }

    /// Ends what is due in a stripe, at most some of it: to be called by the stripe's owner until
    /// [`SessionTable::next_deadline`] is later than `now`.
    ///
    /// # Panics
    /// When there is no such stripe.
    #[allow(clippy::indexing_slicing, reason = "the caller counts stripes, not the network")]
    pub fn expire(&self, stripe: usize, now: Timestamp, outbox: &mut dyn Outbox) -> Vec<Expired> {
        let stripe = &self.stripes[stripe];
        let mut state = stripe.state.lock();
        state.now = state.now.max(now);
        let now = state.now;
        let due: Vec<_> =
            state.deadlines.iter().take_while(|(at, _)| *at <= now).take(EXPIRE_BATCH).copied().collect();
        let mut expired = Vec::new();
        let mut left = EXPIRE_BATCH;
        for (_, id) in due {
            let mut turn = Turn { now, limits: &self.limits, outbox };
            let ended = self.update(&mut state, id, |session| session.expire(&mut turn, &mut left));
            expired.extend(ended.into_iter().flatten());
            if left == 0 {
                break;
            }
        }
        stripe.publish(&state);
        expired
    }

    fn stripes_of(&self, owner: WorkerId) -> impl Iterator<Item = usize> + use<> {
        (usize::from(owner.0)..self.stripes.len()).step_by(self.earliest.workers())
    }
}
