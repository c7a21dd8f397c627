//! Commands: messages from a client to the server. Spec: CMD-1.
//!
//! A [`Request`] has a [`RequestId`] and gets one result. [`Broadcast`] and [`Message`], the hot path, have
//! no id and get no result; they carry a counter that a refusal names. A command that acts on a session that
//! the client is in travels on that session's stream, which identifies the session; any other command travels
//! on stream 0. A decoded command is legal in every respect that its bytes alone can show.

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

use super::{Body, ErrorCode, PropertyValue, StreamKind};
use crate::base::{DecodeError, OutOfBounds, Reader, RequestId, Wire, Writer};

/// Length of the largest command that a server takes, its `max_message_bytes`: enough for a full payload with
/// its head, and for the full properties of a session.
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
    /// A payload to some of the session's members.
    Message(Message),
}

impl Command {
    /// Reads a command that fills `bytes` and came on a stream of kind `on`.
    ///
    /// # Errors
    /// [`CommandError`], which contains the answer to send. Spec: CMD-3.
    // spec: CMD-3
    pub fn decode(on: StreamKind, bytes: Bytes) -> Result<Self, CommandError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8(COMMAND_KIND).map_err(|cause| CommandError::of(Reply::Nobody, cause))?;
        match kind {
            Broadcast::KIND | Message::KIND if on == StreamKind::Slot => Self::decode_hot(kind, reader),
            _ => Self::decode_request(kind, on, reader),
        }
    }

    fn decode_request(kind: u8, on: StreamKind, mut reader: Reader) -> Result<Self, CommandError> {
        let id = RequestId::read(&mut reader).map_err(|cause| CommandError::of(Reply::Nobody, cause))?;
        Request::read(kind, on, &mut reader)
            .map(|request| Self::Request(id, request))
            .map_err(|cause| CommandError::of(Reply::Request(id), cause))
    }

    fn decode_hot(kind: u8, mut reader: Reader) -> Result<Self, CommandError> {
        // The counter follows the flags. It is read ahead, so that a refusal can name it.
        let counter =
            reader.clone().array::<3>("counter").map(|[_, counter @ ..]| u16::from_be_bytes(counter));
        let reply = counter.map_or(Reply::Nobody, Reply::Counter);
        let read = match kind {
            Broadcast::KIND => Broadcast::read(&mut reader).map(Self::Broadcast),
            _ => Message::read(&mut reader).map(Self::Message),
        };
        read.map_err(|cause| CommandError::of(reply, cause))
    }

    /// Encodes the command.
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

    /// Returns the kind of stream that the command travels on.
    pub fn stream_kind(&self) -> StreamKind {
        match self {
            Self::Request(_, request) => request.stream_kind(),
            Self::Broadcast(_) | Self::Message(_) => StreamKind::Slot,
        }
    }
}

/// Command that a refusal answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The request with this id, answered by a result.
    Request(RequestId),
    /// The hot-path command with this counter, answered by a `refused` event.
    Counter(u16),
    /// None, because not even the id or counter can be read. The connection is closed. Spec: CMD-3.
    Nobody,
}

/// Reason why bytes are not a command, and the answer to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {cause}")]
pub struct CommandError {
    /// Command to answer.
    pub reply: Reply,
    /// Code of the answer.
    pub code: ErrorCode,
    /// The error in the bytes, for logs.
    pub cause: DecodeError,
}

impl CommandError {
    fn of(reply: Reply, cause: DecodeError) -> Self {
        Self { reply, code: code_of(&cause), cause }
    }
}

/// The name of a request's kind in errors, which distinguishes an unknown kind from a malformed command.
const COMMAND_KIND: &str = "command kind";

/// Returns the code of a decoding error; some errors have a code of their own.
fn code_of(cause: &DecodeError) -> ErrorCode {
    match cause {
        DecodeError::Unknown { what: COMMAND_KIND, .. } => ErrorCode::UnknownCommand,
        DecodeError::OutOfBounds(cause) => match cause {
            OutOfBounds::Length { what: Body::WHAT, .. } => ErrorCode::PayloadTooLarge,
            OutOfBounds::Length { what: PropertyValue::WHAT, .. } => ErrorCode::PropertiesTooLarge,
            OutOfBounds::Range { what: InitialProperties::WHAT, .. } => ErrorCode::TooManyProperties,
            _ => ErrorCode::Malformed,
        },
        _ => ErrorCode::Malformed,
    }
}

#[cfg(test)]
mod tests;
