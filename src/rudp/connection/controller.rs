//! How much may be under way: the port for congestion control.

use std::time::Duration;

use crate::base::Timestamp;

/// Decides how many bytes may be under way. Told of every packet's fate.
pub trait Controller: Send {
    /// A packet of `bytes` was acked; `rtt` is the smoothed round trip.
    fn on_acked(&mut self, now: Timestamp, bytes: usize, rtt: Duration);

    /// A packet of `bytes`, sent at `sent`, was lost.
    fn on_lost(&mut self, now: Timestamp, sent: Timestamp, bytes: usize);

    /// The peer has moved to another network: nothing that was learnt holds any more.
    fn reset(&mut self, now: Timestamp);

    /// Bytes that may be under way.
    fn window_bytes(&self) -> usize;
}

/// A constant window: bounds what one connection can put into a queue, and does not adapt.
#[derive(Debug)]
pub struct FixedWindow {
    bytes: usize,
}

impl FixedWindow {
    /// A window of `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { bytes }
    }
}

impl Controller for FixedWindow {
    fn on_acked(&mut self, _now: Timestamp, _bytes: usize, _rtt: Duration) {}

    fn on_lost(&mut self, _now: Timestamp, _sent: Timestamp, _bytes: usize) {}

    fn reset(&mut self, _now: Timestamp) {}

    fn window_bytes(&self) -> usize {
        self.bytes
    }
}
