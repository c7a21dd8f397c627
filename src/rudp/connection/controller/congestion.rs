//! [`Congestion`]: a connection's congestion controller and pacer, and what they allow now.

use std::time::Duration;

use super::{Controller, Pacer, initial_window};
use crate::base::Timestamp;

/// The limits on sending. They are queried before each packet but change only when the fate of earlier
/// packets is reported, so they are cached and the controller is not accessed.
pub struct Congestion {
    window_bytes: usize,
    bytes_per_second: u64,
    pacer: Pacer,
    controller: Box<dyn Controller>,
}

impl Congestion {
    /// Starts with nothing sent, for datagrams of up to `datagram` bytes; round trips are assumed to take
    /// `smoothed`.
    pub fn new(controller: Box<dyn Controller>, now: Timestamp, datagram: usize, smoothed: Duration) -> Self {
        let pacer = Pacer::new(now, initial_window(datagram));
        let mut congestion = Self { window_bytes: 0, bytes_per_second: 0, pacer, controller };
        congestion.renew(smoothed);
        congestion
    }

    /// Reports the fate of packets to the controller; a round trip takes `smoothed` now.
    pub fn tell(&mut self, smoothed: Duration, tell: impl FnOnce(&mut dyn Controller)) {
        tell(&mut *self.controller);
        self.renew(smoothed);
    }

    /// Continues with another controller, on a path of which nothing is known. The pacer stays.
    pub fn replace(&mut self, controller: Box<dyn Controller>, smoothed: Duration) {
        self.controller = controller;
        self.renew(smoothed);
    }

    fn renew(&mut self, smoothed: Duration) {
        self.window_bytes = self.controller.window_bytes();
        self.bytes_per_second = self.controller.pacing_bytes_per_second(smoothed);
    }

    /// Returns whether the cached answers match the controller's; for assertions.
    pub fn is_fresh(&self, smoothed: Duration) -> bool {
        self.window_bytes == self.controller.window_bytes()
            && self.bytes_per_second == self.controller.pacing_bytes_per_second(smoothed)
    }

    /// Returns the bytes that may be in flight.
    pub fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    /// Returns whether the pacer lets a packet leave at `now`.
    pub fn pacer_allows(&mut self, now: Timestamp) -> bool {
        self.pacer.is_ready(now, self.bytes_per_second)
    }

    /// Returns when the pacer lets a packet leave that it has just held back.
    pub fn paced_until(&self) -> Timestamp {
        self.pacer.deadline(self.bytes_per_second)
    }

    /// Notes that a packet that asks for an ack has left.
    pub fn on_sent(&mut self, bytes: usize) {
        self.pacer.on_sent(bytes);
    }
}
