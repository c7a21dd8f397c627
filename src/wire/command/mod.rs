//! Commands: what a client asks of the server. Spec: CMD-1.
//!
//! A [`Request`] has a [`RequestId`] and is answered by one result. [`Broadcast`] and [`Message`],
//! the hot path, have neither: they carry a counter that a refusal names. A command travels on
//! stream 0, or, when it is about a session that the client is in, on that session's stream,
//! which names the session. A decoded command is legal in all that its bytes can tell.

mod create;
mod hot;
mod invite;
mod join;
mod membership;
mod request;

pub use create::{Create, InitialProperties, InitialProperty};
pub use hot::{Broadcast, Message, Recipients, To, write_broadcast_head, write_message_head};
pub use invite::{Invite, InvitedUsers, Revoke};
pub use join::{Decline, Join};
pub use membership::{Delete, Kick, Transfer};
pub use request::Request;

use bytes::Bytes;

use super::{Body, ErrorCode, PropertyValue};
use crate::base::{DecodeError, Reader, RequestId, Wire, Writer};

/// Bytes of the largest command: a full payload and what stands before it, or a session's full properties.
pub const MAX_COMMAND_BYTES: usize = 128 << 10;

/// One command.
///
/// ```text
/// request:   kind u8 | request id varint | fields of the kind
/// broadcast: 0x20 | flags u8 | counter u16 | [key u16] | payload
/// message:   0x21 | flags u8 | counter u16 | [key u16] | members | payload
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// A command that gets a result.
    Request(RequestId, Request),
    /// A payload to the session's members.
    Broadcast(Broadcast),
    /// A payload to some of them.
    Message(Message),
}

impl Command {
    /// Reads a command that fills `bytes`; `slot_stream` tells which kind of stream it came on.
    ///
    /// # Errors
    /// [`CommandError`], which says whom to answer and how. Spec: CMD-3.
    // spec: CMD-3
    pub fn decode(slot_stream: bool, bytes: Bytes) -> Result<Self, CommandError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8(COMMAND_KIND).map_err(|cause| CommandError::of(Reply::Nobody, cause))?;
        match kind {
            Broadcast::KIND | Message::KIND if slot_stream => Self::decode_hot(kind, reader),
            _ => Self::decode_request(kind, slot_stream, reader),
        }
    }

    fn decode_request(kind: u8, slot_stream: bool, mut reader: Reader) -> Result<Self, CommandError> {
        let id = RequestId::read(&mut reader).map_err(|cause| CommandError::of(Reply::Nobody, cause))?;
        Request::read(kind, slot_stream, &mut reader)
            .map(|request| Self::Request(id, request))
            .map_err(|cause| CommandError::of(Reply::Request(id), cause))
    }

    fn decode_hot(kind: u8, mut reader: Reader) -> Result<Self, CommandError> {
        // The counter is behind the flags; read it ahead, so that a refusal can name it.
        let counter =
            reader.clone().array::<3>("counter").map(|[_, counter @ ..]| u16::from_be_bytes(counter));
        let reply = counter.map_or(Reply::Nobody, Reply::Counter);
        let read = match kind {
            Broadcast::KIND => Broadcast::read(&mut reader).map(Self::Broadcast),
            _ => Message::read(&mut reader).map(Self::Message),
        };
        read.map_err(|cause| CommandError::of(reply, cause))
    }

    /// The command's bytes.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        match self {
            Self::Request(id, request) => {
                writer.u8(request.kind());
                id.write(&mut writer);
                request.write_fields(&mut writer);
            }
            Self::Broadcast(broadcast) => broadcast.write(&mut writer),
            Self::Message(message) => message.write(&mut writer),
        }
        writer.finish()
    }

    /// True when the command is about a session that the client is in and travels on its stream.
    pub fn is_for_slot_stream(&self) -> bool {
        match self {
            Self::Request(_, request) => request.is_for_slot_stream(),
            Self::Broadcast(_) | Self::Message(_) => true,
        }
    }
}

/// Whom a refusal answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The request of this id: by a result.
    Request(RequestId),
    /// The hot-path command of this counter: by a `refused` event.
    Counter(u16),
    /// Nobody: not even the id can be read. The connection is closed. Spec: CMD-3.
    Nobody,
}

/// Why bytes are no command, and whom to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {cause}")]
pub struct CommandError {
    /// Whom to tell.
    pub reply: Reply,
    /// What to tell.
    pub code: ErrorCode,
    /// What is wrong with the bytes, for logs.
    pub cause: DecodeError,
}

impl CommandError {
    fn of(reply: Reply, cause: DecodeError) -> Self {
        Self { reply, code: code_of(&cause), cause }
    }
}

/// The name of a request's kind in errors, by which an unknown one is told from a malformed one.
const COMMAND_KIND: &str = "command kind";

/// The code of a decoding error: some have a name of their own.
fn code_of(cause: &DecodeError) -> ErrorCode {
    match cause {
        DecodeError::Unknown { what: COMMAND_KIND, .. } => ErrorCode::UnknownCommand,
        DecodeError::Length { what: Body::WHAT, .. } => ErrorCode::PayloadTooLarge,
        DecodeError::Length { what: PropertyValue::WHAT, .. } => ErrorCode::PropertiesTooLarge,
        DecodeError::OutOfRange { what: InitialProperties::WHAT, .. } => ErrorCode::TooManyProperties,
        _ => ErrorCode::Malformed,
    }
}

#[cfg(test)]
mod tests;
