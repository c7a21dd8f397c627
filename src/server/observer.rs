//! [`ServerEvent`]: what the program around the server is told of its users and sessions.

use std::net::SocketAddr;

use serde_json::Value;

use crate::base::{MemberId, SessionId, SessionKind, UserId};
use crate::session::PropertyMap;
use crate::wire::{CloseCode, DeleteReason, LeaveReason};

/// What has happened on a server, told to [`Builder::observe`](super::Builder::observe).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// A user has connected. One who was connected before is told as disconnected afterwards (`replaced`).
    #[non_exhaustive]
    Connected {
        /// The user.
        user: &'a UserId,
        /// What the backend has put into the token for the server to know.
        data: Option<&'a Value>,
        /// Where the user is.
        address: SocketAddr,
        /// Of two connections of a user the newer has the larger one, whichever is told first.
        login: u64,
    },
    /// A connection of a user has ended, or is about to:
    /// [`Server::is_connected`](super::Server::is_connected) may still be true.
    #[non_exhaustive]
    Disconnected {
        /// The user.
        user: &'a UserId,
        /// Why, as the members of the user's sessions are told; `dropped` where the server shuts down.
        why: LeaveReason,
        /// What the connection ends with: the client's own code where `why` is `left`, else what the client is told, or
        /// would be if it heard. It tells apart what members know as `dropped`: a kick, a client that broke the protocol,
        /// keys that may be used no further, a shutdown.
        code: CloseCode,
        /// Which of the user's connections it was.
        login: u64,
    },
    /// There is a new session. Its owner is told as its first member next.
    #[non_exhaustive]
    SessionBegan {
        /// The session.
        session: SessionId,
        /// The app's class of it.
        kind: SessionKind,
        /// Who has created it.
        owner: &'a UserId,
    },
    /// A user has become a member of a session.
    #[non_exhaustive]
    MemberJoined {
        /// The session.
        session: SessionId,
        /// The member: an id that the session has not given before.
        member: MemberId,
        /// Its user.
        user: &'a UserId,
    },
    /// A member has left a session that goes on, or ends with that. Those that a session's end, or the server's, takes
    /// with it are not told one by one.
    #[non_exhaustive]
    MemberLeft {
        /// The session.
        session: SessionId,
        /// The member.
        member: MemberId,
        /// Its user.
        user: &'a UserId,
        /// Why.
        why: LeaveReason,
    },
    /// A session has ended.
    #[non_exhaustive]
    SessionEnded {
        /// The session.
        session: SessionId,
        /// The app's class of it.
        kind: SessionKind,
        /// Why.
        why: DeleteReason,
        /// Who was in it at its end, by age: of `owner_left` all but the owner, of `idle` nobody.
        members: &'a [(MemberId, &'a UserId)],
        /// What its members have shared, as it was at the end.
        properties: &'a PropertyMap,
    },
}

/// Who is told.
pub(super) type Observe = dyn Fn(&ServerEvent<'_>) + Send + Sync;
