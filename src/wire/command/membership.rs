//! `kick`, `transfer` and `delete`: an owner's commands on members and the session.

use crate::base::{DecodeError, MemberId, Reader, Wire, Writer};
use crate::wire::Reason;

/// Removes a member and voids its user's invites. Spec: CMD-16.
///
/// ```text
/// member varint | reason
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kick {
    /// The member to remove.
    pub member: MemberId,
    /// Reason, for all members.
    pub reason: Reason,
}

impl Wire for Kick {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { member: MemberId::read(reader)?, reason: Reason::read(reader)? })
    }

    fn write(&self, writer: &mut Writer) {
        self.member.write(writer);
        self.reason.write(writer);
    }
}

/// Makes another member the owner. Spec: CMD-17.
///
/// ```text
/// member varint
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// The new owner.
    pub member: MemberId,
}

impl Wire for Transfer {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { member: MemberId::read(reader)? })
    }

    fn write(&self, writer: &mut Writer) {
        self.member.write(writer);
    }
}

/// Ends the session for all members. Spec: CMD-18.
///
/// ```text
/// reason
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delete {
    /// Reason, for all members.
    pub reason: Reason,
}

impl Wire for Delete {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { reason: Reason::read(reader)? })
    }

    fn write(&self, writer: &mut Writer) {
        self.reason.write(writer);
    }
}
