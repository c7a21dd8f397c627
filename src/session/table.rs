//! [`SessionTable`]: all sessions of a server, in stripes, each behind a lock of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::Rng;
use rand::rngs::StdRng;

use super::deadlines::EarliestDeadlines;
use super::members::Member;
use super::state::{Session, Turn};
use super::{Admitted, Departed, EndedInvite, Expired, Inviting, MemberAt, Outbox, SessionLimits};
use crate::base::sync::{AtomicU64, AtomicUsize, CachePadded, Mutex};
use crate::base::{IdMap, MemberId, Revision, SessionId, Timestamp, UserId, WorkerId};
use crate::wire::command::{Broadcast, Create, Decline, Invite, Join, Kick, Message};
use crate::wire::result::Info;
use crate::wire::{ErrorCode, LeaveReason, PropertyOps, Reason};

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
    /// Yields session ids; never held together with a stripe.
    rng: Mutex<StdRng>,
}

struct Stripe {
    state: Mutex<StripeState>,
    /// First of the deadlines, in µs, to be read without the lock.
    next_deadline: AtomicU64,
}

#[derive(Default)]
struct StripeState {
    /// The latest time that any caller came with.
    now: Timestamp,
    /// Boxed: half of the table is empty where it has just grown, and it grows under the lock.
    sessions: IdMap<SessionId, Box<Session>>,
    /// Each session's next deadline, unless it has none.
    deadlines: BTreeSet<(Timestamp, SessionId)>,
    /// Sessions that nobody is in.
    empty: usize,
}

/// Sessions and invites that one call of [`SessionTable::expire`] ends or forgets; the last session brings all of
/// its invites.
const EXPIRE_BATCH: usize = 64;

/// Stripes with empty sessions of which the one that would stay longest gives way.
const STRIPES_COMPARED: usize = 8;

impl SessionTable {
    /// An empty table for workers `0..workers`. `stripes` is raised to a power of two.
    pub fn new(stripes: usize, workers: u8, limits: SessionLimits, rng: StdRng) -> Self {
        let stripe =
            || Stripe { state: Mutex::default(), next_deadline: AtomicU64::new(Timestamp::MAX.as_micros()) };
        let stripes = stripes.clamp(1, 1 << 16).next_power_of_two();
        Self {
            stripes: (0..stripes).map(|_| CachePadded(stripe())).collect(),
            earliest: EarliestDeadlines::new(workers),
            limits,
            sessions: AtomicUsize::new(0),
            rng: Mutex::new(rng),
        }
    }

    /// How many stripes there are.
    pub fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// The worker that sees to the deadlines of a stripe.
    pub fn owner_of(&self, stripe: usize) -> WorkerId {
        let worker = stripe % self.earliest.workers();
        WorkerId(u8::try_from(worker).expect("invariant: below a u8"))
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Creates a session, whose owner and first member `user` is. Above the number of sessions that there may
    /// be an empty one gives way: its idle TTL is over at once.
    ///
    /// # Errors
    /// `too_many_properties`, `properties_too_large`, `server_full`, `busy`.
    pub fn create(
        &self,
        now: Timestamp,
        user: &UserId,
        at: MemberAt,
        create: Create,
        outbox: &mut dyn Outbox,
    ) -> Result<Admitted, ErrorCode> {
        let session = Session::new(create, user, now, &self.limits)?;
        let room = |sessions| (sessions < self.limits.max_sessions).then_some(sessions + 1);
        let mut gives_way = None;
        if self.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            gives_way = Some(self.claim_empty(now).ok_or(ErrorCode::ServerFull)?);
            self.sessions.fetch_add(1, Ordering::Relaxed);
        }
        let created = self.insert(now, session, at, outbox);
        if created.is_err() {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(id) = gives_way {
            let settle = |session: &mut Session, turn: &mut Turn<'_>| {
                session.settle_claim(turn.now, created.is_ok());
                Ok(())
            };
            // It is there: one that is claimed ends here alone, or by the operator or when its own time is over, which is as well.
            let _ = self.with(now, id, ErrorCode::NoSuchSession, outbox, settle);
        }
        created
    }

