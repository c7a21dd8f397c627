//! [`SessionTable`]: all sessions of a server in stripes, each with its own lock.

mod commands;
mod create;
mod expiry;
mod parked;
mod views;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;

use self::parked::Parked;
use super::deadlines::{AtomicDeadline, EarliestDeadlines};
use super::phase::Phase;
use super::state::{Session, Turn};
use super::{SessionLimits, WorkerPort};
use crate::base::sync::{AtomicUsize, CachePadded, Mutex};
use crate::base::{IdMap, SessionId, Timestamp};
use crate::wire::ErrorCode;

/// The sessions of a server, shared by its workers. Every method holds the lock of one stripe at a time.
/// Methods about one session take it once, except [`SessionTable::create`].
///
/// `now` may differ slightly between workers: the time of a stripe is the latest that it has received. A
/// refused command changes nothing except the rate budgets. Commands about a session that the caller is in
/// identify the caller by the member id that `create` or `join` returned; they also fail with `not_a_member`
/// if the session no longer exists.
pub struct SessionTable {
    stripes: Box<[CachePadded<Stripe>]>,
    earliest: EarliestDeadlines,
    limits: SessionLimits,
    /// Number of sessions, including those being created. A claimed session does not count: the new one takes
    /// its place.
    sessions: AtomicUsize,
    /// The sessions that may give way to new ones. Locked within the lock of a stripe or alone.
    parked: Mutex<Parked>,
    /// Generates session ids. Never locked together with a stripe.
    rng: Mutex<StdRng>,
}

struct Stripe {
    state: Mutex<StripeState>,
    /// The first deadline, readable without the lock.
    next_deadline: AtomicDeadline,
}

#[derive(Default)]
struct StripeState {
    /// The latest time that any caller passed in.
    now: Timestamp,
    /// Boxed: half of the table is empty after it grows, and it grows under the lock.
    sessions: IdMap<SessionId, Box<Session>>,
    /// Next deadline of each session that has one.
    deadlines: BTreeSet<(Timestamp, SessionId)>,
}

impl SessionTable {
    /// Creates an empty table for workers `0..workers`. `stripes` is raised to a power of two.
    pub fn new(stripes: usize, workers: u8, limits: SessionLimits, rng: StdRng) -> Self {
        let stripe = || Stripe { state: Mutex::default(), next_deadline: AtomicDeadline::none() };
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

    /// Returns the number of stripes.
    pub fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// Returns the number of sessions.
    pub fn len(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Returns true if no session exists.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs a command on one session, under the lock of its stripe.
    fn with<T>(
        &self,
        now: Timestamp,
        id: SessionId,
        missing: ErrorCode,
        port: &mut dyn WorkerPort,
        command: impl FnOnce(&mut Session, &mut Turn<'_>) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let (index, stripe) = self.stripe_of(id);
        let mut state = stripe.state.lock();
        state.now = state.now.max(now);
        let mut turn = Turn { now: state.now, limits: &self.limits, port };
        let done = self.update(&mut state, id, |session| command(session, &mut turn)).ok_or(missing)?;
        if let Some(next) = stripe.publish(&state) {
            let keeper = self.keeper_of(index);
            self.earliest.enter(keeper, next);
            port.wake(keeper);
        }
        done
    }

    /// Changes one session, enters its deadline and removes it if it has ended. `None` if the session does
    /// not exist.
    fn update<T>(
        &self,
        state: &mut StripeState,
        id: SessionId,
        change: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        let session = state.sessions.get_mut(&id)?;
        let (before, parked_before) = (session.next_deadline(), session.parked());
        let is_counted = session.phase.is_counted();
        let done = change(session);
        let (after, parked) = (session.next_deadline(), session.parked());
        let ended = session.phase == Phase::Ended;
        if parked_before != parked {
            let mut all = self.parked.lock();
            if let Some((until, owner)) = parked_before {
                all.remove(&owner, until, id);
            }
            if let Some((until, owner)) = parked {
                all.add(&owner, until, id);
            }
        }
        if ended {
            state.sessions.remove(&id);
            self.sessions.fetch_sub(usize::from(is_counted), Ordering::Relaxed);
        }
        if ended || after != before {
            if let Some(before) = before {
                state.deadlines.remove(&(before, id));
            }
            if let Some(after) = after.filter(|_| !ended) {
                state.deadlines.insert((after, id));
            }
        }
        Some(done)
    }

    /// Returns true if no empty session is counted.
    #[cfg(test)]
    pub(super) fn counts_none_parked(&self) -> bool {
        self.parked.lock().is_empty()
    }

    /// Behaves as if all event numbers of a session below `next` were taken.
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
    /// Publishes the first deadline for readers without the lock. Returns it if it is earlier than before.
    fn publish(&self, state: &StripeState) -> Option<Timestamp> {
        let next = state.deadlines.first().map(|(at, _)| *at);
        let before = self.next_deadline.get();
        if next != before {
            self.next_deadline.set(next);
        }
        next.filter(|next| before.is_none_or(|before| *next < before))
    }
}
