//! [`Congestion`]: the controller and the pacer of a connection, and what they allow now.

use std::time::Duration;

use super::{Controller, Pacer, initial_window};
use crate::base::Timestamp;

/// What may leave. It is asked before each packet, and changes only with what is told of packets that left
/// before: so the answers are kept at hand, and the controller is not.
pub struct Congestion {
    window_bytes: usize,
    bytes_per_second: u64,
    pacer: Pacer,
    controller: Box<dyn Controller>,
}

impl Congestion {
    /// Nothing has left, of a window of datagrams of up to `datagram` bytes; round trips are supposed to take
    /// `smoothed`.
    pub fn new(controller: Box<dyn Controller>, now: Timestamp, datagram: usize, smoothed: Duration) -> Self {
        let pacer = Pacer::new(now, initial_window(datagram));
        let mut congestion = Self { window_bytes: 0, bytes_per_second: 0, pacer, controller };
        congestion.renew(smoothed);
        congestion
    }

    /// Tells the controller what has become of packets; a round trip takes `smoothed` now.
    pub fn tell(&mut self, smoothed: Duration, tell: impl FnOnce(&mut dyn Controller)) {
        tell(&mut *self.controller);
        self.renew(smoothed);
    }

    /// Goes on with another controller, of a path of which nothing is known. The pacer stays.
    pub fn replace(&mut self, controller: Box<dyn Controller>, smoothed: Duration) {
        self.controller = controller;
        self.renew(smoothed);
    }

    fn renew(&mut self, smoothed: Duration) {
        self.window_bytes = self.controller.window_bytes();
        self.bytes_per_second = self.controller.pacing_bytes_per_second(smoothed);
    }

    /// True when the answers are those that the controller would give: to be asserted.
    pub fn is_fresh(&self, smoothed: Duration) -> bool {
        self.window_bytes == self.controller.window_bytes()
            && self.bytes_per_second == self.controller.pacing_bytes_per_second(smoothed)
    }

    /// Bytes that may be under way.
    pub fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    /// Whether the pacer lets a packet leave at `now`.
    pub fn pacer_allows(&mut self, now: Timestamp) -> bool {
        self.pacer.is_ready(now, self.bytes_per_second)
    }

    /// When the pacer lets one leave that it held back just now.
    pub fn paced_until(&self) -> Timestamp {
        self.pacer.deadline(self.bytes_per_second)
    }

    /// A packet that asks for an ack has left.
    pub fn on_sent(&mut self, bytes: usize) {
        self.pacer.on_sent(bytes);
    }
}
