//! Whether data may leave now, and what holds it back: the window or the pacer.

use super::Connection;
use crate::base::Timestamp;

/// Whether messages and REPAIRs may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// There are none.
    NothingWaits,
    /// They may, within the window and the pace, or in a probe, which may exceed both.
    Granted,
    /// Too many packets are unsettled.
    Full,
    /// The congestion window is full.
    Window,
    /// The pacer lets them leave at this time.
    Paced(Timestamp),
}

impl Connection {
    /// Decides whether data may leave at `now`.
    // spec: REL-8, REL-9
    pub(super) fn permit(&mut self, now: Timestamp) -> Permit {
        if !self.outbox.is_waiting() && !self.repair_encoder.may_repair() {
            return Permit::NothingWaits;
        }
        if self.probes.is_probe_due() {
            return Permit::Granted;
        }
        if self.sent.is_full() {
            return Permit::Full;
        }
        debug_assert!(self.congestion.is_fresh(self.rtt.smoothed()), "told of all that became of packets");
        if self.sent.bytes_in_flight() >= self.congestion.window_bytes() {
            return Permit::Window;
        }
        if self.congestion.pacer_allows(now) {
            Permit::Granted
        } else {
            Permit::Paced(self.congestion.pacer_deadline())
        }
    }

    /// Records what the window and the pacer hold back.
    pub(super) fn note(&mut self, now: Timestamp, permit: Permit) {
        self.paced_until = if let Permit::Paced(until) = permit { Some(until) } else { None };
        let is_held_back = match permit {
            Permit::NothingWaits | Permit::Granted | Permit::Full => false,
            Permit::Window => self.outbox.is_waiting(),
            Permit::Paced(_) => self.outbox.is_waiting() && self.fills_window(),
        };
        if is_held_back {
            self.congestion.hold_back(now);
        }
    }

    /// Returns whether there is room in the window.
    pub(super) fn has_window(&self) -> bool {
        self.sent.bytes_in_flight() < self.congestion.window_bytes() && !self.sent.is_full()
    }

    /// Returns whether the window would hold back what the pacer does. Otherwise the pacer alone is the
    /// reason, which says nothing about the window. RFC 9002 §7.8.
    fn fills_window(&self) -> bool {
        let all = self.outbox.in_flight_with_all(self.sent.bytes_in_flight());
        all >= self.congestion.window_bytes()
    }

    /// Returns when the pacer lets waiting data leave.
    pub(super) fn pacing_deadline(&self) -> Option<Timestamp> {
        let waits = self.outbox.is_waiting() || self.bare_repair_due().is_some();
        self.paced_until.filter(|_| waits)
    }
}
