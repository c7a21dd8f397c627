//! The server: joins transport, sessions and users, and runs them on workers.
//!
#![cfg_attr(feature = "server", doc = "```no_run")]
#![cfg_attr(not(feature = "server"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use rallypoint::secure::TokenKey;
//! use rallypoint::server::{Limits, Server};
//!
//! # fn example(text: &str) -> Result<(), Box<dyn std::error::Error>> {
//! // The key is the one with which the game's backend mints tokens; the number names the game.
//! let server = Server::builder(0x5261_6c6c)
//!     .key(TokenKey::from_paserk(text)?)
//!     .listen("0.0.0.0:7777".parse()?)
//!     .limits(Limits { max_connections: 2_000, ..Limits::default() })
//!     .admit(|newcomer| newcomer.user.as_str() != "mallory")
//!     .start()?;
//!
//! // It runs on threads of its own. The program around it looks at it, and decides.
//! println!("{} connected", server.counters().connections);
//! for session in server.sessions().iter().filter(|session| session.members == 0) {
//!     server.close_session(session.session, "nobody came".parse()?);
//! }
//! server.kick(&"bob".parse()?, "spam".parse()?);
//!
//! // Clients are told, for ten seconds at most. A server that is to wait for the end of its matches first has `admit`
//! // say `Admit::Draining`, and asks `sessions` until there are none.
//! server.shutdown(Duration::from_secs(10))?;
//! # Ok(())
//! # }
//! ```
//!
//! Inside, each `worker::Worker` is a sans-IO machine that owns its connections and shares the rest
//! (`shared::Shared`) with the others:
//!
//! | file | what it holds |
//! |---|---|
//! | `builder`, `running` | how a server starts, runs on threads and ends |
//! | `newcomer` | of whom the program around it is asked whether they may connect |
//! | `observer` | what that program is told |
//! | `limits`, `config` | every limit, and what it means for the layers below |
//! | `worker/` | one thread's share: from datagrams to commands, from events to datagrams |
//! | `shared` | what the workers share: sessions, and the next three |
//! | `directory` | users: where they are connected, which invites are open for them |
//! | `population` | how many users each worker serves |
//! | `mail`, `mailbox` | what workers write to each other |
//! | `roster`, `keys` | which members a worker serves, and the keys on their streams |
//! | `budget` | how fast a connection may act |
//! | `counters` | what tests and operators can see |
//!
//! The API is what the items below name. `mail` and `mailbox` are public for a bench, and change freely.

pub(crate) mod budget;
mod builder;
pub(crate) mod config;
pub mod counters;
pub(crate) mod directory;
pub(crate) mod keys;
pub mod limits;
#[doc(hidden)]
pub mod mail;
#[doc(hidden)]
pub mod mailbox;
mod newcomer;
mod observer;
pub(crate) mod population;
pub(crate) mod roster;
mod running;
pub(crate) mod shared;
pub(crate) mod worker;

pub use builder::{BuildError, Builder};
pub use counters::Totals;
pub use limits::Limits;
pub use newcomer::{Admit, Newcomer};
pub use observer::ServerEvent;
pub use running::Server;

pub use crate::base::{MemberId, SessionId, SessionKind, UserId};
pub use crate::net::Traffic;
pub use crate::secure::KeyCountError;
pub use crate::session::{PropertyEntry, PropertyMap};
pub use crate::wire::result::Info;
pub use crate::wire::{DeleteReason, LeaveReason, PropertyKey, PropertyValue, Reason};
