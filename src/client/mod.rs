//! The client of a game: connect with the backend's grant, enter sessions, send and hear.
//!
//! ```no_run
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
//! [`Client`] has a method for each command: those that have a result are async, `broadcast` and
//! `message`, the hot path, return at once. [`Events`] is everything else, in order; or a closure
//! takes it, see [`Client::connect_with_handler`]. What is known of a session, its members and
//! properties, is in its [`Mirror`]: [`Client::session`].
//!
//! What stands in commands and events is named here, too, whichever module it is of.
//!
//! [`core`] is all of this without socket, clock and task. Knows nothing of the server's code.

mod config;
mod connect;
pub mod core;
mod driver;
mod events;
mod handle;
mod params;

pub use self::config::ClientConfig;
pub use self::connect::ConnectError;
pub use self::core::{Disconnected, Event, Mirror, RequestError, SendError, Sent, ServerViolation};
pub use self::events::Events;
pub use self::handle::Client;
pub use self::params::{CreateSession, InviteUsers};
pub use crate::base::{EventNumber, InviteId, MemberId, Revision, SessionId, SessionKind, Slot, UserId};
pub use crate::rudp::Stats;
pub use crate::secure::ConnectGrant;
pub use crate::wire::command::To;
pub use crate::wire::event::Invitation;
pub use crate::wire::property::Property;
pub use crate::wire::result::{Entered, Info, Membership};
pub use crate::wire::{
    CloseCode, DeleteReason, Delivery, ErrorCode, LeaveReason, PropertyChange, PropertyKey, PropertyOp,
    PropertyValue, Settings, WriteRule,
};
