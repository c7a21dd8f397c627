//! [`Request`]: the commands that get a result, and their kinds.

use super::COMMAND_KIND;
use super::{Create, Decline, Delete, Invite, Join, Kick, Revoke, Transfer};
use crate::base::{DecodeError, Reader, SessionId, Wire, Writer};
use crate::wire::{PropertyOps, StreamKind};

/// A command that gets one result. Spec: CMD-4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Creates a session; the sender becomes its owner and first member.
    Create(Create),
    /// Becomes a member.
    Join(Join),
    /// Ends an invite of the sender without joining.
    Decline(Decline),
    /// Asks for a description of a session that the sender is in.
    Info(SessionId),
    /// Asks for the sessions that the sender is in.
    ListMine,
    /// Asks for the sender's open invites.
    ListInvites,
    /// Invites users.
    Invite(Invite),
    /// Ends an invite.
    Revoke(Revoke),
    /// Leaves the session.
    Leave,
    /// Removes a member.
    Kick(Kick),
    /// Makes another member the owner.
    Transfer(Transfer),
    /// Ends the session.
    Delete(Delete),
    /// Changes properties, all or nothing.
    SetProperties(PropertyOps),
}

const CREATE: u8 = 0x01;
const JOIN: u8 = 0x02;
const DECLINE: u8 = 0x03;
const INFO: u8 = 0x04;
const LIST_MINE: u8 = 0x05;
const LIST_INVITES: u8 = 0x06;
const INVITE: u8 = 0x10;
const REVOKE: u8 = 0x11;
const LEAVE: u8 = 0x12;
const KICK: u8 = 0x13;
const TRANSFER: u8 = 0x14;
const DELETE: u8 = 0x15;
const SET_PROPERTIES: u8 = 0x16;

/// First kind of the requests that travel on a session's stream.
const FIRST_ON_SLOT_STREAM: u8 = INVITE;

impl Request {
    /// Returns the kind, which is the first byte of the command.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Create(_) => CREATE,
            Self::Join(_) => JOIN,
            Self::Decline(_) => DECLINE,
            Self::Info(_) => INFO,
            Self::ListMine => LIST_MINE,
            Self::ListInvites => LIST_INVITES,
            Self::Invite(_) => INVITE,
            Self::Revoke(_) => REVOKE,
            Self::Leave => LEAVE,
            Self::Kick(_) => KICK,
            Self::Transfer(_) => TRANSFER,
            Self::Delete(_) => DELETE,
            Self::SetProperties(_) => SET_PROPERTIES,
        }
    }

    /// Returns the kind of stream that the request travels on.
    pub fn stream_kind(&self) -> StreamKind {
        stream_of(self.kind())
    }

    /// Reads the fields of `kind`, which came on a stream of kind `on`, up to the end of the input.
    pub(super) fn read(kind: u8, on: StreamKind, reader: &mut Reader) -> Result<Self, DecodeError> {
        let unknown = DecodeError::Unknown { what: COMMAND_KIND, value: u64::from(kind) };
        if on != stream_of(kind) {
            return Err(unknown);
        }
        let request = match kind {
            CREATE => Self::Create(Create::read(reader)?),
            JOIN => Self::Join(Join::read(reader)?),
            DECLINE => Self::Decline(Decline::read(reader)?),
            INFO => Self::Info(SessionId::read(reader)?),
            LIST_MINE => Self::ListMine,
            LIST_INVITES => Self::ListInvites,
            INVITE => Self::Invite(Invite::read(reader)?),
            REVOKE => Self::Revoke(Revoke::read(reader)?),
            LEAVE => Self::Leave,
            KICK => Self::Kick(Kick::read(reader)?),
            TRANSFER => Self::Transfer(Transfer::read(reader)?),
            DELETE => Self::Delete(Delete::read(reader)?),
            SET_PROPERTIES => Self::SetProperties(PropertyOps::read(reader)?),
            _ => return Err(unknown),
        };
        reader.end()?;
        Ok(request)
    }

    /// Appends everything after the kind and the request id.
    pub(super) fn write_fields(&self, writer: &mut Writer) {
        match self {
            Self::Create(create) => create.write(writer),
            Self::Join(join) => join.write(writer),
            Self::Decline(decline) => decline.write(writer),
            Self::Info(session) => session.write(writer),
            Self::Invite(invite) => invite.write(writer),
            Self::Revoke(revoke) => revoke.write(writer),
            Self::Kick(kick) => kick.write(writer),
            Self::Transfer(transfer) => transfer.write(writer),
            Self::Delete(delete) => delete.write(writer),
            Self::SetProperties(ops) => ops.write(writer),
            Self::ListMine | Self::ListInvites | Self::Leave => {}
        }
    }
}

/// Returns the kind of stream that requests of `kind` travel on.
fn stream_of(kind: u8) -> StreamKind {
    if kind >= FIRST_ON_SLOT_STREAM { StreamKind::Slot } else { StreamKind::Control }
}
