//! Errors and outcomes that a connection reports.

use crate::base::{DecodeError, StreamId};
use crate::wire::CloseCode;

/// Outcome of a message that `send` accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// The message waits to be sent.
    Queued,
    /// The message waits to be sent, in place of an older one with its key that was not acked yet and may or
    /// may not have arrived.
    Superseded,
    /// The message is dropped, as its mode allows, because too much waits ahead of it.
    Shed,
}

/// Why a message was not accepted; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message is larger than its delivery mode, the peer or the send buffer allows.
    #[error("message of {bytes} bytes is too large, at most {max} fit")]
    TooLarge {
        /// Size of the message in bytes.
        bytes: usize,
        /// Largest size that fits.
        max: usize,
    },
    /// The send buffer is full, the connection's own or the one that the whole process shares: the peer acks
    /// more slowly than this end sends.
    #[error("send buffer is full")]
    WouldBlock,
    /// The stream was never opened, or is finished.
    #[error("stream {0} is not open")]
    UnknownStream(StreamId),
    /// The connection has ended.
    #[error("connection is closed")]
    Closed,
}

/// An action of the peer that breaks the protocol and ends the connection with `protocol_violation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// A sealed packet does not hold canonical frames.
    #[error("frames: {0}")]
    Decode(#[from] DecodeError),
    /// The peer acked a packet number that was never sent.
    #[error("packet {number} was acked, but never sent")]
    AckOfUnsent {
        /// The packet number.
        number: u64,
    },
    /// The peer reported more packets that met congestion than were sent.
    #[error("{count} packets are told to have met congestion, but fewer were sent")]
    CeOfUnsent {
        /// The reported count.
        count: u64,
    },
    /// A message arrived on a stream that this end did not open.
    #[error("stream {0} was never opened")]
    UnknownStream(StreamId),
    /// The peer opened more streams than this end allows.
    #[error("more than {max} streams")]
    TooManyStreams {
        /// Maximum number of streams.
        max: usize,
    },
    /// A message number is beyond the window.
    #[error("message {number} is beyond the window of its stream")]
    BeyondWindow {
        /// The message number.
        number: u64,
    },
    /// The peer sent more out-of-order or incomplete data than this end buffers.
    #[error("more than {max} bytes wait for what is missing")]
    ReceiveBuffer {
        /// Maximum number of bytes buffered.
        max: usize,
    },
    /// A message is larger than this end accepts.
    #[error("message of {bytes} bytes, at most {max} are taken")]
    MessageTooLarge {
        /// Size of the message in bytes.
        bytes: usize,
        /// Largest size accepted.
        max: usize,
    },
    /// A fragment contradicts an earlier one of the same message.
    #[error("fragments of message {number} contradict each other")]
    FragmentMismatch {
        /// The message's number.
        number: u64,
    },
    /// A symbol recovered from REPAIR frames holds something other than reliable messages.
    #[error("a repaired packet holds more than reliable messages")]
    NotRepairable,
}

/// How a connection reached the limit of its keys (RFC 9001, section 6.6). Neither end is to blame: anybody
/// can send packets that do not open, and a peer whose acks are lost seems to ack nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyLimit {
    /// More packets failed to open than a key allows. Spec: KEY-6.
    #[error("too many packets did not open")]
    FailedOpens,
    /// The packet numbers are running out, or a key has sealed as much as it may and the peer has acked
    /// nothing that it sealed.
    #[error("packet numbers or keys are used up")]
    UsedUp,
}

impl KeyLimit {
    /// Returns the close code sent to the peer.
    pub const fn code(self) -> CloseCode {
        match self {
            Self::FailedOpens => CloseCode::TooManyFailedOpens,
            Self::UsedUp => CloseCode::Internal,
        }
    }
}

/// Why a connection ended. Spec: CON-5.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// The peer closed it.
    #[error("closed by the peer: {code}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    ByPeer {
        /// The code that the peer sent.
        code: CloseCode,
        /// The reason that the peer gave.
        reason: String,
    },
    /// Nothing arrived within the idle timeout at this end or, as the peer reports, at its end.
    #[error("the peer fell silent, or took nothing of what it was sent")]
    TimedOut,
    /// This end closed it.
    #[error("closed: {code}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Local {
        /// The code that this end sent.
        code: CloseCode,
        /// The reason that this end gave.
        reason: String,
    },
    /// The peer broke the protocol.
    #[error("protocol violation: {0}")]
    Violation(ProtocolViolation),
    /// The keys have reached their limit.
    #[error("limit of the keys: {0}")]
    KeyLimit(KeyLimit),
}

/// Why a packet was not accepted. Such packets are counted and never acked. [`Self::TooLate`] and
/// [`Self::OverBudget`] show that the peer lives, and of the latter those messages are delivered that fit;
/// packets that do not open are counted against the keys (KEY-6). The others have no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketDropped {
    /// The packet is too short, or a reserved bit is set.
    #[error("header is malformed")]
    Malformed,
    /// Its number was received before or is older than the replay window, which after a rest covers nothing
    /// below the newest number.
    #[error("replayed or too old")]
    Replayed,
    /// It was not sealed by the peer.
    #[error("does not open")]
    DoesNotOpen,
    /// It arrived so late that its message numbers are ambiguous; its sender resends the messages.
    #[error("message numbers are ambiguous")]
    TooLate,
    /// It is larger than what every path carries and came from a host other than the peer's, so it shows
    /// nothing about the path to the peer.
    #[error("too large for a path that is not proved")]
    OffPath,
    /// The process buffers as many unfinished messages as it may; the sender resends them.
    #[error("no budget for unfinished messages")]
    OverBudget,
    /// The connection has ended.
    #[error("connection is closed")]
    Closed,
}
