//! How `demo` and `bench` know that every delivery is right.
//!
//! Each broadcast carries a [`Stamp`]: who sent it, its sequence number, and when. A receiver's
//! [`Tally`] finds what comes twice, out of its sender's order, or altered; an [`EventLog`], shared by
//! the members of a session, finds two members that saw its events in different orders.

mod event_log;
mod latency;
mod stamp;
mod tally;

pub use event_log::{EventLog, Seen};
pub use latency::Latency;
pub use stamp::{Stamp, StampError};
pub use tally::{Arrival, Tally};
