//! Admission and packet sealing: connect tokens, handshake, packet keys, replay window.
//!
//! Independent of sockets, clocks and sessions: time and randomness are passed in. Secrets have no `Debug`,
//! are wiped when dropped and are never logged. The libraries below (`snow`, `pasetors`, `ring`) make copies that
//! they do not wipe.

mod base64;
mod cookie;
mod handshake;
mod keys;
mod ledger;
mod replay;
mod rfc3339;
pub mod token;

pub use cookie::CookieKey;
pub use handshake::{Agreed, Binding, HandshakeError, Initiator, Responder};
pub use keys::{HandshakeSecrets, OpenError, OpenKey, PacketKeys, SealKey, TAG_BYTES};
pub use ledger::{HALF_OPEN_PER_TOKEN, LedgerError, TokenLedger, TokenUse};
pub use replay::ReplayWindow;
pub use token::{Claims, ConnectGrant, KeyCountError, KeyRing, Psk, TokenId, TokenKey};
