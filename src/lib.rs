//! Rallypoint: a session server for multiplayer games, and its client.
//!
//! A session is a small group of invited users with a hard cap on its size, a single order of events, and
//! shared properties. Clients reach the server over a secure, reliable protocol on UDP, which
//! `protocol-spec/` specifies. To run a server, see the README; to write a game, [`client`]; to embed a
//! server, `server`; to mint grants in a backend, [`backend`].
//!
//! # Structure
//!
//! An arrow points at the module that is imported. No module imports upward; a test enforces this.
//!
//! ```text
//! base ◄─ wire ◄─┬─ secure ◄─ rudp ◄─┬─ client ◄─┐
//!                ├─ net ◄────────────┤           ├─ cli ◄─ main
//!                └─ session ◄────────┴─ server ◄─┘
//! secure ◄─ backend ◄─ cli
//! base ◄─ link ◄─ cli, testing             testing ─► all, never in a release build
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`base`] | identifiers, time as a value, bytes and numbers |
//! | [`wire`] | packets, frames, commands and events as values, and their encoding |
//! | [`secure`] | connect tokens, handshake, packet keys, replay window |
//! | [`backend`] | the operations of a game's backend: token keys, grants |
//! | [`rudp`] | the reliable connection, and the endpoint that admits clients |
//! | [`session`] | sessions: pure logic on a table with striped locks |
//! | `net` | the only sockets, and the clock |
//! | `server` | workers, rosters and mail; links connections to sessions |
//! | [`client`] | the client's core, and an async API on top of it |
//! | `link` | a seeded model of a bad link, for the command line and for tests |
//!
//! # Invariants
//!
//! - **Sans-IO below `net`, in the server's worker and in the client's core.** Time and randomness are passed
//!   in, so a whole server runs under a virtual clock, and the same seed gives the same run.
//! - **Network input never causes a panic, and no number in it determines the size of an allocation.** Every
//!   queue, window, table and buffer has a limit with an overflow rule; `protocol-spec/limits.md` lists them.
//! - **Each error type identifies the party at fault.** [`base::DecodeError`] is about the bytes,
//!   [`rudp::ProtocolViolation`] about the peer, the API's own errors about the caller, [`std::io::Error`]
//!   about the host. [`base::OutOfBounds`] is part of one of these: a value that somebody chose. Errors of tokens
//!   and of the handshake are in [`secure`].
//!
//! # Features
//!
//! `cli` (the default: the binary, with `server` and `client`), `server` and `client` (each with `net`),
//! `testing` (in addition to `cli`). Without default features the crate consists of base, wire, secure,
//! backend, rudp, session and the client's core, with no tokio, no sockets, and no clock except the
//! backend's. `examples/engine.rs` is a client in a game's own loop.

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

/// The crates whose types are part of the public API, as this crate uses them.
pub use {bytes, rand};

/// The README's example, compiled and run as a test.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;
