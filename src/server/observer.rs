//! [`ServerEvent`]: events about users and sessions, for the surrounding program.

use std::net::SocketAddr;

use serde_json::Value;

use crate::base::{LoginNumber, MemberId, SessionId, SessionKind, UserId};
use crate::session::PropertyMap;
use crate::wire::{CloseCode, DeleteReason, LeaveReason};

/// An event of a server, passed to [`Builder::observe`](super::Builder::observe).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// A user has connected. An older connection of the user is reported as disconnected afterwards
    /// (`replaced`).
    #[non_exhaustive]
    Connected {
        /// The user.
        user: &'a UserId,
        /// Data that the backend has put into the token for the server.
        data: Option<&'a Value>,
        /// Address of the user.
        address: SocketAddr,
        /// Login number of the connection. It shows which of two connections of a user is the newer one,
        /// whichever is reported first.
        login: LoginNumber,
    },
    /// A connection of a user has ended or is about to end:
    /// [`Server::is_connected`](super::Server::is_connected) may still be true.
    #[non_exhaustive]
    Disconnected {
        /// The user.
        user: &'a UserId,
        /// Reason, as the members of the user's sessions receive it; `dropped` if the server shuts down.
        why: LeaveReason,
        /// Code of the connection's end: the client's own code if `why` is `left`, otherwise the code that is
        /// sent to the client, or would be if it were reachable. It distinguishes the causes of `dropped`: a
        /// kick, a client that broke the protocol, keys that must not be used further, a shutdown.
        code: CloseCode,
        /// Login number of the connection.
        login: LoginNumber,
    },
    /// A session was created. The join of its owner, the first member, is reported after it.
    #[non_exhaustive]
    SessionBegan {
        /// The session.
        session: SessionId,
        /// Application-defined class of the session.
        kind: SessionKind,
        /// The user who created it.
        owner: &'a UserId,
    },
    /// A user has become a member of a session.
    #[non_exhaustive]
    MemberJoined {
        /// The session.
        session: SessionId,
        /// The member; the session has not used this id before.
        member: MemberId,
        /// User of the member.
        user: &'a UserId,
    },
    /// A member has left a session that continues, or that ends with this leave. Members that are removed by
    /// the end of the session or of the server are not reported one by one.
    #[non_exhaustive]
    MemberLeft {
        /// The session.
        session: SessionId,
        /// The member.
        member: MemberId,
        /// User of the member.
        user: &'a UserId,
        /// Reason of the leave.
        why: LeaveReason,
    },
    /// A session has ended.
    #[non_exhaustive]
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Application-defined class of the session.
        kind: SessionKind,
        /// Reason of the end.
        why: DeleteReason,
        /// Members at the end, by age: for `owner_left` all except the owner, for `idle` none.
        members: &'a [(MemberId, &'a UserId)],
        /// Properties at the end.
        properties: &'a PropertyMap,
    },
}

/// The function that receives the events.
pub(super) type Observe = dyn Fn(&ServerEvent<'_>) + Send + Sync;