    /// Claims an empty session for one that is created, which nobody else may do then: of those of some stripes, from
    /// a random one on, the one that would stay longest, for who leaves sessions behind on purpose lets them stay as
    /// long as can be.
    fn claim_empty(&self, now: Timestamp) -> Option<SessionId> {
        loop {
            let first = self.rng.lock().random_range(0..self.stripes.len());
            let stripes = self.stripes.iter().skip(first).chain(self.stripes.iter().take(first));
            let longest = stripes.filter_map(|stripe| stripe.state.lock().longest_empty(now));
            let (_, id) = longest.take(STRIPES_COMPARED).max()?;
            let mut state = self.stripe_of(id).1.state.lock();
            let now = state.now.max(now);
            // Meanwhile it may have ended, been entered or been claimed; then another may do.
            if let Some(session) = state.sessions.get_mut(&id).filter(|it| it.empty_until(now).is_some()) {
                session.claim();
                return Some(id);
            }
        }
    }

    /// Gives a session a random id that is free and lets its creator in.
    fn insert(
        &self,
        now: Timestamp,
        mut session: Session,
        at: MemberAt,
        outbox: &mut dyn Outbox,
    ) -> Result<Admitted, ErrorCode> {
        loop {
            let id = SessionId(self.rng.lock().random());
            let (_, stripe) = self.stripe_of(id);
            let mut state = stripe.state.lock();
            if id == SessionId(0) || state.sessions.contains_key(&id) {
                continue;
            }
            state.now = state.now.max(now);
            let mut turn = Turn { now: state.now, limits: &self.limits, outbox };
            let admitted = session.open(id, at, &mut turn)?;
            // A session with a member in it and no invites has no deadline.
            state.sessions.insert(id, Box::new(session));
            return Ok(admitted);
        }
    }

    /// Makes `user` a member, in the place of an older connection of theirs.
    ///
    /// # Errors
    /// In this order: `no_such_session`; by invite `no_such_invite`, `not_your_invite`,
    /// `invite_expired`, `invite_revoked`, `invite_used`, `invite_declined`, without one
    /// `session_not_open`; `already_member`, `session_full`, `rate_limited`, `busy`.
    pub fn join(
        &self,
        now: Timestamp,
        user: &UserId,
        at: MemberAt,
        join: Join,
        outbox: &mut dyn Outbox,
    ) -> Result<Admitted, ErrorCode> {
        self.with(now, join.session(), ErrorCode::NoSuchSession, outbox, |session, turn| {
            session.join(user, at, join, turn)
        })
    }

    /// Ends an invite of `user`'s; the owner is told by mail.
    ///
    /// # Errors
    /// `no_such_session`, the invite's as in [`SessionTable::join`], `busy`.
    pub fn decline(
        &self,
        now: Timestamp,
        user: &UserId,
        decline: Decline,
        outbox: &mut dyn Outbox,
    ) -> Result<(), ErrorCode> {
        let Decline { invite, reason } = decline;
        self.with(now, invite.session, ErrorCode::NoSuchSession, outbox, |session, turn| {
            session.decline(user, invite.number, reason, turn)
        })
    }

    /// Invites `users`, those of `invite` that the caller lets through; the outcome has an answer
    /// for each: `already_member`, `session_full` when there is no seat to hold, `too_many_invites`.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`.
    pub fn invite(
        &self,
        now: Timestamp,
        (session, by): (SessionId, MemberId),
        invite: &Invite,
        users: &[UserId],
        outbox: &mut dyn Outbox,
    ) -> Result<Inviting, ErrorCode> {
        self.with(now, session, ErrorCode::NotAMember, outbox, |session, turn| {
            session.invite(by, invite, users, turn)
        })
    }

    /// Ends an open invite; its user is to be told.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`, `no_such_invite`, or how the invite has ended already.
    pub fn revoke(
        &self,
        now: Timestamp,
        (session, by): (SessionId, MemberId),
        number: u32,
        outbox: &mut dyn Outbox,
    ) -> Result<EndedInvite, ErrorCode> {
        self.with(now, session, ErrorCode::NotAMember, outbox, |session, turn| {
            session.revoke_by(by, number, turn)
        })
    }

