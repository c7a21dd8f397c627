//! [`ServerViolation`]: what a server did that the protocol does not allow.

use crate::base::{DecodeError, EventNumber, MemberId, RequestId, Revision, SessionId, Slot, StreamId};

/// The server broke the protocol; the client closes the connection with `protocol_violation`.
// spec: EVT-2
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerViolation {
    /// A message that is no result and no event.
    #[error("undecodable message on stream {stream}: {error}")]
    Undecodable {
        /// Where it came.
        stream: StreamId,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// A result for a command that is not the oldest open one of its stream.
    #[error("result of request {request} on stream {stream} was not due")]
    UnexpectedResult {
        /// Where it came.
        stream: StreamId,
        /// The command that it names.
        request: RequestId,
    },
    /// A result whose value does not belong to the command.
    #[error("result of request {request} carries a value of another command")]
    WrongValue {
        /// The command.
        request: RequestId,
    },
    /// A session's stream that no create or join asked for, or that is known already.
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
    /// An event that may not come in this place: two snapshots, or an ordered event before it.
    #[error("event {event} is out of place on stream {stream}")]
    Misplaced {
        /// Where it came.
        stream: StreamId,
        /// What came.
        event: &'static str,
    },
    /// Reliable messages of a session whose snapshot does not come.
    #[error("more than {limit_bytes} bytes for slot {slot} before its snapshot")]
    TooMuchBeforeSnapshot {
        /// The slot.
        slot: Slot,
        /// Most that is held back.
        limit_bytes: usize,
    },
    /// A gap or a repetition in a session's events.
    #[error("event {got} of slot {slot} came in place of {expected}")]
    EventGap {
        /// The slot.
        slot: Slot,
        /// The number that was due.
        expected: EventNumber,
        /// The number that came.
        got: EventNumber,
    },
    /// A gap or a repetition in the changes of a session's properties.
    #[error("revision {got} of slot {slot} came in place of {expected}")]
    RevisionGap {
        /// The slot.
        slot: Slot,
        /// The revision that was due.
        expected: Revision,
        /// The revision that came.
        got: Revision,
    },
    /// An event names a member that is not there, or lets one join that is.
    #[error("{event} of member {member} contradicts the members of slot {slot}")]
    WrongMember {
        /// The slot.
        slot: Slot,
        /// What came.
        event: &'static str,
        /// The member that it names.
        member: MemberId,
    },
    /// A change of a property that contradicts what is known of it.
    #[error("change of property {key:?} contradicts the properties of slot {slot}")]
    WrongProperty {
        /// The slot.
        slot: Slot,
        /// The property.
        key: String,
    },
}
