//! Packets that are not acked: losses, and probes for a tail whose loss nothing else would reveal.

use std::time::Duration;

use super::Connection;
use super::controller::Lost;
use super::sent::{LossOutcome, SentFrame};
use crate::base::Timestamp;

/// Maximum time between probes while packets are in flight, unless a probe timeout is longer. Spec: REL-6.
const MAX_PROBE_INTERVAL: Duration = Duration::from_millis(300);
/// Size of the largest unacked message that a probe carries.
const PROBE_MESSAGE_BYTES: usize = 512;
/// Bytes of messages in the first probe, unless it carries the oldest message alone; each further probe
/// carries twice as many.
const FIRST_PROBE_BYTES: usize = 128;
/// Maximum number of messages that a probe queues; more than a packet holds.
const PROBE_MESSAGES: usize = 32;
/// Losing everything for this many probe timeouts is persistent congestion. RFC 9002 §7.6.1.
const PERSISTENT_PROBE_TIMEOUTS: u32 = 3;

impl Connection {
    /// Detects losses and queues what the lost packets carried.
    pub(super) fn resend_lost(&mut self, now: Timestamp) {
        let mut lost = LossOutcome::default();
        let again = self.sent.detect_lost(now, self.paths.since(), &self.rtt, &mut lost);
        if !lost.packets.is_empty() {
            self.repair_encoder.on_lost(lost.packets.len());
            self.counted.packets_lost += lost.packets.len() as u64;
            self.tell_lost(now, &lost);
        }
        let marked = lost.packets.iter().filter(|packet| packet.is_marked);
        marked.for_each(|packet| self.marks.on_lost(packet.number));
        for frame in lost.frames {
            match frame {
                SentFrame::Messages(first, count) => {
                    first.row(count).for_each(|message| self.outbox.on_lost(message, None));
                }
                SentFrame::Fragment(message, piece) => self.outbox.on_lost(message, Some(piece)),
                SentFrame::Ack(_) | SentFrame::CeCount(_) | SentFrame::SizeProbe(_) => {}
            }
        }
        if self.datagram_size.on_lost(now, &lost.packets) {
            self.cut_for_datagrams(now);
        }
        self.trace_recovery(now, &lost.packets, again);
    }

    /// Reports losses to the congestion controller, except those on a former path.
    // spec: PTH-8
    fn tell_lost(&mut self, now: Timestamp, lost: &LossOutcome) {
        let sent_at = lost.packets.iter().map(|packet| packet.sent_at);
        let on_this_path = sent_at.filter(|sent_at| *sent_at >= self.paths.since());
        let Some(newest_sent_at) = on_this_path.clone().max() else { return };
        let packets = u32::try_from(on_this_path.count()).unwrap_or(u32::MAX);
        let app_limited = is_app_limited(self.held_back_at, newest_sent_at);
        // RFC 9002 §7.6.1
        let persistent = self.rtt.probe_timeout(self.peer.max_ack_delay()) * PERSISTENT_PROBE_TIMEOUTS;
        self.congestion.tell(self.rtt.smoothed(), |controller| {
            let persistent = lost.longest_run > persistent;
            controller.on_lost(now, &Lost { packets, newest_sent_at, app_limited, persistent });
        });
    }

    /// Returns when packets sent after the newest acked one have waited too long for an ack. Spec: REL-6.
    // spec: REL-6
    pub(super) fn probe_deadline(&self) -> Option<Timestamp> {
        let since = self.sent.unanswered_since()?;
        let first = self.rtt.answer_timeout();
        if self.timers.probes() == 0 && first <= MAX_PROBE_INTERVAL {
            return Some(since + first);
        }
        let base = self.rtt.probe_timeout(self.peer.max_ack_delay());
        let cap = MAX_PROBE_INTERVAL.max(base);
        let (since, interval) = match self.timers.probes() {
            0 => (since, first),
            1 => (self.timers.probed_at(), base / 4),
            2 => (self.timers.probed_at(), base / 2),
            probes => (self.timers.probed_at(), base * (1 << (probes - 3).min(16))),
        };
        Some(since + interval.min(cap))
    }

    /// Makes an ack-eliciting packet leave, which usually carries the oldest small messages in flight again;
    /// the more probes are unanswered, the more messages it carries.
    // spec: REL-7
    pub(super) fn probe(&mut self, now: Timestamp) {
        let room = FIRST_PROBE_BYTES << self.timers.probes().min(8);
        self.counted.probes += 1;
        self.timers.on_probe(now);
        if self.timers.is_bare_probe_due() {
            return;
        }
        let (mut queued, mut count) = (0, 0);
        for message in self.sent.frames_in_flight().flat_map(SentFrame::messages) {
            let most = if queued == 0 { PROBE_MESSAGE_BYTES } else { room.saturating_sub(queued) };
            if most == 0 || count == PROBE_MESSAGES {
                break;
            }
            if let Some(bytes) = self.outbox.probe(message, most.min(PROBE_MESSAGE_BYTES)) {
                (queued, count) = (queued + bytes, count + 1);
            }
        }
    }
}

/// Returns whether the congestion window has held nothing back since `sent_at`, and would not have without
/// the pacer. `held_back_at` is when it last did or would have. RFC 9002 §7.8.
pub(super) fn is_app_limited(held_back_at: Option<Timestamp>, sent_at: Timestamp) -> bool {
    held_back_at.is_none_or(|at| at < sent_at)
}
