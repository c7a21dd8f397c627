//! [`Fanout`]: one change of a session, as mail to one worker with members in it.
//!
//! A worker keeps a roster of its local members of each session and changes it only by this mail, in order.
//! So mail need not list members, a joiner's snapshot fits exactly between two events, and a member that left
//! receives nothing after its leave.

use std::sync::Arc;

use super::{Member, MemberAt, PropertyMap};
use crate::base::{EventNumber, MemberId, Revision, SessionId, UserId};
use crate::wire::command::To;
use crate::wire::event::{Snapshot, SnapshotMember};
use crate::wire::property::Property;
use crate::wire::{Body, DeleteReason, Delivery, LeaveReason, PropertyChanges, Reason, Settings, UserEvent};

/// A change of `session`, for the members of it that the receiving worker serves.
#[derive(Debug)]
pub struct Fanout {
    /// The session that changed.
    pub session: SessionId,
    /// The change.
    pub change: Change,
    /// What that leads to at the worker.
    pub deliveries: super::Deliveries,
}

/// A change of a session.
#[derive(Debug, Clone)]
pub enum Change {
    /// A member joined. The worker sends the event to the members in its roster. If `snapshot` is present,
    /// the new member is its own: it adds the member and sends it the snapshot as message 0 of its stream,
    /// instead of this event.
    Joined {
        /// Number of the event.
        number: EventNumber,
        /// The new member.
        member: MemberId,
        /// User of the new member.
        user: UserId,
        /// Location of the new member.
        at: MemberAt,
        /// The session that the member enters; only for the worker that serves it.
        snapshot: Option<SessionSnapshot>,
    },
    /// A member left or was removed. The worker sends the event to all in its roster and then removes the
    /// leaver, for whom it is the last message on the stream.
    Left {
        /// Number of the event.
        number: EventNumber,
        /// The member that left.
        member: MemberId,
        /// Reason of the leave.
        why: LeaveReason,
        /// Text given by the owner that kicked the member.
        reason: Reason,
    },
    /// The owner changed.
    OwnerChanged {
        /// Number of the event.
        number: EventNumber,
        /// The new owner.
        owner: MemberId,
    },
    /// Properties changed.
    PropertiesChanged {
        /// Number of the event.
        number: EventNumber,
        /// Revision after the change.
        revision: Revision,
        /// The member that changed them.
        member: MemberId,
        /// The changes.
        changes: PropertyChanges,
    },
    /// An ordered broadcast. With [`To::Others`] its sender gets a receipt instead.
    Message {
        /// Number of the event.
        number: EventNumber,
        /// The sender.
        sender: MemberId,
        /// Members that get the payload.
        to: To,
        /// The payload.
        body: Body,
    },
    /// A broadcast of another delivery, or a message to some members. Not numbered.
    Sent {
        /// The sender.
        sender: MemberId,
        /// Delivery of the payload.
        delivery: Delivery,
        /// Members that get the payload.
        to: Audience,
        /// The payload.
        body: Body,
    },
    /// The session ended. The worker sends the event to all in its roster as the last message on their
    /// streams, and drops the roster.
    Deleted {
        /// Number of the event.
        number: EventNumber,
        /// Reason of the end.
        why: DeleteReason,
        /// Text given by the owner that deleted the session.
        reason: Reason,
    },
    /// An event for one member alone, on stream 0 of its connection. Not numbered.
    ToMember {
        /// The member.
        member: MemberId,
        /// The event.
        event: UserEvent,
    },
}

/// The recipients of a [`Change::Sent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Every member.
    All,
    /// Every member except the sender.
    Others,
    /// The members with these ids; those not in the roster are served by another worker or have left.
    Members(Arc<[MemberId]>),
}

impl From<To> for Audience {
    fn from(to: To) -> Self {
        match to {
            To::All => Self::All,
            To::Others => Self::Others,
        }
    }
}

/// A session as a new member enters it. It shares its lists with the session, which copies them if it changes
/// them while the snapshot exists. Must be encoded outside of all locks.
#[derive(Debug, Clone)]
pub struct SessionSnapshot {
    /// The session.
    pub session: SessionId,
    /// The immutable settings.
    pub settings: Settings,
    /// The member that the snapshot is for.
    pub you: MemberId,
    /// The owner.
    pub owner: MemberId,
    /// Number of the first event that the snapshot does not contain.
    pub next: EventNumber,
    /// All members, by id.
    pub members: Arc<Vec<Member>>,
    /// Revision of the properties.
    pub revision: Revision,
    /// All properties.
    pub properties: Arc<PropertyMap>,
}

impl SessionSnapshot {
    /// Returns the snapshot in its wire form.
    pub fn to_wire(&self) -> Snapshot {
        let member = |member: &Member| SnapshotMember { member: member.id, user: member.user.clone() };
        let properties = self.properties.iter().map(|(key, entry)| Property {
            key: key.clone(),
            value: entry.value.clone(),
            rule: entry.rule,
            creator: entry.creator,
        });
        Snapshot {
            session: self.session,
            settings: self.settings,
            you: self.you,
            owner: self.owner,
            next: self.next,
            members: self.members.iter().map(member).collect(),
            revision: self.revision,
            properties: properties.collect(),
        }
    }
}
