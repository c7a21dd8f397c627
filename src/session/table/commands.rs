//! Commands of members and of joining users, each on one session under the lock of its stripe.

use super::super::{Admitted, Departed, EndedInvite, Entrant, Inviting, MemberRef, WorkerPort};
use super::SessionTable;
use crate::base::{MemberId, Revision, SessionId, Timestamp, UserId};
use crate::wire::command::{Broadcast, Decline, Invite, Join, Kick, Message};
use crate::wire::{ErrorCode, LeaveReason, PropertyOps, Reason};

impl SessionTable {
    /// Makes a user a member, replacing a membership by an older connection.
    ///
    /// # Errors
    /// In this order: `no_such_session`, or `busy` while a new session is about to take its place; with an
    /// invite `no_such_invite`, `not_your_invite`, `invite_expired`, `invite_revoked`, `invite_used`,
    /// `invite_declined`, without one `session_not_open`; `already_member`, `session_full`, `busy` where no event
    /// number is left or the snapshot finds no room, `rate_limited`, `busy` where a worker's mailbox is full.
    pub fn join(
        &self,
        now: Timestamp,
        entrant: Entrant<'_>,
        join: Join,
        port: &mut dyn WorkerPort,
    ) -> Result<Admitted, ErrorCode> {
        self.with(now, join.session(), ErrorCode::NoSuchSession, port, |session, turn| {
            session.join(entrant, join, turn)
        })
    }

    /// Declines an invite of `user`; the owner is notified by mail.
    ///
    /// # Errors
    /// `no_such_session`; those of the invite, as in [`SessionTable::join`]; `busy`.
    pub fn decline(
        &self,
        now: Timestamp,
        user: &UserId,
        decline: Decline,
        port: &mut dyn WorkerPort,
    ) -> Result<(), ErrorCode> {
        let Decline { invite, reason } = decline;
        self.with(now, invite.session, ErrorCode::NoSuchSession, port, |session, turn| {
            session.decline(user, invite.number, reason, turn)
        })
    }

    /// Invites `users`: those of `invite` that the caller lets through. The outcome has an answer for each:
    /// `already_member`, `session_full` if no seat is left to hold, `too_many_invites`.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`.
    pub fn invite(
        &self,
        now: Timestamp,
        by: MemberRef,
        invite: &Invite,
        users: &[UserId],
        port: &mut dyn WorkerPort,
    ) -> Result<Inviting, ErrorCode> {
        self.with(now, by.session, ErrorCode::NotAMember, port, |session, turn| {
            session.invite(by.member, invite, users, turn)
        })
    }

    /// Revokes an open invite. The caller must notify its user.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`, `no_such_invite`, or the code of how the invite has already ended.
    pub fn revoke(
        &self,
        now: Timestamp,
        by: MemberRef,
        number: u32,
        port: &mut dyn WorkerPort,
    ) -> Result<EndedInvite, ErrorCode> {
        self.with(now, by.session, ErrorCode::NotAMember, port, |session, turn| {
            session.revoke_by(by.member, number, turn)
        })
    }

    /// Removes a member that asked to leave or whose connection has ended. Never `busy`.
    ///
    /// # Errors
    /// `not_a_member`.
    pub fn leave(
        &self,
        now: Timestamp,
        leaver: MemberRef,
        why: LeaveReason,
        port: &mut dyn WorkerPort,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, leaver.session, ErrorCode::NotAMember, port, |session, turn| {
            session.leave(leaver.member, why, turn)
        })
    }

    /// Removes a member on behalf of the owner and revokes that user's open invite. Never `busy`.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`, `no_such_member`, `invalid_target` for the owner itself.
    pub fn kick(
        &self,
        now: Timestamp,
        by: MemberRef,
        kick: Kick,
        port: &mut dyn WorkerPort,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, by.session, ErrorCode::NotAMember, port, |session, turn| {
            session.kick(by.member, kick.member, kick.reason, turn)
        })
    }

    /// Transfers ownership to another member on behalf of the owner.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`, `no_such_member`, `invalid_target` for the owner itself, `rate_limited`,
    /// `busy`.
    pub fn transfer(
        &self,
        now: Timestamp,
        by: MemberRef,
        to: MemberId,
        port: &mut dyn WorkerPort,
    ) -> Result<(), ErrorCode> {
        self.with(now, by.session, ErrorCode::NotAMember, port, |session, turn| {
            session.transfer(by.member, to, turn)
        })
    }

    /// Ends the session on behalf of the owner. Never `busy`.
    ///
    /// # Errors
    /// `not_a_member`, `not_owner`.
    pub fn delete(
        &self,
        now: Timestamp,
        by: MemberRef,
        reason: Reason,
        port: &mut dyn WorkerPort,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, by.session, ErrorCode::NotAMember, port, |session, turn| {
            session.delete(by.member, reason, turn)
        })
    }

    /// Ends the session on behalf of the operator. Never `busy`.
    ///
    /// # Errors
    /// `no_such_session`.
    pub fn close(
        &self,
        now: Timestamp,
        session: SessionId,
        reason: Reason,
        port: &mut dyn WorkerPort,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, session, ErrorCode::NoSuchSession, port, |session, turn| {
            Ok(session.close(reason, turn))
        })
    }

    /// Removes a user on behalf of the operator and revokes that user's open invite. Never `busy`.
    ///
    /// # Errors
    /// `no_such_session`, `no_such_member`.
    pub fn expel(
        &self,
        now: Timestamp,
        session: SessionId,
        user: &UserId,
        reason: Reason,
        port: &mut dyn WorkerPort,
    ) -> Result<Departed, ErrorCode> {
        self.with(now, session, ErrorCode::NoSuchSession, port, |session, turn| {
            session.expel_user(user, reason, turn)
        })
    }

    /// Sends a payload to all members, as a numbered event if the delivery is ordered.
    ///
    /// # Errors
    /// `not_a_member`, `rate_limited`, `busy`.
    pub fn broadcast(
        &self,
        now: Timestamp,
        sender: MemberRef,
        broadcast: Broadcast,
        port: &mut dyn WorkerPort,
    ) -> Result<(), ErrorCode> {
        self.with(now, sender.session, ErrorCode::NotAMember, port, |session, turn| {
            session.broadcast(sender.member, broadcast, turn)
        })
    }

    /// Sends a payload to some members. Recipients that have left are skipped: the event of their leave is on
    /// its way to the sender.
    ///
    /// # Errors
    /// `not_a_member`; `no_such_member` if a recipient never was a member or none is a member now;
    /// `rate_limited`, `busy`.
    pub fn message(
        &self,
        now: Timestamp,
        sender: MemberRef,
        message: Message,
        port: &mut dyn WorkerPort,
    ) -> Result<(), ErrorCode> {
        self.with(now, sender.session, ErrorCode::NotAMember, port, |session, turn| {
            session.message(sender.member, message, turn)
        })
    }

    /// Changes properties, all or nothing, and returns their revision.
    ///
    /// # Errors
    /// `not_a_member`; `no_such_property`, `property_denied`, `property_not_integer`, `property_overflow`,
    /// `property_mismatch` of the first operation that is refused; `too_many_properties`,
    /// `properties_too_large`; `rate_limited`, `busy`.
    pub fn set_properties(
        &self,
        now: Timestamp,
        by: MemberRef,
        ops: &PropertyOps,
        port: &mut dyn WorkerPort,
    ) -> Result<Revision, ErrorCode> {
        self.with(now, by.session, ErrorCode::NotAMember, port, |session, turn| {
            session.set_properties(by.member, ops, turn)
        })
    }
}
