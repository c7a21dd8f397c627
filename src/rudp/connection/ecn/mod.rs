//! Explicit congestion notification. RFC 3168, RFC 9000 section 13.4. Spec: ECN-1 to ECN-6.
//!
//! | file | what it is |
//! |---|---|
//! | `marking` | the sender: whether a path carries marked packets, and how many of them met congestion |
//! | `ce_counter` | the receiver: how many packets arrived marked CE, and whether the peer knows |
//!
//! The first count is sent even if it is 0, since it shows the sender that ECN works on this path. A queue
//! that marks packets does not drop them, so a sender whose marks are not read would never learn of
//! congestion. A path that drops marked packets is also detected.

mod ce_counter;
mod marking;

pub use ce_counter::{CeCounter, CeReport};
pub use marking::{EcnState, Marking};
