//! Deadlines of sessions and invites, stripe by stripe. Each stripe has one worker that handles them, its
//! *keeper*.

use super::super::state::Turn;
use super::super::{Expired, WorkerPort};
use super::SessionTable;
use crate::base::{Timestamp, WorkerId};

/// Sessions and invites that one call of [`SessionTable::expire`] ends or forgets at most. The last session
/// may exceed it, because it ends with all of its invites.
const EXPIRE_BATCH: usize = 64;

impl SessionTable {
    /// Returns the keeper of a stripe: the worker that handles its deadlines.
    pub fn keeper_of(&self, stripe: usize) -> WorkerId {
        let worker = stripe % self.earliest.workers();
        WorkerId(u8::try_from(worker).expect("invariant: below a u8"))
    }

    /// Returns the next deadline of a stripe; `None` if it has none.
    ///
    /// # Panics
    /// If the stripe does not exist.
    #[allow(clippy::indexing_slicing, reason = "the caller counts stripes, not the network")]
    pub fn next_deadline(&self, stripe: usize) -> Option<Timestamp> {
        self.stripes[stripe].next_deadline.get()
    }

    /// Returns a time before which no stripe of `keeper` has a deadline; `None` if none has one. It may be
    /// too early, because deadlines can be postponed, but never too late.
    pub fn earliest_deadline(&self, keeper: WorkerId) -> Option<Timestamp> {
        self.earliest.get(keeper)
    }

    /// Returns the stripes of `keeper`, which then checks the [next deadline](SessionTable::next_deadline) of
    /// each and finally calls [`SessionTable::end_expiry`].
    pub fn begin_expiry(&self, keeper: WorkerId) -> impl Iterator<Item = usize> + use<> {
        self.earliest.clear(keeper);
        self.stripes_of(keeper)
    }

    /// Recomputes the earliest deadline of `keeper`'s stripes.
    pub fn end_expiry(&self, keeper: WorkerId) {
        if let Some(next) = self.stripes_of(keeper).filter_map(|stripe| self.next_deadline(stripe)).min() {
            self.earliest.enter(keeper, next);
        }
    }

    /// Ends a bounded part of what is due in a stripe. The stripe's keeper calls it until
    /// [`SessionTable::next_deadline`] is later than `now`.
    ///
    /// # Panics
    /// If the stripe does not exist.
    #[allow(clippy::indexing_slicing, reason = "the caller counts stripes, not the network")]
    pub fn expire(&self, stripe: usize, now: Timestamp, port: &mut dyn WorkerPort) -> Vec<Expired> {
        let stripe = &self.stripes[stripe];
        let mut state = stripe.state.lock();
        state.now = state.now.max(now);
        let now = state.now;
        let due: Vec<_> =
            state.deadlines.iter().take_while(|(at, _)| *at <= now).take(EXPIRE_BATCH).copied().collect();
        let mut expired = Vec::new();
        let mut left = EXPIRE_BATCH;
        for (_, id) in due {
            let mut turn = Turn { now, limits: &self.limits, port };
            let ended = self.update(&mut state, id, |session| session.expire(&mut turn, &mut left));
            expired.extend(ended.into_iter().flatten());
            if left == 0 {
                break;
            }
        }
        stripe.publish(&state);
        expired
    }

    fn stripes_of(&self, keeper: WorkerId) -> impl Iterator<Item = usize> + use<> {
        (usize::from(keeper.0)..self.stripes.len()).step_by(self.earliest.workers())
    }
}
