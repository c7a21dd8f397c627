//! The game client: connects with the backend's grant, enters sessions, sends and receives.
//!
#![cfg_attr(feature = "client", doc = "```no_run")]
#![cfg_attr(not(feature = "client"), doc = "```ignore")]
//! use rallypoint::client::{Client, ClientConfig, CreateSession, Delivery, Event, InviteUsers, To};
//! # async fn example(grant: rallypoint::secure::ConnectGrant) -> Result<(), Box<dyn std::error::Error>> {
//! // The grant comes from the game's backend; the number names the game.
//! let (client, mut events) = Client::connect(&grant, ClientConfig::new(0x5261_6c6c)).await?;
//!
//! let lobby = client.create(CreateSession::new(1).max_members(4)).await?;
//! client.invite(lobby.slot, InviteUsers::new(["bob".parse()?]).note("join us")).await?;
//!
//! while let Some(event) = events.recv().await {
//!     match event {
//!         Event::MemberJoined { slot, user, .. } => {
//!             let hello = format!("welcome, {user}");
//!             client.broadcast(slot, To::All, Delivery::ReliableOrdered, hello)?;
//!         }
//!         Event::Message { sender, payload, .. } => println!("{sender}: {payload:?}"),
//!         Event::Disconnected(why) => println!("gone: {why}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `Client` has one method per command. Commands that have a result are async; `broadcast` and `message`, the
//! hot path, return at once. Everything else arrives in order through `Events`, or in a closure (see
//! `Client::connect_with_handler`). `Client::session` returns the [`Mirror`] of a session: its known members
//! and properties.
//!
//! The types used in commands and events are re-exported here; what a tracer of one's own needs is in
//! [`rudp`](crate::rudp) ([`Trace`](crate::rudp::Trace)).
//!
//! [`core`] is the same client without socket, clock and task, and the only part available without the
//! feature `client`. This module does not depend on the server's code.
//!
//! # The runtime
//!
//! A connection runs on the tokio runtime on which `Client::connect` is awaited, and only while that runtime
//! runs. On a `current_thread` runtime whose thread is busy elsewhere (rendering a frame, loading a level),
//! nothing is sent, acked or received in the meantime, and after the idle timeout the connection is lost. A
//! game whose main thread runs its own loop should give the client a `multi_thread` runtime with one worker,
//! whose thread does nothing else. Calls that return at once (`broadcast`, `message`, `Events::try_recv`,
//! `Client::session`) may come from any thread. Alternatively, the game drives [`core`] itself, once per
//! frame, as the repository's `examples/engine.rs` shows.
//!
//! # When the connection ends
//!
//! Pending commands fail with [`RequestError::OutcomeUnknown`], `Event::Disconnected` and `Client::closed`
//! report the reason, and every membership ends. Its seat becomes free once the server notices: at the
//! server's own idle timeout if the client did not close the connection, or when the user connects again.
//! Connections cannot be resumed. A client that [may reconnect](Disconnected::may_reconnect) asks the backend
//! for a new grant (a token connects only once), waits a little longer after each failure, and enters the
//! session again: by `join_open` if the session is open to all, otherwise by a new invite, because the old
//! one is used up. A session of invited users that must survive the loss of its owner's connection therefore
//! needs another member to invite the former owner back; ownership passes to the longest-standing member.
//! Nobody can enter a session whose last member is gone unless it is open or an invite still exists.
//!
//! A server that has crashed or was restarted sends nothing. The client notices once it has heard nothing for
//! the idle timeout; until then commands wait, and `broadcast` and `message` return `Ok` while there is room
//! to queue. The smaller of the idle timeouts of client and server applies, each 10 s by default. A client
//! that must notice sooner sets a shorter one, [`ConnectionConfig::idle_timeout`] of
//! `ClientConfig::connection`, 1 s to 600 s. A pause of the network that lasts as long then ends the
//! connection, too.
//!
//! While a machine sleeps, the monotonic clock of some systems stands still (Linux, Android). A client whose
//! connection was given up meanwhile may therefore need up to another idle timeout after waking to notice. An
//! app that is told of waking may close the client and connect again at once, with a new grant.

#[cfg(feature = "client")]
mod config;
#[cfg(feature = "client")]
mod connect;
pub mod core;
#[cfg(feature = "client")]
mod driver;
#[cfg(feature = "client")]
mod events;
#[cfg(feature = "client")]
mod handle;
mod params;

#[cfg(feature = "client")]
pub use self::config::ClientConfig;
#[cfg(feature = "client")]
pub use self::connect::ConnectError;
#[cfg(feature = "cli")]
pub(crate) use self::connect::reachable;
pub use self::core::{Disconnected, Event, Mirror, RequestError, SendError, SendFate, Sent, ServerViolation};
#[cfg(feature = "client")]
pub use self::events::Events;
#[cfg(feature = "client")]
pub use self::handle::Client;
pub use self::params::{CreateSession, InviteUsers};
pub use crate::base::{
    DecodeError, EventNumber, InviteId, MemberId, OutOfBounds, Revision, SessionId, SessionKind, Slot, UserId,
};
#[cfg(feature = "client")]
pub use crate::net::{BufferSizes, IoPath};
pub use crate::rudp::{
    CongestionControl, ConnectError as AttemptError, ConnectionConfig, KeyLimit, ProtocolViolation, Stats,
    Tracer,
};
pub use crate::secure::{ConnectGrant, HandshakeError};
pub use crate::wire::command::To;
pub use crate::wire::event::Invitation;
pub use crate::wire::property::{Property, PropertyChanges};
pub use crate::wire::result::{Entered, Info, Membership};
pub use crate::wire::{
    Admission, CloseCode, DeleteReason, Delivery, ErrorCode, IdleTtl, LeaveReason, MaxMembers, Note,
    OnOwnerLeave, PropertyChange, PropertyKey, PropertyOp, PropertyValue, Reason, RejectCode, Settings,
    WriteRule,
};
