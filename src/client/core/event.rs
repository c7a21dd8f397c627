//! [`Event`]: what a client receives without having asked.

use std::sync::Arc;

use bytes::Bytes;

use super::error::Disconnected;
use super::mirror::Mirror;
use crate::base::{EventNumber, InviteId, MemberId, Revision, SessionId, Slot, UserId};
use crate::wire::event::Invitation;
use crate::wire::{
    DeleteReason, Delivery, ErrorCode, LeaveReason, PropertyChanges, Reason, SessionEvent, UserEvent,
};

/// An event that a client receives without having asked. Spec: EVT-3, EVT-11.
///
/// The events of a session with a `number` are the same for every member, in the same order, without gap or
/// repetition from [`Event::Entered`] to the event that ends the membership. A message without a number may
/// arrive before or after any of them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The client has become a member of a session.
    Entered {
        /// The client's handle for the session.
        slot: Slot,
        /// The session.
        session: SessionId,
        /// The client's own member id.
        member: MemberId,
        /// Number of the first numbered event that follows.
        next: EventNumber,
        /// The members and properties of the session at that time, to which the following events apply. The
        /// client's own mirror may be ahead of the events that still wait.
        mirror: Arc<Mirror>,
    },
    /// A member has joined.
    MemberJoined {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
        /// The new member.
        member: MemberId,
        /// The member's user.
        user: UserId,
    },
    /// A member has left. If it was the owner, [`Event::OwnerChanged`] or [`Event::SessionDeleted`] follows.
    MemberLeft {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
        /// The member that has left.
        member: MemberId,
        /// The member's user.
        user: UserId,
        /// True if it was the client itself; this is then the last event of its slot.
        is_own: bool,
        /// Why the member left.
        why: LeaveReason,
        /// The reason given by the owner, if the member was kicked.
        reason: Reason,
    },
    /// The owner has changed.
    OwnerChanged {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
        /// The new owner.
        owner: MemberId,
    },
    /// Properties changed.
    PropertiesChanged {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
        /// The revision of the properties that includes these changes.
        revision: Revision,
        /// The member that changed them.
        member: MemberId,
        /// The changes.
        changes: PropertyChanges,
    },
    /// A message sent by a member with `broadcast` or `message`.
    Message {
        /// The session.
        slot: Slot,
        /// Number of the event; only ordered broadcasts have one.
        number: Option<EventNumber>,
        /// The member that sent it. Its user is known from [`Event::MemberJoined`] or the mirror of
        /// [`Event::Entered`], except that a message without a number may arrive before its sender's
        /// `MemberJoined` or after its [`Event::MemberLeft`]. The client's own mirror may be ahead of the
        /// events that still wait, and no longer contain the member. Spec: EVT-10.
        sender: MemberId,
        /// The delivery mode.
        delivery: Delivery,
        /// The payload. It is part of a block that holds everything received at that time, at most about 90
        /// KB with datagrams of 1,452 bytes and 590 KB with the largest: copy what you keep for long.
        payload: Bytes,
    },
    /// The position of the client's own ordered broadcast to others in the session's order.
    Receipt {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
    },
    /// The session was deleted; the last event of its slot.
    SessionDeleted {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
        /// Why the session was deleted.
        why: DeleteReason,
        /// The reason given by the owner, if the owner deleted it.
        reason: Reason,
    },
    /// A `broadcast` or `message` of the client was refused. Reported as soon as the server has decided,
    /// which may be after `Client::flush` has returned.
    Refused {
        /// The session.
        slot: Slot,
        /// The counter that sending the refused message returned.
        counter: u64,
        /// Why it was refused.
        code: ErrorCode,
    },
    /// The client receives its messages too slowly, and will be removed if this continues.
    Lagging {
        /// The session; `None` if the whole connection is too slow.
        slot: Option<Slot>,
    },
    /// The user is invited. Every open invite is reported again when the user connects anew; `invite` tells
    /// invites apart.
    Invited(Invitation),
    /// An invite of the user was revoked, or ended with its session.
    InviteRevoked {
        /// The invite.
        invite: InviteId,
    },
    /// An invite has expired.
    InviteExpired {
        /// The invite.
        invite: InviteId,
        /// The invited user, if the client owns the session; `None` if the invite is the client's own.
        user: Option<UserId>,
    },
    /// Sent to the owner: an invited user has declined.
    InviteDeclined {
        /// The invite.
        invite: InviteId,
        /// The user that declined.
        user: UserId,
        /// The reason given by the user.
        reason: Reason,
    },
    /// The connection has ended, and with it every membership; no event follows.
    Disconnected(Disconnected),
}

