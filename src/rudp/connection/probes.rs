//! Probes: they ask for the ack of a tail whose loss nothing else would reveal.

use std::time::Duration;

use super::Connection;
use super::rtt::RttEstimator;
use super::sent::SentFrame;
use crate::base::Timestamp;

/// What must ask the peer for an ack, and the series of probes that it has not answered yet.
#[derive(Debug)]
pub struct Probes {
    owed: Owed,
    /// Number of probes in the series.
    unanswered: u32,
    /// When the last of them was due.
    last_due: Timestamp,
}

/// The packet that must leave next, whatever it carries, and ask for an ack.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owed {
    Nothing,
    /// One that the congestion window binds: the peer decides when it is due, by renewing its keys.
    Ping,
    /// A probe, which may exceed the congestion window. Spec: REL-8.
    Probe,
}

/// Maximum time between probes while packets are in flight, unless a probe timeout is longer. Spec: REL-6.
const MAX_INTERVAL: Duration = Duration::from_millis(300);
/// The sixth, twelfth and so on of a series carry no messages. Spec: REL-7.
const BARE: u32 = 6;
/// Size of the largest unacked message that a probe carries.
const MAX_MESSAGE_BYTES: usize = 512;
/// Bytes of messages in the first probe, unless it carries the oldest message alone; each further probe
/// carries twice as many.
const FIRST_BYTES: usize = 128;
/// Maximum number of messages that a probe queues; more than a packet holds.
const MAX_MESSAGES: usize = 32;

impl Probes {
    /// Owes nothing.
    pub fn new(now: Timestamp) -> Self {
        Self { owed: Owed::Nothing, unanswered: 0, last_due: now }
    }

    /// Makes a packet leave that asks for an ack.
    pub fn ask_for_ack(&mut self) {
        if self.owed == Owed::Nothing {
            self.owed = Owed::Ping;
        }
    }

    /// Makes a probe leave.
    fn on_due(&mut self, now: Timestamp) {
        self.owed = Owed::Probe;
        self.unanswered = self.unanswered.saturating_add(1);
        self.last_due = now;
    }

    /// Notes that a packet has left that asks for an ack.
    pub fn on_asked(&mut self) {
        self.owed = Owed::Nothing;
    }

    /// Ends the series: the peer acked something new, or has moved.
    pub fn end_series(&mut self) {
        self.unanswered = 0;
    }

    /// Returns the number of probes since the last ack.
    pub fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// Returns whether a packet that asks for an ack must leave, a probe or another.
    pub fn is_ping_due(&self) -> bool {
        self.owed >= Owed::Ping
    }

    /// Returns whether a probe must leave.
    pub fn is_probe_due(&self) -> bool {
        self.owed == Owed::Probe
    }

    /// Returns whether a probe must leave without messages: a peer without memory for what a probe carries
    /// drops it, and with it the ack in the packet.
    // spec: REL-7
    pub fn is_bare_probe_due(&self) -> bool {
        self.is_probe_due() && self.unanswered > 0 && self.unanswered.is_multiple_of(BARE)
    }

    /// Returns when the next probe is due, if nothing was acked of what was sent from `since` on.
    // spec: REL-6
    fn deadline(&self, since: Timestamp, rtt: &RttEstimator, peer_ack_delay: Duration) -> Timestamp {
        let first = rtt.answer_timeout();
        if self.unanswered == 0 && first <= MAX_INTERVAL {
            return since + first;
        }
        let base = rtt.probe_timeout(peer_ack_delay);
        let cap = MAX_INTERVAL.max(base);
        let (since, interval) = match self.unanswered {
            0 => (since, first),
            1 => (self.last_due, base / 4),
            2 => (self.last_due, base / 2),
            more => (self.last_due, base * (1 << (more - 3).min(16))),
        };
        since + interval.min(cap)
    }
}

impl Connection {
    /// Returns the time without an ack after which something is lost. Spec: REL-5.
    pub(super) fn probe_timeout(&self) -> Duration {
        self.rtt.probe_timeout(self.peer.max_ack_delay())
    }

    /// Returns when packets sent after the newest acked one have waited too long for an ack.
    pub(super) fn probe_deadline(&self) -> Option<Timestamp> {
        let since = self.sent.unanswered_since()?;
        Some(self.probes.deadline(since, &self.rtt, self.peer.max_ack_delay()))
    }

    /// Makes a probe leave, which usually carries the oldest small messages in flight again; the more probes
    /// are unanswered, the more messages it carries.
    // spec: REL-7
    pub(super) fn probe(&mut self, now: Timestamp) {
        let room = FIRST_BYTES << self.probes.unanswered.min(8);
        self.counted.probes += 1;
        self.probes.on_due(now);
        if self.probes.is_bare_probe_due() {
            return;
        }
        let (mut queued, mut count) = (0, 0);
        for message in self.sent.frames_in_flight().flat_map(SentFrame::messages) {
            let most = if queued == 0 { MAX_MESSAGE_BYTES } else { room.saturating_sub(queued) };
            if most == 0 || count == MAX_MESSAGES {
                break;
            }
            if let Some(bytes) = self.outbox.probe(message, most.min(MAX_MESSAGE_BYTES)) {
                (queued, count) = (queued + bytes, count + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ack may come between the time at which a probe is due and the packet that it asks for.
    // spec-test: REL-7
    #[test]
    fn a_probe_after_an_ack_carries_messages() {
        let mut probes = Probes::new(Timestamp::ZERO);
        (0..BARE).for_each(|_| probes.on_due(Timestamp::ZERO));
        assert!(probes.is_bare_probe_due());
        probes.end_series();
        assert!(probes.is_probe_due() && !probes.is_bare_probe_due());
    }

    #[test]
    fn a_probe_that_is_owed_stays_one_when_something_else_asks_for_an_ack() {
        let mut probes = Probes::new(Timestamp::ZERO);
        probes.ask_for_ack();
        assert!(probes.is_ping_due() && !probes.is_probe_due());
        probes.on_due(Timestamp::ZERO);
        probes.ask_for_ack();
        assert!(probes.is_probe_due());
        probes.on_asked();
        assert!(!probes.is_ping_due() && !probes.is_probe_due());
    }
}
