//! What a client's caller is told when something did not happen.

use super::violation::ServerViolation;
use crate::base::{DecodeError, Slot};
use crate::rudp;
use crate::wire::{CloseCode, ErrorCode};

/// Why a command has no result. Only with [`RequestError::OutcomeUnknown`] may it have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It was refused and changed nothing. [`ErrorCode::NotAMember`] may be the client's own answer:
    /// the slot is not, or no longer, one of its sessions.
    #[error("refused: {0}")]
    Refused(#[from] ErrorCode),
    /// There is no connection; it was not sent.
    #[error("not connected")]
    NotConnected,
    /// The connection ended before the result came: it was carried out or not.
    #[error("connection ended before the result came")]
    OutcomeUnknown,
    /// It is larger than the server takes; it was not sent.
    #[error("command of {bytes} bytes is too large, at most {max} fit")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// Most that fit.
        max: usize,
    },
    /// Too much waits for the server already; it was not sent. Try again after some results.
    #[error("too many commands wait for the server")]
    WouldBlock,
    /// A parameter is out of its range; it was not sent.
    #[error("illegal parameter: {0}")]
    Illegal(#[from] DecodeError),
}

/// Why a `broadcast` or `message` was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The slot is not, or no longer, one of the client's sessions.
    #[error("not a member of a session at slot {0}")]
    NotAMember(Slot),
    /// There is no connection.
    #[error("not connected")]
    NotConnected,
    /// The payload is larger than its delivery, or the client's own send buffer, allows.
    #[error("payload of {bytes} bytes is too large, at most {max} fit")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// Most that fit; 0 where the recipients of a `message` leave none.
        max: usize,
    },
    /// The client's send buffer is full: messages are sent faster than the way to the server takes them. Drop it,
    /// or try again when there is room (`Client::drained_to`). This says nothing of the server's budgets, which refuse by
    /// [`Event::Refused`](super::Event::Refused).
    #[error("too much waits for the server")]
    WouldBlock,
    /// No recipient, more than 1,024, or one of them twice.
    #[error("illegal recipients: {0}")]
    Recipients(DecodeError),
}

/// Why a connection ended. Whether to connect again: [`Disconnected::may_reconnect`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnected {
    /// The app closed it.
    #[error("closed by this client")]
    ByClient,
    /// The server closed it.
    #[error("closed by the server: {code}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    ByServer {
        /// The server's code.
        code: CloseCode,
        /// The server's words; often empty.
        reason: String,
    },
    /// Nothing was heard for the idle timeout, by this client or, as it says, by the server.
    #[error("the server fell silent, or took nothing of what it was sent")]
    TimedOut,
    /// The same, but while the app did not read its events, so that the client did not read its socket
    /// (`ClientConfig::events_buffer`).
    #[error("the app did not read its events")]
    EventsUnread,
    /// The server broke the protocol of commands and events.
    #[error("the server broke the protocol: {0}")]
    ServerViolation(#[from] ServerViolation),
    /// The server broke the transport's protocol.
    #[error("the server broke the transport's protocol: {0}")]
    TransportViolation(rudp::ProtocolViolation),
    /// The keys may be used no further: a new connection has new ones.
    #[error("limit of the keys: {0}")]
    KeyLimit(rudp::KeyLimit),
    /// The connection was never made.
    #[error("not connected: {0}")]
    ConnectFailed(rudp::ConnectError),
    /// The socket failed, or the runtime ended.
    #[error("the socket failed: {0}")]
    Socket(String),
    /// The app's handler of events panicked.
    #[error("the handler of events panicked")]
    Panicked,
}

impl Disconnected {
    /// True when a new connection, with a new grant, may go better. Not so where the app has closed the connection or
    /// an end broke the protocol, where an operator has ended it or does not let the user in, where client and server
    /// do not belong together, nor where the user has connected again: two clients of one user that both come back
    /// would take turns for ever.
    pub fn may_reconnect(&self) -> bool {
        match self {
            Self::ByServer { code, .. } => match code {
                CloseCode::Replaced | CloseCode::KickedByOperator | CloseCode::ProtocolViolation => false,
                CloseCode::None
                | CloseCode::IdleTimeout
                | CloseCode::Lagging
                | CloseCode::ShuttingDown
                | CloseCode::Internal
                | CloseCode::TooManyFailedOpens
                | CloseCode::Full => true,
            },
            Self::TimedOut | Self::EventsUnread | Self::KeyLimit(_) | Self::Socket(_) => true,
            Self::ConnectFailed(error) => error.may_reconnect(),
            Self::ByClient | Self::ServerViolation(_) | Self::TransportViolation(_) | Self::Panicked => false,
        }
    }
}
