//! Outcomes: the effects of an executed command outside of its session.

use std::sync::Arc;

use super::{Member, MemberRef, PropertyMap};
use crate::base::{InviteId, MemberId, SessionId, SessionKind, Timestamp, UserId};
use crate::wire::{DeleteReason, ErrorCode, LeaveReason, Note};

/// Outcome of a `create` or `join`: a user became a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The session.
    pub session: SessionId,
    /// Application-defined class of the session.
    pub kind: SessionKind,
    /// The new member.
    pub member: MemberId,
    /// The invite that is now used up; it is no longer one of the user's open invites.
    pub used: Option<InviteId>,
    /// The user's membership by an older connection, which ended with this one (`replaced`).
    pub replaced: Option<MemberId>,
    /// Most bytes that the snapshot for the new member takes.
    pub snapshot_bytes: usize,
}

impl Admitted {
    /// Returns the new member, together with its session.
    pub fn member_ref(&self) -> MemberRef {
        MemberRef { session: self.session, member: self.member }
    }
}

/// Outcome of an `invite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inviting {
    /// The session.
    pub session: SessionId,
    /// Application-defined class of the session.
    pub kind: SessionKind,
    /// The owner, as the invited users see it.
    pub owner: UserId,
    /// First instant at which the invites do not admit.
    pub expires: Timestamp,
    /// Note of the owner.
    pub note: Note,
    /// Result for each user of the command, in its order.
    pub users: Vec<Result<NewInvite, ErrorCode>>,
}

/// One user was invited. The user must be notified, and the invite is now one of its open ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewInvite {
    /// The invite.
    pub invite: InviteId,
    /// An earlier open invite that this one replaces. It is no longer open; the user is notified of the new
    /// invite but not of the end of the old one.
    pub replaced: Option<InviteId>,
}

/// An open invite that ended unused. Its user must be notified (`invite_revoked`, or `invite_expired` where
/// stated), and it is no longer one of the user's open invites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedInvite {
    /// The invite.
    pub invite: InviteId,
    /// The invited user.
    pub user: UserId,
}

/// A member left or was removed, or the session ended. Members learn of it through their workers' mail, which
/// also releases what was counted for them; the caller handles the invites.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Departed {
    /// The member that left, if one did.
    pub left: Option<Left>,
    /// Invites whose own time was over before the session ended.
    pub expired: Vec<EndedInvite>,
    /// Open invites that were revoked: that of a kicked user, or all of a session that ended.
    pub revoked: Vec<EndedInvite>,
    /// The end of the session, if it ended.
    pub ended: Option<Ended>,
}

/// A member left or was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The member.
    pub member: MemberId,
    /// User of the member.
    pub user: UserId,
    /// Reason of the leave.
    pub why: LeaveReason,
}

/// The end of a session, and its last state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Application-defined class of the session.
    pub kind: SessionKind,
    /// Reason of the end.
    pub why: DeleteReason,
    /// Members at its end.
    pub members: Arc<Vec<Member>>,
    /// Properties at its end.
    pub properties: Arc<PropertyMap>,
}

/// A deadline that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expired {
    /// An invite expired. Its owner has been notified by mail; its user must still be notified.
    Invite(EndedInvite),
    /// An empty session ended.
    Session(SessionId, Departed),
}

impl Expired {
    /// Returns how many sessions and invites ended.
    pub fn ends(&self) -> usize {
        match self {
            Self::Invite(_) => 1,
            Self::Session(_, departed) => 1 + departed.expired.len() + departed.revoked.len(),
        }
    }
}
