//! `invite` and `revoke`: an owner's commands on invites.

use std::collections::BTreeSet;

use crate::base::{DecodeError, OutOfBounds, Reader, UserId, Wire, Writer};
use crate::wire::{InviteTtl, Note};

/// Invites users; the result has an answer for each. Spec: CMD-14.
///
/// ```text
/// count varint (1..=64) | user ids | ttl varint (s) | hold seat u8 (0, 1) | note
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invite {
    /// The invited users.
    pub users: InvitedUsers,
    /// Time that the invites are valid.
    pub ttl: InviteTtl,
    /// Whether each invite holds a seat for its user. Spec: INV-9.
    pub hold_seat: bool,
    /// A text for the invited users.
    pub note: Note,
}

impl Wire for Invite {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            users: InvitedUsers::read(reader)?,
            ttl: InviteTtl::read(reader)?,
            hold_seat: match reader.u8("hold seat")? {
                0 => false,
                1 => true,
                value => return Err(DecodeError::Unknown { what: "hold seat", value: u64::from(value) }),
            },
            note: Note::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.users.write(writer);
        self.ttl.write(writer);
        writer.u8(u8::from(self.hold_seat));
        self.note.write(writer);
    }
}

/// 1 to 64 users, in the sender's order, without repetition. Spec: CMD-14.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvitedUsers(Vec<UserId>);

impl InvitedUsers {
    /// Maximum number of users in one command.
    pub const MAX: usize = 64;

    const WHAT: &'static str = "number of invited users";

    /// Checks and wraps a list of users.
    ///
    /// # Errors
    /// [`OutOfBounds::Range`] when there are none or more than [`InvitedUsers::MAX`],
    /// [`OutOfBounds::Repeated`] when one is named twice.
    pub fn new(users: Vec<UserId>) -> Result<Self, OutOfBounds> {
        OutOfBounds::check_count(Self::WHAT, users.len(), 1, Self::MAX)?;
        if users.iter().collect::<BTreeSet<_>>().len() != users.len() {
            return Err(OutOfBounds::Repeated { what: "invited users" });
        }
        Ok(Self(users))
    }

    /// Returns the users in order.
    pub fn as_slice(&self) -> &[UserId] {
        &self.0
    }
}

impl Wire for InvitedUsers {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self::new(reader.list(Self::WHAT, 1, Self::MAX)?)?)
    }

    fn write(&self, writer: &mut Writer) {
        writer.list(&self.0);
    }
}

/// Ends an invite of the session; the invited user is notified. Spec: CMD-15.
///
/// ```text
/// invite number varint
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revoke {
    /// The invite's number in the session.
    pub number: u32,
}

impl Wire for Revoke {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { number: reader.varint_u32("invite number")? })
    }

    fn write(&self, writer: &mut Writer) {
        writer.varint(u64::from(self.number));
    }
}
