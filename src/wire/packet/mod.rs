//! Packets: each travels in a datagram of its own.
//!
//! The top bit of the first byte distinguishes them: clear packets begin with `R`, sealed ones have the bit
//! set. Clear packets establish a connection; everything else is sealed.

mod clear;
mod hello;
mod hello_ack;
mod reject;
mod retry;
mod sealed;

#[cfg(test)]
pub(crate) use clear::forge;
pub use clear::{ClearHeader, ClearKind, ClearPacket, Echo, PROTOCOL_VERSION, is_clear};
pub use hello::{EPHEMERAL_BYTES, HELLO_BYTES, Hello, TOKEN_MAX_BYTES};
pub use hello_ack::HelloAck;
pub use reject::Reject;
pub use retry::{COOKIE_BYTES, Cookie, Retry};
pub use sealed::{Direction, SEALED, SealedHeader};
