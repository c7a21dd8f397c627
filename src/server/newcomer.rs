//! [`Newcomer`], of whom the program around the server is asked whether they may connect, and [`Admit`], its answer.

use std::net::SocketAddr;

use serde_json::Value;

use crate::base::UserId;
use crate::wire::{CloseCode, RejectCode};

/// Somebody who wants to connect, and whose token is good.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Newcomer<'a> {
    /// The user.
    pub user: &'a UserId,
    /// What the backend has put into the token for the server to know ([`MintRequest::data`]).
    ///
    /// [`MintRequest::data`]: crate::secure::token::MintRequest::data
    pub data: Option<&'a Value>,
    /// Where the request came from; whether they are there is not proved yet.
    pub address: SocketAddr,
}

/// Whether somebody may connect: what [`Builder::admit`](super::Builder::admit) says. `true` is [`Admit::Yes`], `false`
/// [`Admit::Denied`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admit {
    /// They may.
    Yes,
    /// Not this user: a ban. Their client is told `denied`, and that it need not try again.
    Denied,
    /// Nobody, any more or for the time being: the server waits for the end of its matches, or is being maintained.
    /// Clients are told `draining`: another server may have them, or this one later.
    Draining,
    /// There is no room, by a count of the program's own. Clients are told `full`, and may try again.
    Full,
}

impl Admit {
    /// What someone is told who may not connect: before they are connected, and when they have just been.
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

/// Who is asked.
pub(super) type Gatekeeper = dyn Fn(&Newcomer<'_>) -> Admit + Send + Sync;
