//! [`SessionTable`]: all sessions of a server, in stripes, each behind a lock of its own.

mod commands;
mod create;
mod expiry;
mod views;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;

use super::deadlines::EarliestDeadlines;
use super::state::{Session, Turn};
use super::{Outbox, SessionLimits};
use crate::base::sync::{AtomicU64, AtomicUsize, CachePadded, Mutex};
use crate::base::{IdMap, SessionId, Timestamp, UserId};
use crate::wire::ErrorCode;

/// The sessions of a server. Shared by its workers; every method holds one stripe's lock at a time, and all but
/// [`SessionTable::create`] take one once.
///
/// `now` may differ a little between workers: a stripe's time is the latest that it has seen.
/// A command that is refused has changed nothing. Commands about a session that the caller is in
/// name the caller by the member id that `create` or `join` gave; when the session is gone, the
/// caller is `not_a_member`, too.
pub struct SessionTable {
    stripes: Box<[CachePadded<Stripe>]>,
    earliest: EarliestDeadlines,
    limits: SessionLimits,
    /// Sessions that are there or about to be.
    sessions: AtomicUsize,
    /// How many empty sessions each user was the last owner of. Held within a stripe's lock or alone.
    parked: Mutex<HashMap<UserId, usize>>,
    /// Yields session ids; never held together with a stripe.
    rng: Mutex<StdRng>,
}

struct Stripe {
    state: Mutex<StripeState>,
    /// First of the deadlines, in µs, to be read without the lock.
    next_deadline: AtomicU64,
    /// How many sessions may give way to new ones, to be read without the lock.
    empty: AtomicUsize,
}

#[derive(Default)]
struct StripeState {
    /// The latest time that any caller came with.
    now: Timestamp,
    /// Boxed: half of the table is empty where it has just grown, and it grows under the lock.
    sessions: IdMap<SessionId, Box<Session>>,
    /// Each session's next deadline, unless it has none.
    deadlines: BTreeSet<(Timestamp, SessionId)>,
    /// Sessions that nobody is in and that are not claimed, by the end of their time.
    empty: BTreeSet<(Timestamp, SessionId)>,
}

impl SessionTable {
    /// An empty table for workers `0..workers`. `stripes` is raised to a power of two.
    pub fn new(stripes: usize, workers: u8, limits: SessionLimits, rng: StdRng) -> Self {
        let stripe = || Stripe {
            state: Mutex::default(),
            next_deadline: AtomicU64::new(Timestamp::MAX.as_micros()),
            empty: AtomicUsize::new(0),
        };
        let stripes = stripes.clamp(1, 1 << 16).next_power_of_two();
        Self {
            stripes: (0..stripes).map(|_| CachePadded(stripe())).collect(),
            earliest: EarliestDeadlines::new(workers),
            limits,
            sessions: AtomicUsize::new(0),
            parked: Mutex::default(),
            rng: Mutex::new(rng),
        }
    }

    /// How many stripes there are.
    pub fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Carries out a command on one session, under its stripe's lock.
    fn with<T>(
        &self,
        now: Timestamp,
        id: SessionId,
        missing: ErrorCode,
        outbox: &mut dyn Outbox,
        command: impl FnOnce(&mut Session, &mut Turn<'_>) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let (index, stripe) = self.stripe_of(id);
        let mut state = stripe.state.lock();
        state.now = state.now.max(now);
        let mut turn = Turn { now: state.now, limits: &self.limits, outbox };
        let done = self.update(&mut state, id, |session| command(session, &mut turn)).ok_or(missing)?;
        if let Some(next) = stripe.publish(&state) {
            let owner = self.owner_of(index);
            self.earliest.enter(owner, next);
            outbox.wake(owner);
        }
        done
    }

    /// Changes one session; enters its deadline and removes it if it has ended. `None` when there
    /// is no such session.
    fn update<T>(
        &self,
        state: &mut StripeState,
        id: SessionId,
        change: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        let session = state.sessions.get_mut(&id)?;
        let (before, empty_before) = (session.next_deadline(), session.empty_until());
        let owner_before = empty_before.map(|_| session.owner_user.clone());
        let done = change(session);
        let (after, empty_after, ended) =
            (session.next_deadline(), session.empty_until(), session.has_ended());
        if empty_before != empty_after {
            let owner = (empty_after.is_some() && !ended).then(|| session.owner_user.clone());
            self.count_parked(owner_before, owner);
            empty_before.map(|until| state.empty.remove(&(until, id)));
            empty_after.map(|until| state.empty.insert((until, id)));
        }
        if ended {
            state.sessions.remove(&id);
            self.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        if ended || after != before {
            state.deadlines.remove(&(before, id));
            if !ended && after != Timestamp::MAX {
                state.deadlines.insert((after, id));
            }
        }
        Some(done)
    }

    /// An empty session of `before` is none any more, one of `after` is new.
    fn count_parked(&self, before: Option<UserId>, after: Option<UserId>) {
        let mut parked = self.parked.lock();
        if let Some(owner) = after {
            *parked.entry(owner).or_default() += 1;
        }
        if let Some(owner) = before
            && let Entry::Occupied(mut count) = parked.entry(owner)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// True when no empty session is counted.
    #[cfg(test)]
    pub(super) fn counts_none_parked(&self) -> bool {
        self.parked.lock().is_empty()
    }

    /// As if all numbers of a session's events below `next` were taken.
    #[cfg(test)]
    pub(super) fn start_at(&self, id: SessionId, next: crate::base::EventNumber) {
        let (_, stripe) = self.stripe_of(id);
        if let Some(session) = stripe.state.lock().sessions.get_mut(&id) {
            session.start_at(next);
        }
    }

    /// Ids are random, so their low bits spread sessions evenly.
    #[allow(clippy::indexing_slicing, reason = "masked by the number of stripes, a power of two")]
    fn stripe_of(&self, id: SessionId) -> (usize, &Stripe) {
        let mask = self.stripes.len() as u64 - 1;
        let index = usize::try_from(id.0 & mask).expect("invariant: below the number of stripes");
        (index, &self.stripes[index])
    }
}

impl Stripe {
    /// Shows the first deadline and how many sessions are empty to those without the lock; tells the deadline if it
    /// is earlier than before.
    fn publish(&self, state: &StripeState) -> Option<Timestamp> {
        if self.empty.load(Ordering::Relaxed) != state.empty.len() {
            self.empty.store(state.empty.len(), Ordering::Relaxed);
        }
        let next = state.deadlines.first().map_or(Timestamp::MAX, |(at, _)| *at);
        let before = self.next_deadline.load(Ordering::Relaxed);
        if next.as_micros() != before {
            self.next_deadline.store(next.as_micros(), Ordering::Release);
        }
        (next.as_micros() < before).then_some(next)
    }
}
