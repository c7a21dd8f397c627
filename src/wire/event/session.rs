//! [`SessionEvent`]: events for a member on the stream of its session.

use bytes::Bytes;

use super::{Snapshot, read_kind, unknown_kind, write_message_head, write_sent_head};
use crate::base::{DecodeError, EventNumber, MemberId, Reader, Revision, UserId, Wire, Writer};
use crate::wire::{Body, DeleteReason, Delivery, ErrorCode, LeaveReason, PropertyChanges, Reason};

/// An event on a session's stream. Spec: EVT-3.
///
/// ```text
/// 0x50 snapshot            | fields of the snapshot
/// 0x60 member joined       | number | member | user
/// 0x61 member left         | number | member | leave reason | reason
/// 0x62 owner changed       | number | member
/// 0x63 properties changed  | number | revision | member | changes
/// 0x64 message             | number | sender | payload to the end
/// 0x65 receipt             | number
/// 0x66 session deleted     | number | delete reason | reason
/// 0x70 + mode: sent        | sender | [key u16] | payload to the end
/// 0x78 refused             | counter u16 | error code
/// 0x79 lagging
/// ```
/// Events 0x6_ are numbered. The numbers are consecutive from the snapshot's `next` on, and every member sees
/// the same ones in the same order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionEvent {
    /// The state of the session when the member enters it; message 0 of the stream.
    Snapshot(Snapshot),
    /// A member joined.
    MemberJoined {
        /// Number of the event.
        number: EventNumber,
        /// The new member.
        member: MemberId,
        /// Its user.
        user: UserId,
    },
    /// A member left. The event about a member's own departure is the last message of its stream.
    MemberLeft {
        /// Number of the event.
        number: EventNumber,
        /// The member that left.
        member: MemberId,
        /// Cause of the departure.
        why: LeaveReason,
        /// The owner's reason for a kick.
        reason: Reason,
    },
    /// The session has a new owner.
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
        /// The properties' revision including these changes.
        revision: Revision,
        /// The member that changed them.
        member: MemberId,
        /// The changes.
        changes: PropertyChanges,
    },
    /// A member broadcast a payload, reliably and in order.
    Message {
        /// Number of the event.
        number: EventNumber,
        /// The sender.
        sender: MemberId,
        /// The payload.
        body: Body,
    },
    /// The receiver's own ordered broadcast to others got this number.
    Receipt {
        /// Number of the event.
        number: EventNumber,
    },
    /// The session was deleted; the last message of its stream.
    SessionDeleted {
        /// Number of the event.
        number: EventNumber,
        /// Cause of the deletion.
        why: DeleteReason,
        /// The owner's reason for deleting it.
        reason: Reason,
    },
    /// A member sent a payload, by `message`, or by `broadcast` with another delivery.
    Sent {
        /// The sender.
        sender: MemberId,
        /// Its delivery.
        delivery: Delivery,
        /// The payload.
        body: Body,
    },
    /// The receiver's hot-path command with this counter was not carried out.
    Refused {
        /// The command's counter.
        counter: u16,
        /// Reason for the refusal.
        code: ErrorCode,
    },
    /// The receiver takes its messages too slowly and will be removed if this continues.
    Lagging,
}

const SNAPSHOT: u8 = 0x50;
const MEMBER_JOINED: u8 = 0x60;
const MEMBER_LEFT: u8 = 0x61;
const OWNER_CHANGED: u8 = 0x62;
const PROPERTIES_CHANGED: u8 = 0x63;
pub(super) const MESSAGE: u8 = 0x64;
const RECEIPT: u8 = 0x65;
const SESSION_DELETED: u8 = 0x66;
pub(super) const SENT: u8 = 0x70;
const SENT_LAST: u8 = 0x74;
const REFUSED: u8 = 0x78;
const LAGGING: u8 = 0x79;

impl SessionEvent {
    /// Returns the number of a numbered event.
    pub fn number(&self) -> Option<EventNumber> {
        match self {
            Self::MemberJoined { number, .. }
            | Self::MemberLeft { number, .. }
            | Self::OwnerChanged { number, .. }
            | Self::PropertiesChanged { number, .. }
            | Self::Message { number, .. }
            | Self::Receipt { number }
            | Self::SessionDeleted { number, .. } => Some(*number),
            Self::Snapshot(_) | Self::Sent { .. } | Self::Refused { .. } | Self::Lagging => None,
        }
    }

