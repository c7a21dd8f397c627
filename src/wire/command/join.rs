//! `join` and `decline`: a user's commands on invites.

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
    /// With an invite of the sender.
    Invite(InviteId),
    /// Without an invite, if the session is open.
    Session(SessionId),
}

impl Join {
    /// Returns the session to join.
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

/// Ends an invite of the sender; the owner is notified. Spec: CMD-13.
///
/// ```text
/// session u64 | invite number varint | reason
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decline {
    /// The invite.
    pub invite: InviteId,
    /// Reason, for the owner.
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
