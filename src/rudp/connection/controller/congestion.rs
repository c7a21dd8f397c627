//! [`Congestion`]: a connection's congestion controller and pacer, and what they allow now.

use std::time::Duration;

use super::{Controller, Pacer, initial_window};
use crate::base::Timestamp;
use crate::rudp::connection::config::{BASE_DATAGRAM_BYTES, CongestionControl};

/// The limits on sending. They are queried before each packet but change only when the fate of earlier
/// packets is reported, so they are cached and the controller is not accessed.
pub struct Congestion {
    window_bytes: usize,
    bytes_per_second: u64,
    pacer: Pacer,
    held_back: HeldBack,
    control: CongestionControl,
    controller: Box<dyn Controller>,
}

/// When the window last held data back, or would have without the pacer.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeldBack(Option<Timestamp>);

impl HeldBack {
    /// Returns whether the window has held nothing back since `sent_at`. RFC 9002 §7.8.
    pub fn is_app_limited(self, sent_at: Timestamp) -> bool {
        self.0.is_none_or(|at| at < sent_at)
    }
}

impl Congestion {
    /// Starts with nothing sent, for a peer that delays acks by up to `ack_delay`; round trips are assumed to
    /// take `smoothed`.
    pub fn new(control: CongestionControl, now: Timestamp, ack_delay: Duration, smoothed: Duration) -> Self {
        let mut congestion = Self {
            window_bytes: 0,
            bytes_per_second: 0,
            pacer: Pacer::new(now, initial_window(BASE_DATAGRAM_BYTES)),
            held_back: HeldBack::default(),
            control,
            controller: super::new(control, now, BASE_DATAGRAM_BYTES, ack_delay),
        };
        congestion.renew(smoothed);
        congestion
    }

    /// Starts over on a path of which nothing is known. The pacer stays.
    // spec: PTH-8
    pub fn on_new_path(&mut self, now: Timestamp, ack_delay: Duration, smoothed: Duration) {
        self.replace(super::new(self.control, now, BASE_DATAGRAM_BYTES, ack_delay), smoothed);
    }

    /// Reports the fate of packets to the controller; a round trip takes `smoothed` now.
    pub fn tell(&mut self, smoothed: Duration, tell: impl FnOnce(&mut dyn Controller)) {
        tell(&mut *self.controller);
        self.renew(smoothed);
    }

    /// Continues with another controller.
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
    pub fn pacer_deadline(&self) -> Timestamp {
        self.pacer.deadline(self.bytes_per_second)
    }

    /// Notes that the window holds data back at `now`, or would without the pacer.
    pub fn hold_back(&mut self, now: Timestamp) {
        self.held_back = HeldBack(Some(now));
    }

    /// Returns when the window last held data back.
    pub fn held_back(&self) -> HeldBack {
        self.held_back
    }

    /// Notes that a packet that asks for an ack has left.
    pub fn on_sent(&mut self, bytes: usize) {
        self.pacer.on_sent(bytes);
    }
}
