//! The connect token: a backend's permission for a user to connect to a server, once and soon.
//!
//! It is a PASETO v4.local token, so that a backend in any language can mint it. [`mint`] is the backend's
//! part, [`open`] the server's; both are pure except for the token's random nonce.

mod claims;
mod grant;
mod key;
mod mint;
mod open;
mod ring;

pub use claims::{Claims, ClaimsError, DATA_MAX_BYTES, LIFETIME_MAX, Psk, TokenId};
pub use grant::{ConnectGrant, GrantError};
pub use key::{KeyError, TokenKey};
pub use mint::{MintError, MintRequest, NAME_BYTES, mint};
pub use open::{TokenError, open};
pub use ring::{KeyCountError, KeyRing};

pub use crate::wire::packet::TOKEN_MAX_BYTES;
