//! [`CommandResult`]: the single answer to a request.

use crate::base::{
    DecodeError, EventNumber, MemberId, Reader, RequestId, Revision, SessionId, SessionKind, Slot, Wire,
    Writer,
};
use crate::wire::command::InvitedUsers;
use crate::wire::event::Invitation;
use crate::wire::{ErrorCode, Settings};

/// The answer to a request. Spec: RES-1.
///
/// ```text
/// 0x40 | request id varint | value kind u8 | value
/// 0x41 | request id varint | error code varint
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandResult {
    /// The request that this answers.
    pub request: RequestId,
    /// The outcome; a refused request changed nothing.
    pub outcome: Result<Value, ErrorCode>,
}

const OK: u8 = 0x40;
const ERROR: u8 = 0x41;

impl CommandResult {
    /// Returns true if `kind`, the first byte of a message, is that of a result.
    pub const fn is_kind(kind: u8) -> bool {
        matches!(kind, OK | ERROR)
    }
}

impl Wire for CommandResult {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let kind = reader.u8("result kind")?;
        if !Self::is_kind(kind) {
            return Err(DecodeError::Unknown { what: "result kind", value: u64::from(kind) });
        }
        let request = RequestId::read(reader)?;
        let outcome = if kind == OK { Ok(Value::read(reader)?) } else { Err(ErrorCode::read(reader)?) };
        Ok(Self { request, outcome })
    }

    fn write(&self, writer: &mut Writer) {
        match &self.outcome {
            Ok(value) => {
                writer.u8(OK);
                self.request.write(writer);
                value.write(writer);
            }
            Err(code) => {
                writer.u8(ERROR);
                self.request.write(writer);
                code.write(writer);
            }
        }
    }
}

/// The value of a request that was carried out. Spec: RES-2.
///
/// ```text
/// 0 empty    | decline, revoke, leave, kick, transfer, delete
/// 1 entered  | create, join:    session u64 | slot varint | member varint
/// 2 invited  | invite:          count varint (1..=64) | a user each: 0, invite number | 1, error code
/// 3 revision | set_properties:  revision varint
/// 4 info     | info:            fields of the info
/// 5 sessions | list_mine:       count varint (0..=1,024) | memberships
/// 6 invites  | list_invites:    count varint (0..=1,024) | invitations
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// No value.
    Empty,
    /// The sender is now a member.
    Entered(Entered),
    /// For each user of the command, in order: the number of the new invite, or the reason why there is none.
    Invited(Vec<Result<u32, ErrorCode>>),
    /// The properties' revision including the command's changes.
    Revision(Revision),
    /// Description of a session.
    Info(Info),
    /// The sessions that the sender is in, by slot.
    Sessions(Vec<Membership>),
    /// The sender's open invites.
    Invites(Vec<Invitation>),
}

/// Maximum number of entries in a list.
pub const MAX_LISTED: usize = 1_024;

impl Wire for Value {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match reader.u8("value kind")? {
            0 => Self::Empty,
            1 => Self::Entered(Entered::read(reader)?),
            2 => Self::Invited(read_invited(reader)?),
            3 => Self::Revision(Revision::read(reader)?),
            4 => Self::Info(Info::read(reader)?),
            5 => Self::Sessions(reader.list("sessions", 0, MAX_LISTED)?),
            6 => Self::Invites(reader.list("invites", 0, MAX_LISTED)?),
            kind => return Err(DecodeError::Unknown { what: "value kind", value: u64::from(kind) }),
        })
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Empty => writer.u8(0),
            Self::Entered(entered) => {
                writer.u8(1);
                entered.write(writer);
            }
            Self::Invited(answers) => {
                writer.u8(2);
                write_invited(answers, writer);
            }
            Self::Revision(revision) => {
                writer.u8(3);
                revision.write(writer);
            }
            Self::Info(info) => {
                writer.u8(4);
                info.write(writer);
            }
            Self::Sessions(sessions) => {
                writer.u8(5);
                writer.list(sessions);
            }
            Self::Invites(invites) => {
                writer.u8(6);
                writer.list(invites);
            }
        }
    }
}

fn read_invited(reader: &mut Reader) -> Result<Vec<Result<u32, ErrorCode>>, DecodeError> {
    let count = reader.count("answers", 1, InvitedUsers::MAX)?;
    let answer = |reader: &mut Reader| match reader.u8("answer kind")? {
        0 => Ok(Ok(reader.varint_u32("invite number")?)),
        1 => Ok(Err(ErrorCode::read(reader)?)),
        kind => Err(DecodeError::Unknown { what: "answer kind", value: u64::from(kind) }),
    };
    (0..count).map(|_| answer(reader)).collect()
}

fn write_invited(answers: &[Result<u32, ErrorCode>], writer: &mut Writer) {
    writer.varint(answers.len() as u64);
    for answer in answers {
        match answer {
            Ok(number) => {
                writer.u8(0);
                writer.varint(u64::from(*number));
            }
            Err(code) => {
                writer.u8(1);
                code.write(writer);
            }
        }
    }
}

/// A client's place in a session after `create` or `join`. Spec: RES-3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entered {
    /// The session.
    pub session: SessionId,
    /// The connection's handle for it, and its stream.
    pub slot: Slot,
    /// The client's member id.
    pub member: MemberId,
}

impl Wire for Entered {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            session: SessionId::read(reader)?,
            slot: Slot::read(reader)?,
            member: MemberId::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.session.write(writer);
        self.slot.write(writer);
        self.member.write(writer);
    }
}

/// A session that the requesting user is in. Spec: RES-4.
///
/// ```text
/// entered | kind u16
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Membership {
    /// Session, slot and member id.
    pub entered: Entered,
    /// The application's class of the session.
    pub kind: SessionKind,
}

impl Wire for Membership {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { entered: Entered::read(reader)?, kind: SessionKind::read(reader)? })
    }

    fn write(&self, writer: &mut Writer) {
        self.entered.write(writer);
        self.kind.write(writer);
    }
}

/// Description of a session at the time of the answer. Spec: RES-5.
///
/// ```text
/// session u64 | settings | owner varint | members varint | open invites varint | revision varint
/// | next varint
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    /// The session.
    pub session: SessionId,
    /// Its settings.
    pub settings: Settings,
    /// The owner.
    pub owner: MemberId,
    /// Number of members.
    pub members: u32,
    /// Number of open invites.
    pub open_invites: u32,
    /// Revision of its properties.
    pub revision: Revision,
    /// Number of its next event.
    pub next: EventNumber,
}

impl Wire for Info {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            session: SessionId::read(reader)?,
            settings: Settings::read(reader)?,
            owner: MemberId::read(reader)?,
            members: reader.varint_u32("members")?,
            open_invites: reader.varint_u32("open invites")?,
            revision: Revision::read(reader)?,
            next: EventNumber::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        self.session.write(writer);
        self.settings.write(writer);
        self.owner.write(writer);
        writer.varint(u64::from(self.members));
        writer.varint(u64::from(self.open_invites));
        self.revision.write(writer);
        self.next.write(writer);
    }
}

#[cfg(test)]
mod tests;
