//! What a connection answers when something is wrong.

use crate::base::{DecodeError, StreamId};
use crate::wire::CloseCode;

/// What became of a message that `send` accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It waits to be sent.
    Queued,
    /// It waits, in place of an older one of its key that was not acked yet: it may have arrived or not.
    Superseded,
    /// It is dropped, as its mode allows: too much waits before it.
    Shed,
}

/// Why a message was not accepted. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message is larger than its delivery mode, the peer or the send buffer allows.
    #[error("message of {bytes} bytes is too large, at most {max} fit")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// Most that fit.
        max: usize,
    },
    /// The send buffer is full, the connection's own or what all of the process share: the peer does not ack as fast as
    /// this end sends.
    #[error("send buffer is full")]
    WouldBlock,
    /// The stream was never opened, or is finished.
    #[error("stream {0} is not open")]
    UnknownStream(StreamId),
    /// The connection has ended.
    #[error("connection is closed")]
    Closed,
}

/// What a peer did that no correct peer does. Ends the connection with `protocol_violation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// A sealed packet holds no canonical frames.
    #[error("frames: {0}")]
    Decode(#[from] DecodeError),
    /// A packet number was acked that was never sent.
    #[error("packet {number} was acked, but never sent")]
    AckOfUnsent {
        /// The number.
        number: u64,
    },
    /// More packets are told to have met congestion than were sent.
    #[error("{count} packets are told to have met congestion, but fewer were sent")]
    CeOfUnsent {
        /// How many.
        count: u64,
    },
    /// A message came on a stream that this end did not open.
    #[error("stream {0} was never opened")]
    UnknownStream(StreamId),
    /// More streams than this end allows.
    #[error("more than {max} streams")]
    TooManyStreams {
        /// Most allowed.
        max: usize,
    },
    /// A message number beyond the window.
    #[error("message {number} is beyond the window of its stream")]
    BeyondWindow {
        /// The number.
        number: u64,
    },
    /// More bytes out of order or incomplete than this end keeps.
    #[error("more than {max} bytes wait for what is missing")]
    ReceiveBuffer {
        /// Most that are kept.
        max: usize,
    },
    /// A message larger than this end takes.
    #[error("message of {bytes} bytes, at most {max} are taken")]
    MessageTooLarge {
        /// Its bytes.
        bytes: usize,
        /// Most that are taken.
        max: usize,
    },
    /// A fragment that contradicts an earlier one of the same message.
    #[error("fragments of message {number} contradict each other")]
    FragmentMismatch {
        /// The message's number.
        number: u64,
    },
    /// A symbol put together from REPAIR frames holds something else than reliable messages.
    #[error("a repaired packet holds more than reliable messages")]
    NotRepairable,
}

/// How a connection came to the end of what its keys may be used for (RFC 9001, section 6.6). That accuses nobody: anybody
/// can send what does not open, and a peer whose acks are lost seems to ack nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyLimit {
    /// More packets did not open than a key may see. Spec: KEY-6.
    #[error("too many packets did not open")]
    FailedOpens,
    /// The packet numbers come to their end, or a key has sealed as much as it may and the peer acks
    /// nothing that it sealed.
    #[error("packet numbers or keys are used up")]
    UsedUp,
}

impl KeyLimit {
    /// What the peer is told.
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
        /// The peer's code.
        code: CloseCode,
        /// The peer's words.
        reason: String,
    },
    /// Nothing arrived for the idle timeout, at this end or, as it says, at the peer's.
    #[error("the peer fell silent, or took nothing of what it was sent")]
    TimedOut,
    /// This end closed it.
    #[error("closed: {code}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Local {
        /// This end's code.
        code: CloseCode,
        /// This end's words.
        reason: String,
    },
    /// The peer broke the protocol.
    #[error("protocol violation: {0}")]
    Violation(ProtocolViolation),
    /// The keys may be used no further.
    #[error("limit of the keys: {0}")]
    KeyLimit(KeyLimit),
}

/// Why a packet had no effect. Counted, never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketDropped {
    /// Too short, or a reserved bit is set.
    #[error("header is malformed")]
    Malformed,
    /// Its number was received before, or is older than the replay window, which ends at the newest after a rest.
    #[error("replayed or too old")]
    Replayed,
    /// It was not sealed by the peer.
    #[error("does not open")]
    DoesNotOpen,
    /// It came so late that its message numbers are ambiguous; its sender resends.
    #[error("message numbers are ambiguous")]
    TooLate,
    /// It is larger than every path takes, and came from another host than the peer's: what it says of a path is said
    /// of another one.
    #[error("too large for a path that is not proved")]
    OffPath,
    /// The process keeps as many unfinished messages as it may; its sender resends.
    #[error("no budget for unfinished messages")]
    OverBudget,
    /// The connection has ended.
    #[error("connection is closed")]
    Closed,
}
