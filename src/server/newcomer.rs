//! [`Newcomer`]: of whom the program around the server is asked whether they may connect.

use std::net::SocketAddr;

use serde_json::Value;

use crate::base::UserId;

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

/// Whether somebody may connect.
pub(super) type Admit = dyn Fn(&Newcomer<'_>) -> bool + Send + Sync;
