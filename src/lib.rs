//! Rallypoint: a session server for multiplayer games, and its client.

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

pub mod base;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
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
