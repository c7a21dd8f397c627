//! What can be read of sessions.

use std::sync::Arc;

use super::super::PropertyMap;
use super::super::members::Member;
use super::{SessionTable, Stripe};
use crate::base::sync::CachePadded;
use crate::base::{SessionId, Timestamp, UserId, WorkerId};
use crate::wire::ErrorCode;
use crate::wire::command::Join;
use crate::wire::result::Info;

impl SessionTable {
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

    /// The properties of a session; `None` when there is no such session.
    pub fn properties(&self, session: SessionId) -> Option<Arc<PropertyMap>> {
        let state = self.stripe_of(session).1.state.lock();
        state.sessions.get(&session).map(|session| session.properties.map().clone())
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
