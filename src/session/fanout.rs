//! [`Fanout`]: one change of a session, as mail to one worker with members in it.
//!
//! A worker keeps a roster of its local members of each session and changes it only by these, in
//! their order. So mail lists no members, a joiner's snapshot fits exactly between two events,
//! and a member that left gets nothing after its leave.

use std::sync::Arc;

use super::{Member, MemberAt, PropertyMap};
use crate::base::{EventNumber, MemberId, Revision, SessionId, UserId};
use crate::wire::command::To;
use crate::wire::event::{Snapshot, SnapshotMember};
use crate::wire::property::Property;
use crate::wire::{Body, DeleteReason, Delivery, LeaveReason, PropertyChanges, Reason, Settings, UserEvent};

/// A change of `session`, to be told to the receiving worker's members of it.
#[derive(Debug)]
pub struct Fanout {
    /// The session.
    pub session: SessionId,
    /// What happened in it.
    pub change: Change,
    /// What that leads to at the worker.
    pub deliveries: super::Deliveries,
}

/// What happened in a session.
#[derive(Debug, Clone)]
pub enum Change {
    /// A member joined. Tell those in the roster; if the new one is yours (`snapshot` is there),
    /// add it and send it the snapshot as message 0 of its stream, and not this event.
    Joined {
        /// Number of the event.
        number: EventNumber,
        /// The new member.
        member: MemberId,
        /// Its user.
        user: UserId,
        /// Where it is reached.
        at: MemberAt,
        /// Only for the worker that serves it: the session that it enters.
        snapshot: Option<SessionSnapshot>,
    },
    /// A member is gone. Tell all in the roster, itself last of all on its stream, and remove it.
    Left {
        /// Number of the event.
        number: EventNumber,
        /// Who is gone.
        member: MemberId,
        /// Why.
        why: LeaveReason,
        /// What a kicking owner said.
        reason: Reason,
    },
    /// There is a new owner.
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
        /// Their revision now.
        revision: Revision,
        /// Who changed them.
        member: MemberId,
        /// What changed.
        changes: PropertyChanges,
    },
    /// An ordered broadcast. With [`To::Others`] its sender gets a receipt in its place.
    Message {
        /// Number of the event.
        number: EventNumber,
        /// Who sent it.
        sender: MemberId,
        /// Who gets the payload.
        to: To,
        /// The payload.
        body: Body,
    },
    /// A broadcast of another delivery, or a message to some members. Not numbered.
    Sent {
        /// Who sent it.
        sender: MemberId,
        /// How it is delivered.
        delivery: Delivery,
        /// Who gets it.
        to: Audience,
        /// The payload.
        body: Body,
    },
    /// The session ended. Tell all in the roster, last of all on their streams, and drop it.
    Deleted {
        /// Number of the event.
        number: EventNumber,
        /// Why.
        why: DeleteReason,
        /// What a deleting owner said.
        reason: Reason,
    },
    /// Something for one member alone, on stream 0 of its connection. Not numbered.
    ToMember {
        /// Who is told.
        member: MemberId,
        /// What.
        event: UserEvent,
    },
}

/// Whom a [`Change::Sent`] reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Every member.
    All,
    /// Every member but its sender.
    Others,
    /// These members, by id; those that are not in the roster are another worker's or gone.
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

/// A session as a new member enters it: shares the lists with the session, which copies them only
/// when it changes them meanwhile. To be encoded outside of all locks.
#[derive(Debug, Clone)]
pub struct SessionSnapshot {
    /// The session.
    pub session: SessionId,
    /// What does not change in it.
    pub settings: Settings,
    /// The member that it is for.
    pub you: MemberId,
    /// The owner.
    pub owner: MemberId,
    /// Number of the first event that it does not contain.
    pub next: EventNumber,
    /// All members, by id.
    pub members: Arc<Vec<Member>>,
    /// Revision of the properties.
    pub revision: Revision,
    /// All properties.
    pub properties: Arc<PropertyMap>,
}

impl SessionSnapshot {
    /// The snapshot as it travels.
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
