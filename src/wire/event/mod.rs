//! Events: messages from the server to clients. Spec: EVT-2.
//!
//! A [`SessionEvent`] travels on the stream of its session, a [`UserEvent`] on stream 0. Results travel on
//! the streams of their commands, so a client receives a [`ServerMessage`].

mod head;
mod session;
mod snapshot;
mod user;

pub use head::{write_message_head, write_sent_head};
pub use session::SessionEvent;
pub use snapshot::{Snapshot, SnapshotMember};
pub use user::{Invitation, UserEvent};

use bytes::Bytes;

use super::{CommandResult, StreamKind};
use crate::base::{DecodeError, Reader, Wire};

/// Any message from a server to a client above the transport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerMessage {
    /// The answer to a request, on the request's stream.
    Result(CommandResult),
    /// An event of the session whose stream it came on.
    Session(SessionEvent),
    /// An event of the user, on stream 0.
    User(UserEvent),
}

impl ServerMessage {
    /// Reads a message that fills `bytes` and came on a stream of kind `on`.
    ///
    /// # Errors
    /// [`DecodeError`] if the server broke the protocol.
    pub fn decode(on: StreamKind, bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.first().is_some_and(|kind| CommandResult::is_kind(*kind)) {
            return CommandResult::from_bytes(bytes).map(Self::Result);
        }
        match on {
            StreamKind::Slot => SessionEvent::decode(bytes).map(Self::Session),
            StreamKind::Control => UserEvent::decode(bytes).map(Self::User),
        }
    }

    /// Encodes the message.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Result(result) => result.to_bytes(),
            Self::Session(event) => event.encode(),
            Self::User(event) => event.encode(),
        }
    }
}

fn read_kind(reader: &mut Reader) -> Result<u8, DecodeError> {
    reader.u8("event kind")
}

/// Returns the error for an event kind that the stream does not have.
fn unknown_kind(kind: u8) -> DecodeError {
    DecodeError::Unknown { what: "event kind", value: u64::from(kind) }
}

#[cfg(test)]
mod tests;
