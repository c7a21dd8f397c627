//! The server: connects transport, sessions and users, and runs them on workers.
//!
#![cfg_attr(feature = "server", doc = "```no_run")]
#![cfg_attr(not(feature = "server"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use rallypoint::secure::TokenKey;
//! use rallypoint::server::{Limits, Server};
//!
//! # fn example(text: &str) -> Result<(), Box<dyn std::error::Error>> {
//! // The key is the one with which the game's backend mints tokens; the number identifies the game.
//! let server = Server::builder(0x5261_6c6c)
//!     .key(TokenKey::from_paserk(text)?)
//!     .listen("0.0.0.0:7777".parse()?)
//!     .limits(Limits { max_connections: 2_000, ..Limits::default() })
//!     .admit(|newcomer| newcomer.user.as_str() != "mallory")
//!     .start()?;
//!
//! // The server runs on its own threads. The surrounding program inspects and controls it.
//! println!("{} connected", server.counters().connections);
//! for session in server.sessions().iter().filter(|session| session.members == 0) {
//!     server.close_session(session.session, "nobody came".parse()?);
//! }
//! server.kick(&"bob".parse()?, "spam".parse()?);
//!
//! // Clients are notified for ten seconds at most. To wait for the end of all matches first, let `admit`
//! // return `Admit::Draining`, and poll `sessions` until none is left.
//! server.shutdown(Duration::from_secs(10))?;
//! # Ok(())
//! # }
//! ```
//!
//! Internally, each `worker::Worker` is a sans-IO state machine that owns its connections and shares the rest
//! (`shared::Shared`) with the others:
//!
//! | file | what it holds |
//! |---|---|
//! | `builder`, `running` | how a server starts, runs on threads and ends |
//! | `newcomer` | the users about whose admission the surrounding program decides |
//! | `observer` | the events that this program receives |
//! | `limits`, `config` | every limit, and the resulting configuration of the lower layers |
//! | `worker/` | one thread's share: from datagrams to commands, from events to datagrams |
//! | `shared` | state that the workers share: sessions, and the next three |
//! | `directory` | users: where they are connected, and which invites are open for them |
//! | `population` | how many users each worker serves |
//! | `mail`, `mailbox` | mail between workers |
//! | `roster`, `keys` | the members that a worker serves, and the keys on their streams |
//! | `budget` | rate budgets of a connection |
//! | `counters` | counters for tests and operators |
//!
//! The API consists of the items below. `mail` and `mailbox` are public for a benchmark only and may change
//! at any time.

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
pub use limits::{LimitError, Limits};
pub use newcomer::{Admit, Newcomer};
pub use observer::ServerEvent;
pub use running::Server;

pub use crate::base::{
    EventNumber, LoginNumber, MemberId, OutOfBounds, Revision, SessionId, SessionKind, UserId,
};
pub use crate::net::{BufferSizes, IoPath, Traffic};
pub use crate::rudp::Tracer;
pub use crate::secure::KeyCountError;
pub use crate::secure::token::TokenKey;
pub use crate::session::{PropertyEntry, PropertyMap};
pub use crate::wire::result::Info;
pub use crate::wire::{
    CloseCode, DeleteReason, LeaveReason, PropertyKey, PropertyValue, Reason, Settings, WriteRule,
};
