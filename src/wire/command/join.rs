//! `join` and `decline`: what a user does with an invite.

use crate::base::{DecodeError, InviteId, Reader, SessionId, Wire, Writer};
use crate::wire::Reason;

/// Becomes a member of a session. Spec: CMD-12.
///
/// ```text
/// 0 | session u64 | invite number varint      by invite
/// 1 | session u64                             open session
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join {
    /// By an invite of the sender's.
    Invite(InviteId),
    /// Without one, where the session is open.
    Session(SessionId),
}

impl Join {
    /// The session that it asks for.
    pub fn session(&self) -> SessionId {
        match self {
            Self::Invite(invite) => invite.session,
            Self::Session(session) => *session,
        }
    }
}

impl Wire for Join {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8("join kind")? {
            0 => Ok(Self::Invite(InviteId::read(reader)?)),
            1 => Ok(Self::Session(SessionId::read(reader)?)),
            kind => Err(DecodeError::Unknown { what: "join kind", value: u64::from(kind) }),
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Invite(invite) => {
                writer.u8(0);
                invite.write(writer);
            }
            Self::Session(session) => {
                writer.u8(1);
                session.write(writer);
            }
        }
    }
}

/// Ends an invite of the sender's; the owner is told. Spec: CMD-13.
///
/// ```text
/// session u64 | invite number varint | reason
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decline {
    /// The invite.
    pub invite: InviteId,
    /// Why, for the owner.
    pub reason: Reason,
}

impl Wire for Decline {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { invite: InviteId::read(reader)?, reason: Reason::read(reader)? })
    }

    fn write(&self, writer: &mut Writer) {
        self.invite.write(writer);
        self.reason.write(writer);
    }
}
