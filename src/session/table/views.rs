//! Read access to sessions.

use std::sync::Arc;

use super::super::PropertyMap;
use super::super::members::Member;
use super::{SessionTable, Stripe};
use crate::base::sync::CachePadded;
use crate::base::{LoginNumber, SessionId, Timestamp, UserId, WorkerId};
use crate::wire::ErrorCode;
use crate::wire::command::Join;
use crate::wire::result::Info;

impl SessionTable {
    /// Returns information about a session to one of its members.
    ///
    /// # Errors
    /// `no_such_session`, `not_a_member`.
    pub fn info(&self, user: &UserId, session: SessionId) -> Result<Info, ErrorCode> {
        let state = self.stripe_of(session).1.state.lock();
        let session = state.sessions.get(&session).ok_or(ErrorCode::NoSuchSession)?;
        session.members.id_of(user).ok_or(ErrorCode::NotAMember).map(|_| session.info())
    }

    /// Returns information about a session to the operator; `None` if the session does not exist.
    pub fn look_at(&self, session: SessionId) -> Option<Info> {
        self.stripe_of(session).1.state.lock().sessions.get(&session).map(|session| session.info())
    }

    /// Returns the members of a session by ascending id; `None` if the session does not exist.
    pub fn members(&self, session: SessionId) -> Option<Arc<Vec<Member>>> {
        let state = self.stripe_of(session).1.state.lock();
        state.sessions.get(&session).map(|session| session.members.list().clone())
    }

    /// Returns the properties of a session; `None` if the session does not exist.
    pub fn properties(&self, session: SessionId) -> Option<Arc<PropertyMap>> {
        let state = self.stripe_of(session).1.state.lock();
        state.sessions.get(&session).map(|session| session.properties.map().clone())
    }

    /// Returns information about all sessions. The stripes are read one after the other, so it is not a
    /// snapshot of one moment.
    pub fn infos(&self) -> Vec<Info> {
        let of_stripe = |stripe: &CachePadded<Stripe>| -> Vec<_> {
            stripe.state.lock().sessions.values().map(|session| session.info()).collect()
        };
        self.stripes.iter().flat_map(of_stripe).collect()
    }

    /// Returns the worker that serves most members of a session that would admit `user` now. `None` if the
    /// session would not admit the user, is empty, or has more than `max_seats` seats.
    pub fn place_for(
        &self,
        now: Timestamp,
        (user, login): (&UserId, LoginNumber),
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

    /// Returns when an open invite of `user` ends, or why it does not admit.
    #[cfg(test)]
    pub(in crate::session) fn admits_until(
        &self,
        user: &UserId,
        invite: crate::base::InviteId,
    ) -> Result<Timestamp, ErrorCode> {
        let state = self.stripe_of(invite.session).1.state.lock();
        let session = state.sessions.get(&invite.session).ok_or(ErrorCode::NoSuchSession)?;
        session.admits_until(user, invite.number, state.now)
    }
}
