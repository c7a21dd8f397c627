//! The checks of every delivery in `demo` and `bench`.
//!
//! Each broadcast carries a [`Stamp`]: its sender, its sequence number and its send time. Reading the stamp
//! detects altered payloads; a receiver's [`Tally`] detects duplicates and messages out of their sender's
//! order; an [`EventLog`], shared by the members of a session, detects members that saw its events in
//! different orders.

mod event_log;
mod latency;
mod stamp;
mod tally;

pub use event_log::{EventLog, Seen};
pub use latency::Latency;
pub use stamp::{Stamp, StampError};
pub use tally::{Arrival, Tally};
