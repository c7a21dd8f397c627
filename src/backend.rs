//! The operations of a game's backend: making a token key once, and minting a grant for each connection.
//!
//! ```
//! use rallypoint::backend::{self, MintRequest};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Once. The servers hold the same key, in a file.
//! let key = backend::new_key();
//! let text = key.to_paserk();
//!
//! // When a logged-in user wants to play. The client gets the JSON and connects with it within a minute.
//! let request = MintRequest::new("ann".parse()?, "eu-1.game.example:7777").data(serde_json::json!({ "rank": 3 }));
//! let json = backend::mint(&key, request)?.to_json();
//! # Ok(())
//! # }
//! ```
//!
//! Backends in other languages mint with any PASETO library; `protocol-spec/handshake.md` specifies the
//! contents of a token. The functions here use the system's clock and randomness;
//! [`secure::token`](crate::secure::token) is the same with both passed in.

use std::time::SystemTime;

use rand::SeedableRng;
use rand::rngs::StdRng;

pub use crate::base::UserId;
use crate::secure::token;
pub use crate::secure::token::{ConnectGrant, MintError, MintRequest, TokenKey};

/// Generates a new random token key.
pub fn new_key() -> TokenKey {
    TokenKey::generate(&mut StdRng::from_os_rng())
}

/// Mints a token that is valid from now for one connection, and the grant that its user's client needs.
///
/// # Errors
/// [`MintError`] if the request breaks a limit.
pub fn mint(key: &TokenKey, request: MintRequest) -> Result<ConnectGrant, MintError> {
    token::mint(key, request, SystemTime::now().into(), &mut StdRng::from_os_rng())
}
