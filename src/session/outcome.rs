//! Outcomes: what a command that was carried out means for those outside of its session.

use std::sync::Arc;

use super::{Member, PropertyMap};
use crate::base::{InviteId, MemberId, SessionId, SessionKind, Timestamp, UserId};
use crate::wire::{DeleteReason, ErrorCode, LeaveReason, Note};

/// A user became a member, by `create` or `join`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The session.
    pub session: SessionId,
    /// The app's class of it.
    pub kind: SessionKind,
    /// The new member.
    pub member: MemberId,
    /// The invite that is used up now: it is no longer one of the user's open invites.
    pub used: Option<InviteId>,
    /// The user's membership by an older connection, which ended with this (`replaced`).
    pub replaced: Option<MemberId>,
}

/// Users were invited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inviting {
    /// The session.
    pub session: SessionId,
    /// The app's class of it.
    pub kind: SessionKind,
    /// The owner, as the invited see it.
    pub owner: UserId,
    /// From when on the invites admit no more.
    pub expires: Timestamp,
    /// The owner's word.
    pub note: Note,
    /// For each user of the command, in its order.
    pub users: Vec<Result<NewInvite, ErrorCode>>,
}

/// One user was invited: it is to be told, and the invite is one of its open ones now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewInvite {
    /// The invite.
    pub invite: InviteId,
    /// An earlier open invite that this one replaces: it is no longer open. The user is not told
    /// of its end, but of the new one.
    pub replaced: Option<InviteId>,
}

/// An open invite ended without being used: its user is to be told (`invite_revoked`, or
/// `invite_expired` where this says so), and it is no longer one of the user's open ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedInvite {
    /// The invite.
    pub invite: InviteId,
    /// Whose it was.
    pub user: UserId,
}

/// A member left or was removed, or the session ended. Members learn of it by their workers'
/// mail, which also releases what was counted for them; what remains are invites.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Departed {
    /// Who left, if one alone did.
    pub left: Option<Left>,
    /// Open invites that this revoked: a kicked user's, or all of a session that ended.
    pub revoked: Vec<EndedInvite>,
    /// The session's end, if it ended with this.
    pub ended: Option<Ended>,
}

/// A member left or was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The member.
    pub member: MemberId,
    /// Its user.
    pub user: UserId,
    /// Why.
    pub why: LeaveReason,
}

/// A session ended: what it was then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The app's class of it.
    pub kind: SessionKind,
    /// Why.
    pub why: DeleteReason,
    /// Who was in it.
    pub members: Arc<Vec<Member>>,
    /// What they shared.
    pub properties: Arc<PropertyMap>,
}

/// A deadline passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expired {
    /// An invite's time is over. Its owner has been told by mail; its user is to be told.
    Invite(EndedInvite),
    /// An empty session ended.
    Session(SessionId, Departed),
}

impl Expired {
    /// Sessions and invites that ended.
    pub fn ends(&self) -> usize {
        match self {
            Self::Invite(_) => 1,
            Self::Session(_, departed) => 1 + departed.revoked.len(),
        }
    }
}
