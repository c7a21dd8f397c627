//! Losses: what is done about packets that are not acked.

use super::Connection;
use super::controller::Lost;
use super::sent::{LossOutcome, SentFrame};
use crate::base::Timestamp;

/// Losing everything for this many probe timeouts is persistent congestion. RFC 9002 §7.6.1.
const PERSISTENT_PROBE_TIMEOUTS: u32 = 3;

impl Connection {
    /// Detects losses and queues what the lost packets carried.
    pub(super) fn resend_lost(&mut self, now: Timestamp) {
        let mut lost = LossOutcome::default();
        let again = self.sent.detect_lost(now, &self.rtt, &mut lost);
        if !lost.packets.is_empty() {
            self.repair_encoder.on_lost(lost.on_path().count());
            self.counted.packets_lost += lost.packets.len() as u64;
            self.tell_lost(now, &lost);
        }
        let marked = lost.packets.iter().filter(|packet| packet.is_marked);
        marked.for_each(|packet| self.marking.on_lost(packet.number));
        let contents = lost.frames.iter().flat_map(SentFrame::contents);
        contents.for_each(|(message, fragment)| self.outbox.on_lost(message, fragment));
        if self.datagram_size.on_lost(now, lost.on_path()) {
            self.cut_for_datagrams(now);
        }
        self.trace_recovery(now, &lost.packets, again);
    }

    /// Reports losses to the congestion controller, except those on a former path.
    // spec: PTH-8
    fn tell_lost(&mut self, now: Timestamp, lost: &LossOutcome) {
        let Some(newest_sent_at) = lost.on_path().map(|packet| packet.sent_at).max() else { return };
        let packets = u32::try_from(lost.on_path().count()).unwrap_or(u32::MAX);
        let app_limited = self.congestion.held_back().is_app_limited(newest_sent_at);
        // RFC 9002 §7.6.1
        let persistent = self.probe_timeout() * PERSISTENT_PROBE_TIMEOUTS;
        self.congestion.tell(self.rtt.smoothed(), |controller| {
            let persistent = lost.longest_run > persistent;
            controller.on_lost(now, &Lost { packets, newest_sent_at, app_limited, persistent });
        });
    }
}
