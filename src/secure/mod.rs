//! Who may connect, and how packets are sealed: connect token, handshake, packet keys, replay window.
//!
//! Knows nothing of sockets, clocks and sessions: time and randomness are passed in. Secrets have no
//! `Debug`, are wiped when dropped and are never logged.

mod keys;
mod replay;

pub use keys::{HandshakeSecrets, OpenError, OpenKey, PacketKeys, SealKey, TAG_BYTES};
pub use replay::ReplayWindow;
