//! Sessions: small groups of invited users with a hard cap, shared properties and one ordered
//! stream of events. Pure logic: no bytes, sockets, clocks or tasks.
//!
//! [`SessionTable`] holds them, striped. A command takes one stripe's lock, under which it is
//! checked, changes the session, takes the next event number and is posted as [`Fanout`] through
//! the [`Outbox`], once for each worker with members. So there is one order of events in a
//! session, and it is the order of every worker's mail.
//!
//! What holds, whatever happens at the same time:
//! 1. A session has never more members than seats.
//! 2. Nobody becomes a member without a live invite of their own, except where the session is
//!    open. An invite admits once, and never at or after its TTL: the time of a stripe never runs
//!    backwards, so whoever was told that an invite expired is not admitted by it afterwards.
//! 3. Numbered events are consecutive and the same for all members from their snapshot on.
//! 4. A snapshot contains every event before its `next` and none from there on.
//! 5. A refused command changes nothing but what is left of the budgets of rate. Leaves, kicks and ends are never
//!    refused for want of room.
//! 6. An owner's leaving makes the longest-standing member the owner, or ends the session, as
//!    created; an empty session ends after its idle TTL.
//! 7. The revision of properties grows by one a change; of two compare-and-sets on one value one
//!    wins; no increment is lost.

mod budget;
mod deadlines;
mod fanout;
mod invites;
mod inviting;
mod key_budget;
mod limits;
mod members;
mod outbox;
mod outcome;
mod properties;
mod state;
mod table;
mod traffic;
mod waiting;

pub use fanout::{Audience, Change, Fanout, SessionSnapshot};
pub use key_budget::KeyBudget;
pub use limits::SessionLimits;
pub use members::Member;
pub use outbox::{Load, MailboxFull, MemberAt, Outbox, Room};
pub use outcome::{Admitted, Departed, Ended, EndedInvite, Expired, Inviting, Left, NewInvite};
pub use properties::{PropertyEntry, PropertyMap};
pub use table::SessionTable;
pub use waiting::Deliveries;

#[cfg(test)]
mod tests;
