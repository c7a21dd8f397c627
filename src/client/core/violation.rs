//! [`ServerViolation`]: violations of the protocol by the server.

use crate::base::{DecodeError, EventNumber, MemberId, RequestId, Revision, SessionId, Slot, StreamId};

/// The server violated the protocol; the client closes the connection with `protocol_violation`.
// spec: EVT-2
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerViolation {
    /// A message that is neither a result nor an event.
    #[error("undecodable message on stream {stream}: {error}")]
    Undecodable {
        /// The stream on which it arrived.
        stream: StreamId,
        /// The decoding error.
        error: DecodeError,
    },
    /// A result for a command that is not the oldest open one of its stream.
    #[error("result of request {request} on stream {stream} was not due")]
    UnexpectedResult {
        /// The stream on which it arrived.
        stream: StreamId,
        /// The command that the result names.
        request: RequestId,
    },
    /// A result whose value does not belong to the command.
    #[error("result of request {request} carries a value of another command")]
    WrongValue {
        /// The command.
        request: RequestId,
    },
    /// A session's slot that no create or join asked for, or that is already known.
    #[error("slot {slot} was not asked for")]
    UnexpectedSlot {
        /// The slot.
        slot: Slot,
    },
    /// A result of create or join and the snapshot on its slot contradict each other.
    #[error("slot {slot} is session {snapshot} by its snapshot and another by the result")]
    WrongSession {
        /// The slot.
        slot: Slot,
        /// The session of its snapshot.
        snapshot: SessionId,
    },
    /// An event in a place where it is not allowed, such as a second snapshot, or an ordered event before the
    /// snapshot.
    #[error("event {event} is out of place on stream {stream}")]
    Misplaced {
        /// The stream on which it arrived.
        stream: StreamId,
        /// The name of the event.
        event: &'static str,
    },
    /// Too many reliable messages of a session before its snapshot.
    #[error("more than {limit_bytes} bytes for slot {slot} before its snapshot")]
    TooMuchBeforeSnapshot {
        /// The slot.
        slot: Slot,
        /// The limit of held messages, in bytes.
        limit_bytes: usize,
    },
    /// A gap or a repetition in a session's events.
    #[error("event {got} of slot {slot} came in place of {expected}")]
    EventGap {
        /// The slot.
        slot: Slot,
        /// The number that was due.
        expected: EventNumber,
        /// The number that arrived.
        got: EventNumber,
    },
    /// A gap or a repetition in the changes of a session's properties.
    #[error("revision {got} of slot {slot} came in place of {expected}")]
    RevisionGap {
        /// The slot.
        slot: Slot,
        /// The revision that was due.
        expected: Revision,
        /// The revision that arrived.
        got: Revision,
    },
    /// An event that names an unknown member, or the join of a member that is already in the session.
    #[error("{event} of member {member} contradicts the members of slot {slot}")]
    WrongMember {
        /// The slot.
        slot: Slot,
        /// The name of the event.
        event: &'static str,
        /// The member that the event names.
        member: MemberId,
    },
    /// A property change that contradicts the known properties.
    #[error("change of property {key:?} contradicts the properties of slot {slot}")]
    WrongProperty {
        /// The slot.
        slot: Slot,
        /// The property.
        key: String,
    },
}
