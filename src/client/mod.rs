//! The client of a game: connect with the backend's grant, enter sessions, send and hear.
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
//! `Client` has a method for each command: those that have a result are async, `broadcast` and
//! `message`, the hot path, return at once. `Events` is everything else, in order; or a closure
//! takes it, see `Client::connect_with_handler`. What is known of a session, its members and
//! properties, is in its [`Mirror`]: `Client::session`.
//!
//! The types used in commands and events are re-exported here.
//!
//! [`core`] is all of this without socket, clock and task, and all that there is without the feature
//! `client`. Knows nothing of the server's code.
//!
//! # The runtime
//!
//! A connection lives on the tokio runtime on which `Client::connect` is awaited, and only while that runs: on a
//! `current_thread` runtime whose thread does something else (a frame, the loading of a level) nothing is sent,
//! acked or heard meanwhile, and after the idle timeout the connection is gone. A game whose main thread has a loop of
//! its own gives the client a `multi_thread` runtime with one worker, whose thread does nothing else; calls that return
//! at once (`broadcast`, `message`, `Events::try_recv`, `Client::session`) may come from any thread. Or it drives
//! [`core`] itself, once a frame: the repository's `examples/engine.rs` shows how.
//!
//! # When the connection ends
//!
//! Commands that wait are answered by [`RequestError::OutcomeUnknown`], `Event::Disconnected` and `Client::closed` say
//! why, and every membership is over: its seat is free once the server knows, which is at its own idle timeout where
//! nobody says goodbye, or when the user connects again. There is no resuming. Who
//! [may reconnect](Disconnected::may_reconnect) asks the backend for a new grant (a token connects once), waits a
//! little longer after each failure, and enters the session again: by `join_open` if it is open to all, else by a new
//! invite, for the old one is used up. So a session of invited users that must outlive the loss of its owner's
//! connection needs another member who invites it back: ownership passes to the one who has been there longest.
//! Nobody can enter a session whose last member is gone unless it is open or an invite is there.

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
pub use self::core::{Disconnected, Event, Mirror, RequestError, SendError, Sent, ServerViolation};
#[cfg(feature = "client")]
pub use self::events::Events;
#[cfg(feature = "client")]
pub use self::handle::Client;
pub use self::params::{CreateSession, InviteUsers};
pub use crate::base::{
    DecodeError, EventNumber, InviteId, MemberId, Revision, SessionId, SessionKind, Slot, UserId,
};
#[cfg(feature = "client")]
pub use crate::net::{BufferSizes, IoPath};
pub use crate::rudp::{
    ConnectError as AttemptError, ConnectionConfig, KeyLimit, ProtocolViolation, Stats, Tracer,
};
pub use crate::secure::ConnectGrant;
pub use crate::wire::command::To;
pub use crate::wire::event::Invitation;
pub use crate::wire::property::{Property, PropertyChanges};
pub use crate::wire::result::{Entered, Info, Membership};
pub use crate::wire::{
    Admission, CloseCode, DeleteReason, Delivery, ErrorCode, IdleTtl, LeaveReason, MaxMembers, Note,
    OnOwnerLeave, PropertyChange, PropertyKey, PropertyOp, PropertyValue, Reason, RejectCode, Settings,
    WriteRule,
};
