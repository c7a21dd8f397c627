//! [`Flood`]: a member who sends all that the server accepts, and more.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::base::{Slot, Timestamp};
use crate::client::core::Core;
use crate::wire::command::To;
use crate::wire::{Body, Delivery};

/// The messages of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// The largest payloads, in order.
    Large,
    /// The smallest, in order.
    Small,
    /// Latest values, each with a new key.
    Keys,
}

/// Time between the waves of a flood.
pub(super) const EVERY: Duration = Duration::from_millis(5);
/// Maximum number of messages in a wave: several times what a server accepts, and below the rate for which it
/// closes a connection.
const WAVE: u16 = 80;

impl Flood {
    /// Sends the next wave; `next` is a key that was not used yet.
    pub(super) fn rise(self, now: Timestamp, slot: Slot, next: &mut u16, core: &mut Core) {
        for _ in 0..WAVE {
            let (delivery, bytes) = match self {
                Self::Large => (Delivery::ReliableOrdered, Body::MAX_BYTES),
                Self::Small => (Delivery::ReliableOrdered, 0),
                Self::Keys => (Delivery::ReliableLatest { key: *next }, 0),
            };
            *next = next.wrapping_add(1);
            // Messages that its own connection does not accept are sent with a later wave.
            if core.broadcast(now, slot, To::Others, delivery, stamped(bytes)).is_err() {
                return;
            }
        }
    }
}

/// Returns a payload with a stamp that excludes it from the figures.
fn stamped(bytes: usize) -> Bytes {
    let mut payload = BytesMut::zeroed(super::member::STAMP_BYTES);
    payload.put_bytes(0, bytes.saturating_sub(payload.len()));
    payload.freeze()
}

#[cfg(test)]
mod tests {
    use super::super::{Beside, Workload};
    use super::*;
    use crate::link::Impairments;

    // spec-test: LIM-2, LIM-3, LIM-4
    #[test]
    fn a_flooder_costs_the_others_neither_their_seats_nor_a_message() {
        for kind in [Flood::Large, Flood::Small, Flood::Keys] {
            let impairments =
                Impairments { delay: Duration::from_millis(50), loss: 0.01, ..Impairments::default() };
            let workload = Workload {
                members: 3,
                period: Duration::from_millis(33),
                size_bytes: 64,
                delivery: Delivery::ReliableOrdered,
                impairments,
                counted: Duration::from_secs(4),
                beside: Beside::Flood(kind),
            };
            // A member that is removed fails the run by itself.
            let figures = workload.run(1);
            let came = figures.latencies_us.len() as u64;
            assert!(figures.expected > 1_000, "{kind:?}");
            assert_eq!((figures.refused, came), (0, figures.expected), "{kind:?}");
            let late = figures.latency(0.5);
            assert!(late < Duration::from_millis(150), "{kind:?}: {late:?} where 100 ms are the path's");
        }
    }
}
