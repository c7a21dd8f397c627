//! [`Newcomer`], a user about whose admission the surrounding program decides, and [`Admit`], the decision.

use std::net::SocketAddr;

use serde_json::Value;

use crate::base::UserId;
use crate::wire::{CloseCode, RejectCode};

/// A user with a valid token who wants to connect.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Newcomer<'a> {
    /// The user.
    pub user: &'a UserId,
    /// Data that the backend has put into the token for the server ([`MintRequest::data`]).
    ///
    /// [`MintRequest::data`]: crate::secure::token::MintRequest::data
    pub data: Option<&'a Value>,
    /// Source address of the request. It is not proved yet that the user is there.
    pub address: SocketAddr,
}

/// Whether a user may connect; the result of [`Builder::admit`](super::Builder::admit). `true` converts to
/// [`Admit::Yes`], `false` to [`Admit::Denied`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admit {
    /// The user may connect.
    Yes,
    /// This user may not connect: a ban. The client gets `denied` and need not try again.
    Denied,
    /// No user may connect, permanently or for now: the server waits for the end of its matches or is under
    /// maintenance. Clients get `draining`: another server may admit them, or this one later.
    Draining,
    /// There is no room, by the program's own count. Clients get `full` and may try again.
    Full,
}

impl Admit {
    /// Returns the codes for a refused user: before it is connected, and when it has just connected.
    pub(super) fn refusal(self) -> Option<(RejectCode, CloseCode)> {
        match self {
            Self::Yes => None,
            Self::Denied => Some((RejectCode::Denied, CloseCode::KickedByOperator)),
            Self::Draining => Some((RejectCode::Draining, CloseCode::ShuttingDown)),
            Self::Full => Some((RejectCode::Full, CloseCode::Full)),
        }
    }
}

impl From<bool> for Admit {
    fn from(may: bool) -> Self {
        if may { Self::Yes } else { Self::Denied }
    }
}

/// The function that decides about newcomers.
pub(super) type Gatekeeper = dyn Fn(&Newcomer<'_>) -> Admit + Send + Sync;