    /// Takes a member out: it asked for it, or its connection has ended. Never `busy`.
    ///
    /// # Errors
    /// `not_a_member`.
    pub fn leave(
        &self,
        now: Timestamp,
        (session, member): (SessionId, MemberId),
        why: LeaveReason,
        outbox: &mut dyn Outbox,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, session, ErrorCode::NotAMember, outbox, |session, turn| {
            session.leave(member, why, turn)
        })
    }

    /// The owner removes a member, whose open invites are void. Never `busy`.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`, `no_such_member`, `invalid_target` for the owner itself.
    pub fn kick(
        &self,
        now: Timestamp,
        (session, by): (SessionId, MemberId),
        kick: Kick,
        outbox: &mut dyn Outbox,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, session, ErrorCode::NotAMember, outbox, |session, turn| {
            session.kick(by, kick.member, kick.reason, turn)
        })
    }

    /// The owner makes another member the owner.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`, `no_such_member`, `invalid_target` for the owner itself, `rate_limited`,
    /// `busy`.
    pub fn transfer(
        &self,
        now: Timestamp,
        (session, by): (SessionId, MemberId),
        to: MemberId,
        outbox: &mut dyn Outbox,
    ) -> Result<(), ErrorCode> {
        self.with(now, session, ErrorCode::NotAMember, outbox, |session, turn| session.transfer(by, to, turn))
    }

    /// The owner ends the session. Never `busy`.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`.
    pub fn delete(
        &self,
        now: Timestamp,
        (session, by): (SessionId, MemberId),
        reason: Reason,
        outbox: &mut dyn Outbox,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, session, ErrorCode::NotAMember, outbox, |session, turn| {
            session.delete(by, reason, turn)
        })
    }

    /// The operator ends the session. Never `busy`.
    ///
    /// # Errors
    /// `no_such_session`.
    pub fn close(
        &self,
        now: Timestamp,
        session: SessionId,
        reason: Reason,
        outbox: &mut dyn Outbox,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, session, ErrorCode::NoSuchSession, outbox, |session, turn| {
            Ok(session.close(reason, turn))
        })
    }

    /// Sends a payload to the members: as a numbered event when it is ordered.
    ///
    /// # Errors
    /// `not_a_member`, `rate_limited`, `busy`.
    pub fn broadcast(
        &self,
        now: Timestamp,
        (session, sender): (SessionId, MemberId),
        broadcast: Broadcast,
        outbox: &mut dyn Outbox,
    ) -> Result<(), ErrorCode> {
        self.with(now, session, ErrorCode::NotAMember, outbox, |session, turn| {
            session.broadcast(sender, broadcast, turn)
        })
    }

    /// Sends a payload to some members; those that have left by now are passed over.
    ///
    /// # Errors
    /// `not_a_member`; `no_such_member` when one never was a member or none is one now;
    /// `rate_limited`, `busy`.
    pub fn message(
        &self,
        now: Timestamp,
        (session, sender): (SessionId, MemberId),
        message: Message,
        outbox: &mut dyn Outbox,
    ) -> Result<(), ErrorCode> {
        self.with(now, session, ErrorCode::NotAMember, outbox, |session, turn| {
            session.message(sender, message, turn)
        })
    }

    /// Changes properties, all or nothing; yields their revision.
    ///
    /// # Errors
    /// `not_a_member`; `no_such_property`, `property_denied`, `property_not_integer`,
    /// `property_overflow`, `property_mismatch` of the first operation that is refused;
    /// `too_many_properties`, `properties_too_large`; `rate_limited`, `busy`.
    pub fn set_properties(
        &self,
        now: Timestamp,
        (session, member): (SessionId, MemberId),
        ops: &PropertyOps,
        outbox: &mut dyn Outbox,
    ) -> Result<Revision, ErrorCode> {
        self.with(now, session, ErrorCode::NotAMember, outbox, |session, turn| {
            session.set_properties(member, ops, turn)
        })
    }

    /// What a session is, to one of its members.
    ///
    /// # Errors
    /// `no_such_session`, `not_a_member`.
    pub fn info(&self, user: &UserId, session: SessionId) -> Result<Info, ErrorCode> {
        let state = self.stripe_of(session).1.state.lock();
        let session = state.sessions.get(&session).ok_or(ErrorCode::NoSuchSession)?;
        session.members.id_of(user).ok_or(ErrorCode::NotAMember).map(|_| session.info())
    }

    /// What a session is, to the operator; `None` when there is no such session.
    pub fn look_at(&self, session: SessionId) -> Option<Info> {
        self.stripe_of(session).1.state.lock().sessions.get(&session).map(|session| session.info())
    }

    /// The members of a session, by ascending id; `None` when there is no such session.
    pub fn members(&self, session: SessionId) -> Option<Arc<Vec<Member>>> {
        let state = self.stripe_of(session).1.state.lock();
        state.sessions.get(&session).map(|session| session.members.list().clone())
    }

    /// What all sessions are, one stripe after the other: not what they are at one moment.
    pub fn infos(&self) -> Vec<Info> {
        let of_stripe = |stripe: &CachePadded<Stripe>| -> Vec<_> {
            stripe.state.lock().sessions.values().map(|session| session.info()).collect()
        };
        self.stripes.iter().flat_map(of_stripe).collect()
    }

    /// The worker that serves most members of a session that would admit `user` now. `None` if it would not,
    /// if nobody is in it, or if it has more than `max_seats`.
    pub fn place_for(
        &self,
        now: Timestamp,
        (user, login): (&UserId, u64),
        join: Join,
        max_seats: usize,
    ) -> Option<WorkerId> {
        let id = join.session();
        let state = self.stripe_of(id).1.state.lock();
        let session = state.sessions.get(&id)?;
        let now = state.now.max(now);
        let is_small = usize::from(session.settings.max_members.get()) <= max_seats;
        let admits = |entry| session.has_seat(entry, now);
        (is_small && session.check_join(user, login, join, now).is_ok_and(admits))
            .then(|| session.members.busiest())
            .flatten()
    }

    /// When an open invite of `user`'s ends, or why it admits nobody.
    #[cfg(test)]
    pub(super) fn admits_until(
        &self,
        user: &UserId,
        invite: crate::base::InviteId,
    ) -> Result<Timestamp, ErrorCode> {
        let state = self.stripe_of(invite.session).1.state.lock();
        let session = state.sessions.get(&invite.session).ok_or(ErrorCode::NoSuchSession)?;
        session.admits_until(user, invite.number, state.now)
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
        let (before, was_empty) = (session.next_deadline(), session.is_empty());
        let done = change(session);
        let (after, ended) = (session.next_deadline(), session.has_ended());
        state.empty -= usize::from(was_empty);
        state.empty += usize::from(session.is_empty() && !ended);
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

    fn stripes_of(&self, owner: WorkerId) -> impl Iterator<Item = usize> + use<> {
        (usize::from(owner.0)..self.stripes.len()).step_by(self.earliest.workers())
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

impl StripeState {
    /// Of the sessions that nobody is in, and that are not claimed, the one that would stay longest.
    fn longest_empty(&self, now: Timestamp) -> Option<(Timestamp, SessionId)> {
        if self.empty == 0 {
            return None;
        }
        let now = self.now.max(now);
        self.sessions.iter().filter_map(|(id, it)| Some((it.empty_until(now)?, *id))).max()
    }
}

impl Stripe {
    /// Shows the first deadline to those without the lock, and tells it if it is earlier than before.
    fn publish(&self, state: &StripeState) -> Option<Timestamp> {
        let next = state.deadlines.first().map_or(Timestamp::MAX, |(at, _)| *at);
        let before = self.next_deadline.load(Ordering::Relaxed);
        if next.as_micros() != before {
            self.next_deadline.store(next.as_micros(), Ordering::Release);
        }
        (next.as_micros() < before).then_some(next)
    }
}
