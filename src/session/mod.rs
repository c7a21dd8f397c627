//! Sessions: small groups of invited users with a hard cap, shared properties and one ordered stream of
//! events. Pure logic: no bytes, sockets, clocks or tasks.
//!
//! [`SessionTable`] holds the sessions in stripes. A command takes the lock of one stripe. Under that lock it
//! is checked, changes the session, takes the next event number and is posted through the [`WorkerPort`] as one
//! [`Fanout`] for each worker with members. So a session has one order of events, and every worker's mail
//! follows it.
//!
//! The table keeps these promises under any concurrency:
//! 1. A session never has more members than seats.
//! 2. Nobody becomes a member without a live invite of their own, unless the session is open. An invite
//!    admits once, and never at or after its TTL. The time of a stripe never runs backwards, so an invite
//!    that was reported as expired does not admit anyone afterwards.
//! 3. Numbered events are consecutive and, from a member's snapshot on, the same for all members.
//! 4. A snapshot contains every event before its `next` and none from there on.
//! 5. A refused command changes nothing except the rate budgets. Leaves, kicks and ends are never refused for
//!    lack of room.
//! 6. When the owner leaves, the longest-standing member becomes the owner or the session ends, as configured
//!    at its creation. An empty session ends after its idle TTL.
//! 7. Each change increases the revision of the properties by one. Of two compare-and-sets on one value, one
//!    wins. No increment is lost.

mod budget;
mod deadlines;
mod ending;
mod fanout;
mod invites;
mod inviting;
mod joining;
mod key_budget;
mod leaving;
mod limits;
mod members;
mod outcome;
mod phase;
mod port;
mod properties;
mod state;
mod table;
mod traffic;
mod waiting;

pub use fanout::{Audience, Change, Fanout, SessionSnapshot};
pub use key_budget::KeyBudget;
pub use limits::SessionLimits;
pub use members::{Member, MemberRef};
pub use outcome::{Admitted, Departed, Ended, EndedInvite, Expired, Inviting, Left, NewInvite};
pub use port::{Entrant, Load, MailboxFull, MemberAt, RoomFrom, WorkerPort};
pub use properties::{PropertyEntry, PropertyMap};
pub use table::SessionTable;
pub use waiting::Deliveries;

#[cfg(test)]
mod tests;
