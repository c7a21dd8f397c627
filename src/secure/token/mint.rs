//! [`mint`]: the backend's part, for tests, tools and backends written in Rust.

use std::ops::RangeInclusive;
use std::time::Duration;

use pasetors::version4::LocalToken;
use rand::CryptoRng;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Claims, ClaimsError, ConnectGrant, Psk, TOKEN_MAX_BYTES, TokenId, TokenKey};
use crate::base::{UnixTime, UserId};
use crate::secure::base64;

/// Parameters of a token to mint.
#[must_use]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MintRequest {
    /// The user.
    pub user: UserId,
    /// Name of the server, 1 to 128 bytes, as the server is configured to call itself; usually its address.
    /// With any other name, the grant also needs the addresses: see [`ConnectGrant::at`].
    pub server: String,
    /// Time from now to the token's expiry, up to [`super::LIFETIME_MAX`].
    pub lifetime: Duration,
    /// The application's data about the user, for its server.
    pub data: Option<Value>,
}

impl MintRequest {
    /// Creates a request for a token of `user` for the server with this name, valid for a minute.
    pub fn new(user: UserId, server: impl Into<String>) -> Self {
        Self { user, server: server.into(), lifetime: DEFAULT_LIFETIME, data: None }
    }

    /// Sets the lifetime, up to [`super::LIFETIME_MAX`].
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Sets the application's data about the user, which its server gets as the `data` of its `Newcomer`.
    pub fn data(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }
}

/// Length of a server's name in a token, in bytes.
pub const NAME_BYTES: RangeInclusive<usize> = 1..=128;

/// Short, because a grant is for connecting at once.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// Mints a token that makes one connection, and the grant that its user's client needs.
///
/// The token's id and secret come from `rng`; PASETO's own nonce comes from the system.
///
/// # Errors
/// [`MintError`] if the request breaks a limit.
// spec: TOK-1
pub fn mint(
    key: &TokenKey,
    request: MintRequest,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<ConnectGrant, MintError> {
    if !NAME_BYTES.contains(&request.server.len()) {
        return Err(MintError::ServerName { bytes: request.server.len() });
    }
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let mut psk = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *psk);
    let claims = Claims {
        user: request.user,
        id: TokenId::new(&base64::encode(&id)).expect("invariant: 16 bytes are 22 letters"),
        issued: now,
        expires: now + request.lifetime,
        audience: request.server.clone(),
        psk: Psk::new(*psk),
        data: request.data,
    };
    let token = encrypt(key, &claims.to_json()?)?;
    let servers = vec![request.server];
    Ok(ConnectGrant { token, psk: claims.psk, servers, audience: None, expires: claims.expires })
}

/// Seals `json` as a token of `key`.
fn encrypt(key: &TokenKey, json: &str) -> Result<String, MintError> {
    let footer = json!({ "kid": key.id() }).to_string();
    let token = LocalToken::encrypt(&key.key, json.as_bytes(), Some(footer.as_bytes()), None)
        .map_err(|_| MintError::NoRandomness)?;
    match token.len() {
        0..=TOKEN_MAX_BYTES => Ok(token),
        bytes => Err(MintError::TooLong { bytes }),
    }
}

/// Reason why no token was minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The contents of the token break a limit.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// The length of the server's name is illegal.
    #[error("the server's name has {bytes} bytes, allowed are {} to {}", NAME_BYTES.start(), NAME_BYTES.end())]
    ServerName {
        /// Length of the name.
        bytes: usize,
    },
    /// User, server and data together make the token too long.
    #[error("token has {bytes} bytes, allowed are {TOKEN_MAX_BYTES}")]
    TooLong {
        /// Length of the token.
        bytes: usize,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

/// Returns a token of `key` with an arbitrary payload.
#[cfg(test)]
pub(super) fn forge(key: &TokenKey, json: &str) -> String {
    encrypt(key, json).unwrap()
}
