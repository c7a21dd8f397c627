//! [`UserEvent`]: events for a user on stream 0, mostly about invites.

use bytes::Bytes;

use super::{read_kind, unknown_kind};
use crate::base::{ConnectionId, DecodeError, InviteId, Reader, SessionKind, UserId, Wire, Writer};
use crate::wire::{Note, Reason};

/// An event on stream 0. Spec: EVT-11.
///
/// ```text
/// 0x80 invited          | invitation
/// 0x81 invite revoked   | invite
/// 0x82 invite expired   | invite | length varint (0..=64) | user id
/// 0x83 invite declined  | invite | user | reason
/// 0x84 lagging
/// 0x85 rehomed          | connection id u32
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserEvent {
    /// The user is invited.
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
        /// The invited user, in the event for the session's owner; `None` in the event for the invited user.
        user: Option<UserId>,
    },
    /// To the owner: an invited user declined.
    InviteDeclined {
        /// The invite.
        invite: InviteId,
        /// The user who declined.
        user: UserId,
        /// Reason for declining.
        reason: Reason,
    },
    /// The receiver takes its messages too slowly, and its connection will be closed if this continues.
    Lagging,
    /// The connection has an additional id, which its client's packets must carry from now on. Spec: EVT-14.
    Rehomed {
        /// The id.
        connection: ConnectionId,
    },
}

const INVITED: u8 = 0x80;
const INVITE_REVOKED: u8 = 0x81;
const INVITE_EXPIRED: u8 = 0x82;
const INVITE_DECLINED: u8 = 0x83;
const LAGGING: u8 = 0x84;
const REHOMED: u8 = 0x85;

impl UserEvent {
    /// Reads an event that fills `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] if the server broke the protocol.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let event = match read_kind(&mut reader)? {
            INVITED => Self::Invited(Invitation::read(&mut reader)?),
            INVITE_REVOKED => Self::InviteRevoked { invite: InviteId::read(&mut reader)? },
            INVITE_EXPIRED => Self::InviteExpired {
                invite: InviteId::read(&mut reader)?,
                user: read_optional_user(&mut reader)?,
            },
            INVITE_DECLINED => Self::InviteDeclined {
                invite: InviteId::read(&mut reader)?,
                user: UserId::read(&mut reader)?,
                reason: Reason::read(&mut reader)?,
            },
            LAGGING => Self::Lagging,
            REHOMED => Self::Rehomed { connection: ConnectionId(reader.u32("connection id")?) },
            kind => return Err(unknown_kind(kind)),
        };
        reader.end()?;
        Ok(event)
    }

    /// Encodes the event.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        match self {
            Self::Invited(invitation) => {
                writer.u8(INVITED);
                invitation.write(&mut writer);
            }
            Self::InviteRevoked { invite } => {
                writer.u8(INVITE_REVOKED);
                invite.write(&mut writer);
            }
            Self::InviteExpired { invite, user } => {
                writer.u8(INVITE_EXPIRED);
                invite.write(&mut writer);
                match user {
                    Some(user) => user.write(&mut writer),
                    None => writer.u8(0),
                }
            }
            Self::InviteDeclined { invite, user, reason } => {
                writer.u8(INVITE_DECLINED);
                invite.write(&mut writer);
                user.write(&mut writer);
                reason.write(&mut writer);
            }
            Self::Lagging => writer.u8(LAGGING),
            Self::Rehomed { connection } => {
                writer.u8(REHOMED);
                writer.u32(connection.0);
            }
        }
        writer.finish()
    }
}

/// Reads a user id, or `None` for the length 0.
fn read_optional_user(reader: &mut Reader) -> Result<Option<UserId>, DecodeError> {
    if reader.peek() == Some(0) {
        reader.u8("user id")?;
        return Ok(None);
    }
    UserId::read(reader).map(Some)
}

/// An invite as its user sees it, in `invited` and in the answer to `list_invites`. Spec: INV-5.
///
/// ```text
/// invite | kind u16 | owner | ttl left varint (ms) | note
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// The invite, which includes the session.
    pub invite: InviteId,
    /// The application's class of the session.
    pub kind: SessionKind,
    /// The owner who sent the invite; another member may own the session by now. Spec: INV-5.
    pub owner: UserId,
    /// Remaining time that it was valid when this was written, in ms.
    pub ttl_left_ms: u32,
    /// The owner's note.
    pub note: Note,
}

impl Wire for Invitation {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            invite: InviteId::read(reader)?,
            kind: SessionKind::read(reader)?,
            owner: UserId::read(reader)?,
            ttl_left_ms: reader.varint_u32("ttl left")?,
            note: Note::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.invite.write(writer);
        self.kind.write(writer);
        self.owner.write(writer);
        writer.varint(u64::from(self.ttl_left_ms));
        self.note.write(writer);
    }
}
