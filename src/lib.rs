//! Rallypoint: a session server for multiplayer games, and its client.
//!
//! A session is a small group of invited users with a hard cap, one order of events and shared
//! properties. Clients reach the server over a secure reliable protocol on UDP, which the folder
//! `protocol-spec/` specifies. To run it, see the README; to write a game, [`client`]; to embed a
//! server, `server`; to mint grants in a backend, [`backend`].
//!
//! # The house
//!
//! An arrow points at what is imported; nothing imports upward, and a test holds it so.
//!
//! ```text
//! base ◄─ wire ◄─┬─ secure ◄─ rudp ◄─┬─ client ◄─┐
//!                ├─ net ◄────────────┤           ├─ cli ◄─ main
//!                └─ session ◄────────┴─ server ◄─┘
//! secure ◄─ backend ◄─ cli
//! base ◄─ link ◄─ cli, testing             testing ─► all, never in a release build
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`base`] | identifiers, time as a value, bytes and numbers |
//! | [`wire`] | packets, frames, commands and events as values, and their bytes |
//! | [`secure`] | connect tokens, handshake, packet keys, replay window |
//! | [`backend`] | what a game's backend does: token keys, grants |
//! | [`rudp`] | the reliable connection and the endpoint that admits clients |
//! | [`session`] | sessions: pure logic on a table of striped locks |
//! | `net` | the only sockets, and the clock |
//! | `server` | workers, rosters and mail: joins connections and sessions |
//! | [`client`] | the client's core, and an async API over it |
//! | `link` | a seeded model of a bad link, for the command line and for tests |
//!
//! # What holds everywhere
//!
//! - **Sans-IO below `net`, in the server's worker and in the client's core**: time and randomness
//!   are passed in, so a whole server runs under a virtual clock, the same for the same seed.
//! - **Network input never panics, and never allocates by a number that it names.** Every queue,
//!   window, table and buffer has a limit with an overflow rule; `protocol-spec/limits.md` lists them.
//! - **Errors say whose they are**: [`base::DecodeError`] (the bytes), [`rudp::ProtocolViolation`] (the
//!   peer), those of tokens and of the handshake in [`secure`], the API's own (the caller),
//!   [`std::io::Error`] (the host).
//!
//! # Features
//!
//! `cli` (the default: the binary, with `server` and `client`), `server` and `client` (each with `net`), `testing` (beside
//! `cli`). Without default features the crate is base, wire, secure, backend, rudp, session and the client's core: no
//! tokio, no sockets, no clock but the backend's. `examples/engine.rs` is a client in a game's own loop.

#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )
)]

pub mod backend;
pub mod base;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod client;
#[cfg(any(feature = "cli", feature = "testing", test))]
pub mod link;
#[cfg(feature = "net")]
pub mod net;
pub mod rudp;
pub mod secure;
#[cfg(feature = "server")]
pub mod server;
pub mod session;
#[cfg(all(feature = "server", feature = "client", any(feature = "testing", test)))]
pub mod testing;
pub mod wire;

/// The README's example, compiled and run as a test.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;
