//! The commands of members and of those who come: each on one session, under the lock of its stripe.

use super::super::{Admitted, Departed, EndedInvite, Inviting, MemberAt, Outbox};
use super::SessionTable;
use crate::base::{MemberId, Revision, SessionId, Timestamp, UserId};
use crate::wire::command::{Broadcast, Decline, Invite, Join, Kick, Message};
use crate::wire::{ErrorCode, LeaveReason, PropertyOps, Reason};

impl SessionTable {
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

    /// The operator removes a user; their open invites are void. Never `busy`.
    ///
    /// # Errors
    /// `no_such_session`, `no_such_member`.
    pub fn expel(
        &self,
        now: Timestamp,
        session: SessionId,
        user: &UserId,
        reason: Reason,
        outbox: &mut dyn Outbox,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, session, ErrorCode::NoSuchSession, outbox, |session, turn| {
            session.expel_user(user, reason, turn)
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
}