    /// Returns the name that the specification uses.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "snapshot",
            Self::MemberJoined { .. } => "member_joined",
            Self::MemberLeft { .. } => "member_left",
            Self::OwnerChanged { .. } => "owner_changed",
            Self::PropertiesChanged { .. } => "properties_changed",
            Self::Message { .. } => "message",
            Self::Receipt { .. } => "receipt",
            Self::SessionDeleted { .. } => "session_deleted",
            Self::Sent { .. } => "sent",
            Self::Refused { .. } => "refused",
            Self::Lagging => "lagging",
        }
    }

    /// Reads an event that fills `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] if the server broke the protocol.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let event = match read_kind(&mut reader)? {
            SNAPSHOT => Self::Snapshot(Snapshot::read(&mut reader)?),
            kind @ SENT..=SENT_LAST => Self::read_sent(kind - SENT, &mut reader)?,
            REFUSED => Self::Refused { counter: reader.u16("counter")?, code: ErrorCode::read(&mut reader)? },
            LAGGING => Self::Lagging,
            kind => Self::read_numbered(kind, &mut reader)?,
        };
        reader.end()?;
        Ok(event)
    }

    fn read_sent(mode: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        let sender = MemberId::read(reader)?;
        let delivery = Delivery::of_mode(mode, reader)?;
        Ok(Self::Sent { sender, delivery, body: Body::new(delivery, reader.rest())? })
    }

    fn read_numbered(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        if !(MEMBER_JOINED..=SESSION_DELETED).contains(&kind) {
            return Err(unknown_kind(kind));
        }
        let number = EventNumber::read(reader)?;
        Ok(match kind {
            MEMBER_JOINED => {
                Self::MemberJoined { number, member: MemberId::read(reader)?, user: UserId::read(reader)? }
            }
            MEMBER_LEFT => Self::MemberLeft {
                number,
                member: MemberId::read(reader)?,
                why: LeaveReason::read(reader)?,
                reason: Reason::read(reader)?,
            },
            OWNER_CHANGED => Self::OwnerChanged { number, owner: MemberId::read(reader)? },
            PROPERTIES_CHANGED => Self::PropertiesChanged {
                number,
                revision: Revision::read(reader)?,
                member: MemberId::read(reader)?,
                changes: PropertyChanges::read(reader)?,
            },
            MESSAGE => Self::Message {
                number,
                sender: MemberId::read(reader)?,
                body: Body::new(Delivery::ReliableOrdered, reader.rest())?,
            },
            RECEIPT => Self::Receipt { number },
            _ => Self::SessionDeleted {
                number,
                why: DeleteReason::read(reader)?,
                reason: Reason::read(reader)?,
            },
        })
    }

    /// Encodes the event. A payload is copied; the server sends head and payload separately.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Snapshot(snapshot) => {
                writer.u8(SNAPSHOT);
                snapshot.write(writer);
            }
            Self::MemberJoined { number, member, user } => {
                start(MEMBER_JOINED, *number, writer);
                member.write(writer);
                user.write(writer);
            }
            Self::MemberLeft { number, member, why, reason } => {
                start(MEMBER_LEFT, *number, writer);
                member.write(writer);
                why.write(writer);
                reason.write(writer);
            }
            Self::OwnerChanged { number, owner } => {
                start(OWNER_CHANGED, *number, writer);
                owner.write(writer);
            }
            Self::PropertiesChanged { number, revision, member, changes } => {
                start(PROPERTIES_CHANGED, *number, writer);
                revision.write(writer);
                member.write(writer);
                changes.write(writer);
            }
            Self::Message { number, sender, body } => {
                write_message_head(*number, *sender, writer);
                writer.slice(body.bytes());
            }
            Self::Receipt { number } => start(RECEIPT, *number, writer),
            Self::SessionDeleted { number, why, reason } => {
                start(SESSION_DELETED, *number, writer);
                why.write(writer);
                reason.write(writer);
            }
            Self::Sent { sender, delivery, body } => {
                write_sent_head(*delivery, *sender, writer);
                writer.slice(body.bytes());
            }
            Self::Refused { counter, code } => {
                writer.u8(REFUSED);
                writer.u16(*counter);
                code.write(writer);
            }
            Self::Lagging => writer.u8(LAGGING),
        }
    }
}

/// Appends the kind and number of a numbered event.
fn start(kind: u8, number: EventNumber, writer: &mut Writer) {
    writer.u8(kind);
    number.write(writer);
}
