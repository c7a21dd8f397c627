//! How a session comes to be, and which empty one gives way to it when there is no more room.

use std::sync::atomic::Ordering;

use rand::Rng;

use super::super::state::{Session, Turn};
use super::super::{Admitted, MemberAt, Outbox};
use super::{SessionTable, StripeState};
use crate::base::{SessionId, Timestamp, UserId};
use crate::wire::ErrorCode;
use crate::wire::command::Create;

/// Stripes with empty sessions of which the one that would stay longest gives way.
const STRIPES_COMPARED: usize = 8;

impl SessionTable {
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
            // Else it has ended: only the operator or its own deadline ends a session that is claimed.
            let _ = self.with(now, id, ErrorCode::NoSuchSession, outbox, settle);
        }
        created
    }

    /// Claims an empty session so that a new one can take its place; nobody else may do so then. Of a few stripes, from
    /// a random one on, takes one of the user who has left most sessions behind, and of these the one with the longest
    /// time left.
    fn claim_empty(&self, now: Timestamp) -> Option<SessionId> {
        loop {
            let first = self.rng.lock().random_range(0..self.stripes.len());
            let stripes = self.stripes.iter().skip(first).chain(self.stripes.iter().take(first));
            let with_empty = stripes.filter(|stripe| stripe.empty.load(Ordering::Relaxed) > 0);
            let longest = with_empty.filter_map(|stripe| stripe.state.lock().longest_empty(now));
            let longest: Vec<_> = longest.take(STRIPES_COMPARED).collect();
            let parked = self.parked.lock();
            let by = |owner| parked.get(owner).copied().unwrap_or_default();
            let (.., id) = longest.iter().map(|(until, id, owner)| (by(owner), *until, *id)).max()?;
            drop(parked);
            let (_, stripe) = self.stripe_of(id);
            let mut state = stripe.state.lock();
            // Meanwhile it may have ended, been entered or been claimed; then another may do.
            let now = state.now.max(now);
            let claim = |session: &mut Session| {
                let is_free = session.empty_until().is_some_and(|until| until > now);
                if is_free {
                    session.claim();
                }
                is_free
            };
            if self.update(&mut state, id, claim) == Some(true) {
                stripe.publish(&state);
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
}

impl StripeState {
    /// Of the sessions that nobody is in, and that are not claimed, the one that would stay longest.
    fn longest_empty(&self, now: Timestamp) -> Option<(Timestamp, SessionId, UserId)> {
        let now = self.now.max(now);
        let (until, id) = *self.empty.last().filter(|(until, _)| *until > now)?;
        Some((until, id, self.sessions.get(&id)?.owner_user.clone()))
    }
}
