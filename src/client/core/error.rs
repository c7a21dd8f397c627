//! Errors that a client reports to its caller.

use super::violation::ServerViolation;
use crate::base::{OutOfBounds, Slot};
use crate::rudp;
use crate::wire::{CloseCode, ErrorCode};

/// Why a command has no result. Only with [`RequestError::OutcomeUnknown`] may it have been executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The command was refused and changed nothing. [`ErrorCode::NotAMember`] may come from the client
    /// itself: the slot is not, or no longer, one of its sessions.
    #[error("refused: {0}")]
    Refused(#[from] ErrorCode),
    /// No connection exists; the command was not sent.
    #[error("not connected")]
    NotConnected,
    /// The connection ended before the result arrived; the command may or may not have been executed.
    #[error("connection ended before the result came")]
    OutcomeUnknown,
    /// The command is larger than the server accepts; it was not sent.
    #[error("command of {bytes} bytes is too large, at most {max} fit")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The maximum that fits.
        max: usize,
    },
    /// Too much already waits for the server; the command was not sent. Try again after some results.
    #[error("too much waits for the server already")]
    WouldBlock,
    /// A parameter is out of range; the command was not sent.
    #[error("illegal parameter: {0}")]
    Illegal(#[from] OutOfBounds),
}

/// Why a `broadcast` or `message` was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The slot is not, or no longer, one of the client's sessions.
    #[error("not a member of a session at slot {0}")]
    NotAMember(Slot),
    /// No connection exists.
    #[error("not connected")]
    NotConnected,
    /// The payload is larger than its delivery mode, or the client's own send buffer, allows.
    #[error("payload of {bytes} bytes is too large, at most {max} fit")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The maximum that fits; 0 if the recipients of a `message` leave no room.
        max: usize,
    },
    /// The client's send buffer is full: messages are sent faster than the path to the server carries them.
    /// Drop the message, or try again when there is room (`Client::drained_to`). The server's budgets are
    /// separate, and refuse with [`Event::Refused`](super::Event::Refused).
    #[error("too much waits for the server")]
    WouldBlock,
    /// No recipients, more than 1,024, or a duplicate.
    #[error("illegal recipients: {0}")]
    Recipients(OutOfBounds),
}

/// Why a connection ended. [`Disconnected::may_reconnect`] states whether to connect again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnected {
    /// The app closed it.
    #[error("closed by this client")]
    ByClient,
    /// The server closed it.
    #[error("closed by the server: {code}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    ByServer {
        /// The server's close code.
        code: CloseCode,
        /// The server's reason; often empty.
        reason: String,
    },
    /// Nothing was received for the idle timeout, by this client or, as reported by the server, by the
    /// server.
    #[error("the server fell silent, or took nothing of what it was sent")]
    TimedOut,
    /// The connection timed out while the app did not read its events, so that the client did not read its
    /// socket (`ClientConfig::events_buffer`).
    #[error("the app did not read its events")]
    EventsUnread,
    /// The server violated the protocol of commands and events.
    #[error("the server broke the protocol: {0}")]
    ServerViolation(#[from] ServerViolation),
    /// The server violated the transport protocol.
    #[error("the server broke the transport's protocol: {0}")]
    TransportViolation(rudp::ProtocolViolation),
    /// The keys have reached a usage limit; a new connection has new ones.
    #[error("limit of the keys: {0}")]
    KeyLimit(rudp::KeyLimit),
    /// The connection was never established.
    #[error("not connected: {0}")]
    ConnectFailed(rudp::ConnectError),
    /// The socket failed, or the runtime ended.
    #[error("the socket failed: {0}")]
    Socket(String),
    /// The app's event handler panicked.
    #[error("the handler of events panicked")]
    Panicked,
}

impl Disconnected {
    /// Returns true if a new connection, with a new grant, may succeed. It may not if the app closed the
    /// connection, if either end violated the protocol, if an operator ended it or does not admit the user,
    /// if client and server do not match, or if the user has connected again: two clients of one user that
    /// both reconnect would replace each other forever.
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
