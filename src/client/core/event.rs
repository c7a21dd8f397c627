//! [`Event`]: what a client hears without having asked.

use std::sync::Arc;

use bytes::Bytes;

use super::error::Disconnected;
use super::mirror::Mirror;
use crate::base::{EventNumber, InviteId, MemberId, Revision, SessionId, Slot, UserId};
use crate::wire::event::Invitation;
use crate::wire::{
    DeleteReason, Delivery, ErrorCode, LeaveReason, PropertyChanges, Reason, SessionEvent, UserEvent,
};

/// What a client hears without having asked. Spec: EVT-3, EVT-11.
///
/// Events of one session come in the order of its stream; those with a `number` are the session's
/// numbered ones, the same for every member, without gap or repetition from [`Event::Entered`] to
/// the event that ends the membership.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The client is a member of a session.
    Entered {
        /// Its handle for the session.
        slot: Slot,
        /// The session.
        session: SessionId,
        /// The client's own member id.
        member: MemberId,
        /// Number of the first numbered event that follows.
        next: EventNumber,
        /// The session as it was then, its members and properties: what the events that follow change. The client's
        /// own mirror may be ahead of those that still wait.
        mirror: Arc<Mirror>,
    },
    /// There is a new member.
    MemberJoined {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
        /// The new member.
        member: MemberId,
        /// Its user.
        user: UserId,
    },
    /// A member is gone.
    MemberLeft {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
        /// Who is gone.
        member: MemberId,
        /// Its user.
        user: UserId,
        /// True when it was the client itself: the last event of its slot.
        is_own: bool,
        /// Why.
        why: LeaveReason,
        /// What a kicking owner said.
        reason: Reason,
    },
    /// There is a new owner.
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
        /// The properties' revision with these changes.
        revision: Revision,
        /// Who changed them.
        member: MemberId,
        /// What changed.
        changes: PropertyChanges,
    },
    /// A member sent this, by `broadcast` or `message`.
    Message {
        /// The session.
        slot: Slot,
        /// Number of the event, which ordered broadcasts have.
        number: Option<EventNumber>,
        /// Who sent it. Their user is known from [`Event::MemberJoined`] or the mirror of [`Event::Entered`]; the
        /// client's own mirror may be ahead of the events that still wait, and know them no more.
        sender: MemberId,
        /// How it was delivered.
        delivery: Delivery,
        /// What was sent. It is part of a block with all that was received at that time, some 90 KB at most with
        /// datagrams of 1,452 bytes, 590 KB with the largest: copy what you keep for long.
        payload: Bytes,
    },
    /// The client's own ordered broadcast to others stands here in the session's order.
    Receipt {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
    },
    /// The session is gone; the last event of its slot.
    SessionDeleted {
        /// The session.
        slot: Slot,
        /// Number of the event.
        number: EventNumber,
        /// Why.
        why: DeleteReason,
        /// What a deleting owner said.
        reason: Reason,
    },
    /// A `broadcast` or `message` of the client's was not carried out. Told as soon as the server has decided, which may be
    /// after `Client::flush` has returned.
    Refused {
        /// The session.
        slot: Slot,
        /// Which one: the number that sending it returned.
        counter: u64,
        /// Why.
        code: ErrorCode,
    },
    /// The client takes its messages too slowly and will be removed if that goes on.
    Lagging {
        /// The session; `None` when it is the connection as a whole.
        slot: Option<Slot>,
    },
    /// The user is invited. Told again of every invite that is open when the user connects anew: `invite` tells them apart.
    Invited(Invitation),
    /// An invite of the user's was revoked, or ended with its session.
    InviteRevoked {
        /// The invite.
        invite: InviteId,
    },
    /// An invite's time is over.
    InviteExpired {
        /// The invite.
        invite: InviteId,
        /// Whose it was, when the client owns its session; `None` when it is the client's own.
        user: Option<UserId>,
    },
    /// To the owner: an invited user does not want to join.
    InviteDeclined {
        /// The invite.
        invite: InviteId,
        /// Whose it was.
        user: UserId,
        /// Why.
        reason: Reason,
    },
    /// The connection has ended, and with it every membership; nothing follows.
    Disconnected(Disconnected),
}

impl Event {
    /// The session that the event is about, if it is about one that the client is in.
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

    /// The number of a numbered event.
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

    /// True for the last event of its slot.
    pub fn ends_membership(&self) -> bool {
        matches!(self, Self::SessionDeleted { .. } | Self::MemberLeft { is_own: true, .. })
    }

    /// The event as the app sees it, of the session at `slot` in which the client has sent `sent`
    /// hot-path commands; of a member that left `left` is its user and whether it is the client itself. `None` for a
    /// snapshot, and for the refusal of a command never sent.
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
    /// The event as the app sees it; `None` for what concerns the connection alone.
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

/// The newest of `sent` hot-path commands, counted from 0, whose number has these low 16 bits.
// spec: CMD-25
fn full_counter(sent: u64, low: u16) -> Option<u64> {
    let newest = sent.checked_sub(1)?;
    newest.checked_sub(u64::from(low_counter(newest).wrapping_sub(low)))
}

/// A number as commands carry it.
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
