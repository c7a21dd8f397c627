//! Streams: the ordering scopes, each with three number spaces.
//!
//! Ordered, unordered and keyed messages are numbered separately, each from 0, so that none waits for a
//! number of another kind. Spec: STR-3.

mod anchor;
mod bits;
mod buffered;
mod reassembly;
mod receive;
mod send;

pub use buffered::Buffered;
pub use reassembly::ReceiveBuffer;
pub use receive::{Arrival, Hold, MessagePart, ReceiveStream, Received, ReceivedPart};
pub use send::{FragmentId, Freed, Pushed, SendPart, SendStream, Waiting};

use crate::base::{StreamId, VARINT_MAX};
use crate::wire::Delivery;

/// A number space of a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Space {
    /// ReliableOrdered.
    Ordered,
    /// ReliableUnordered.
    Unordered,
    /// Sequenced and ReliableLatest.
    Keyed,
}

impl Space {
    /// Returns the space that numbers messages of `delivery`; unreliable ones have no number.
    pub fn of(delivery: Delivery) -> Option<Self> {
        match delivery {
            Delivery::Unreliable => None,
            Delivery::ReliableOrdered => Some(Self::Ordered),
            Delivery::ReliableUnordered => Some(Self::Unordered),
            Delivery::Sequenced { .. } | Delivery::ReliableLatest { .. } => Some(Self::Keyed),
        }
    }
}

/// Identifies a message that this end sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageRef {
    /// Stream of the message.
    pub stream: StreamId,
    /// Number space of the message.
    pub space: Space,
    /// Number in that space.
    pub number: u64,
}

impl MessageRef {
    /// Returns true when this is a later message of the same space.
    pub fn comes_after(&self, other: &Self) -> bool {
        (self.stream, self.space) == (other.stream, other.space) && self.number > other.number
    }

    /// Returns the `count` messages of its space that start with this one.
    pub fn row(self, count: u32) -> impl Iterator<Item = Self> {
        (self.number..self.number + u64::from(count)).map(move |number| Self { number, ..self })
    }
}

/// Number of messages of a space that may be in flight at a time, counted from the oldest unsettled one.
/// Spec: REL-10.
pub const WINDOW_MESSAGES: u64 = 4_096;

/// Largest message number. Spec: STR-3.
pub const MAX_MESSAGE_NUMBER: u64 = VARINT_MAX;

/// A number is sent in one byte while fewer than this many are unsettled in its space. Spec: STR-5.
pub const NARROW_SPAN: u64 = 64;

/// Number of keys of a stream that a receiver remembers, and of keyed numbers that may be in flight.
/// Spec: STR-8.
pub const MAX_KEYS: usize = 256;