impl Event {
    /// Returns the session that the event is about, if it is one that the client is in.
    pub fn slot(&self) -> Option<Slot> {
        match self {
            Self::Entered { slot, .. }
            | Self::MemberJoined { slot, .. }
            | Self::MemberLeft { slot, .. }
            | Self::OwnerChanged { slot, .. }
            | Self::PropertiesChanged { slot, .. }
            | Self::Message { slot, .. }
            | Self::Receipt { slot, .. }
            | Self::SessionDeleted { slot, .. }
            | Self::Refused { slot, .. } => Some(*slot),
            Self::Lagging { slot } => *slot,
            Self::Invited(_)
            | Self::InviteRevoked { .. }
            | Self::InviteExpired { .. }
            | Self::InviteDeclined { .. }
            | Self::Disconnected(_) => None,
        }
    }

    /// Returns the number of a numbered event.
    pub fn number(&self) -> Option<EventNumber> {
        match self {
            Self::MemberJoined { number, .. }
            | Self::MemberLeft { number, .. }
            | Self::OwnerChanged { number, .. }
            | Self::PropertiesChanged { number, .. }
            | Self::Receipt { number, .. }
            | Self::SessionDeleted { number, .. } => Some(*number),
            Self::Message { number, .. } => *number,
            _ => None,
        }
    }

    /// Returns true for the last event of its slot.
    pub fn ends_membership(&self) -> bool {
        matches!(self, Self::SessionDeleted { .. } | Self::MemberLeft { is_own: true, .. })
    }

    /// Converts an event of the session at `slot` to the app's form. `sent` is the number of hot-path
    /// commands that the client has sent there; `left` holds the user of a member that left and whether it is
    /// the client itself. Returns `None` for a snapshot, and for the refusal of a command that was never
    /// sent.
    pub(super) fn from_session(
        slot: Slot,
        event: SessionEvent,
        sent: u64,
        left: Option<(UserId, bool)>,
    ) -> Option<Self> {
        Some(match event {
            SessionEvent::Snapshot(_) => return None,
            SessionEvent::MemberJoined { number, member, user } => {
                Self::MemberJoined { slot, number, member, user }
            }
            SessionEvent::MemberLeft { number, member, why, reason } => {
                let (user, is_own) = left?;
                Self::MemberLeft { slot, number, member, user, is_own, why, reason }
            }
            SessionEvent::OwnerChanged { number, owner } => Self::OwnerChanged { slot, number, owner },
            SessionEvent::PropertiesChanged { number, revision, member, changes } => {
                Self::PropertiesChanged { slot, number, revision, member, changes }
            }
            SessionEvent::Message { number, sender, body } => {
                let (number, delivery) = (Some(number), Delivery::ReliableOrdered);
                Self::Message { slot, number, sender, delivery, payload: body.into_bytes() }
            }
            SessionEvent::Receipt { number } => Self::Receipt { slot, number },
            SessionEvent::SessionDeleted { number, why, reason } => {
                Self::SessionDeleted { slot, number, why, reason }
            }
            SessionEvent::Sent { sender, delivery, body } => {
                Self::Message { slot, number: None, sender, delivery, payload: body.into_bytes() }
            }
            SessionEvent::Refused { counter, code } => {
                Self::Refused { slot, counter: full_counter(sent, counter)?, code }
            }
            SessionEvent::Lagging => Self::Lagging { slot: Some(slot) },
        })
    }
}

impl Event {
    /// Converts a user event to the app's form; `None` if it concerns the connection alone.
    pub(super) fn from_user(event: UserEvent) -> Option<Self> {
        Some(match event {
            UserEvent::Invited(invitation) => Self::Invited(invitation),
            UserEvent::InviteRevoked { invite } => Self::InviteRevoked { invite },
            UserEvent::InviteExpired { invite, user } => Self::InviteExpired { invite, user },
            UserEvent::InviteDeclined { invite, user, reason } => {
                Self::InviteDeclined { invite, user, reason }
            }
            UserEvent::Lagging => Self::Lagging { slot: None },
            UserEvent::Rehomed { .. } => return None,
        })
    }
}

/// Returns the number of the newest of `sent` hot-path commands, counted from 0, that has these low 16 bits.
// spec: CMD-25
fn full_counter(sent: u64, low: u16) -> Option<u64> {
    let newest = sent.checked_sub(1)?;
    newest.checked_sub(u64::from(low_counter(newest).wrapping_sub(low)))
}

/// Returns the low 16 bits of a counter, as commands carry it.
// spec: CMD-25
pub(super) fn low_counter(number: u64) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_counter_is_the_newest_that_was_sent() {
        assert_eq!(full_counter(0, 0), None);
        assert_eq!(full_counter(1, 0), Some(0));
        assert_eq!(full_counter(1, 1), None, "never sent");
        assert_eq!(full_counter(65_536, 65_535), Some(65_535));
        assert_eq!(full_counter(65_537, 0), Some(65_536));
        assert_eq!(full_counter(65_537, 65_535), Some(65_535));
        assert_eq!(full_counter(100_000, 33_464), Some(99_000));
        assert_eq!(full_counter(100_000, 34_464), Some(34_464), "the oldest that it may be");
        assert_eq!(full_counter((1 << 32) + 1, 65_535), Some((1 << 32) - 1));
        assert_eq!(full_counter(u64::MAX, 65_535), Some(u64::MAX - 65_536));
    }
}
