//! A connection's timers: idle, keepalive, rest, close.

use std::time::Duration;

use super::repair::RepairDecoder;
use super::{Closed, Closing, Connection, Role, State, TraceEvent};
use crate::base::{Span, Timestamp};
use crate::wire::{CloseCode, TransportParameters};

use super::config::ConnectionConfig;

/// Timers that belong to no other part of the connection.
#[derive(Debug)]
pub struct Timers {
    idle_timeout: Span,
    keepalive: Span,
    last_received: Timestamp,
    /// When this end last sent a packet that asks for an ack, or received a packet.
    last_lively: Timestamp,
    /// Probes since the last ack, and when the last of them was due.
    probes: u32,
    probed_at: Timestamp,
    /// A packet that asks for an ack must leave, whatever it carries.
    ping_due: bool,
    /// That packet is a probe, and may exceed the congestion window. Spec: REL-8.
    probe_due: bool,
    /// When to check the peer's progress with the reliable messages sent to it; `None` while there are none.
    progress_due: Option<Timestamp>,
    /// Packets arrived or left since idle memory was last released.
    idle_release_due: bool,
    /// Packets received since the last silence, up to [`STREAM`].
    heard: u8,
}

/// Minimum time between two checks of the peer's progress. On a slow line, the oldest of many large messages
/// makes little progress beside a flood of small ones.
const MIN_PROGRESS_INTERVAL: Duration = Duration::from_secs(20);
/// Minimum keepalive; a shorter one would be a flood.
const MIN_KEEPALIVE: Duration = Duration::from_millis(100);
/// The sixth, twelfth and so on of a series of probes carry no messages.
const BARE_PROBE: u32 = 6;
/// A connection that has neither heard from its peer nor asked for an ack for this long is idle.
const SILENCE: Duration = Duration::from_millis(250);
/// Packets received without silence in between, after which silence may mean that the path is broken.
const STREAM: u8 = 8;
/// Bounds of the probe timeout after which CLOSE is repeated; each further interval is twice as long.
const CLOSE_INTERVAL: (Duration, Duration) = (Duration::from_millis(30), Duration::from_millis(300));
/// After this many CLOSEs, packets from the peer no longer make the next one leave sooner.
const MAX_CLOSES: u32 = 32;
/// Maximum time between two CLOSEs.
const MAX_CLOSE_INTERVAL: Duration = Duration::from_secs(1);

impl Timers {
    /// Starts the timers at `now`.
    pub fn new(now: Timestamp, config: &ConnectionConfig, peer: &TransportParameters) -> Self {
        // spec: CON-3
        let idle_timeout = config.idle_timeout.min(peer.idle_timeout());
        Self {
            idle_timeout: idle_timeout.into(),
            keepalive: config.keepalive.max(MIN_KEEPALIVE).min(idle_timeout / 3).into(),
            last_received: now,
            last_lively: now,
            probes: 0,
            probed_at: now,
            ping_due: false,
            probe_due: false,
            progress_due: None,
            idle_release_due: true,
            heard: 0,
        }
    }

    /// Notes that a packet from the peer opened.
    pub fn on_received(&mut self, now: Timestamp) {
        self.last_received = self.last_received.max(now);
        self.last_lively = self.last_lively.max(now);
        self.idle_release_due = true;
        self.heard = self.heard.saturating_add(1).min(STREAM);
    }

    /// Notes a silence, and returns whether it ended a stream of packets.
    fn on_silence(&mut self) -> bool {
        std::mem::take(&mut self.heard) == STREAM
    }

    /// Notes that a reliable message was sent.
    pub fn on_reliable(&mut self, now: Timestamp) {
        self.progress_due.get_or_insert(now + self.idle_timeout.get().max(MIN_PROGRESS_INTERVAL));
    }

    /// Notes that the peer acked something new.
    pub fn on_acked(&mut self) {
        self.probes = 0;
    }

    /// Returns the number of probes since the last ack.
    pub fn probes(&self) -> u32 {
        self.probes
    }

    /// Returns when the last probe was due.
    pub fn probed_at(&self) -> Timestamp {
        self.probed_at
    }

    /// Notes that a probe is due: a packet that asks for an ack must leave.
    pub fn on_probe(&mut self, now: Timestamp) {
        self.probes = self.probes.saturating_add(1);
        self.probed_at = now;
        (self.ping_due, self.probe_due) = (true, true);
    }

    /// Notes that a packet left; `eliciting` when it asks for an ack.
    pub fn on_sent(&mut self, now: Timestamp, eliciting: bool) {
        self.idle_release_due = true;
        if eliciting {
            (self.ping_due, self.probe_due) = (false, false);
            self.last_lively = self.last_lively.max(now);
        }
    }

    /// Makes a packet leave that asks for an ack.
    pub fn ask_for_ack(&mut self) {
        self.ping_due = true;
    }

    /// Returns whether a packet that asks for an ack must leave.
    pub fn is_ping_due(&self) -> bool {
        self.ping_due
    }

    /// Returns whether that packet is a probe. Others that ask for an ack are bound by the congestion window: the peer
    /// decides when they are due, by renewing its keys.
    pub fn is_probe_due(&self) -> bool {
        self.probe_due
    }

    /// Returns whether that packet must leave without messages: a peer without memory for what a probe
    /// carries drops it, and with it the ack in the packet.
    // spec: REL-7
    pub fn is_bare_probe_due(&self) -> bool {
        self.probe_due && self.probes > 0 && self.probes.is_multiple_of(BARE_PROBE)
    }

    fn idle_deadline(&self) -> Timestamp {
        self.last_received + self.idle_timeout.get()
    }

    fn keepalive_deadline(&self) -> Timestamp {
        self.last_lively + self.keepalive.get()
    }

    fn idle_release_deadline(&self) -> Option<Timestamp> {
        self.idle_release_due.then(|| self.last_lively + SILENCE)
    }
}

impl Connection {
    /// Returns when [`Self::handle_timeout`] must be called next; `None` once there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.state {
            State::Closed => None,
            State::Closing(closing) => Some(closing.due),
            State::Open => {
                let deadlines = [
                    Some(self.timers.idle_deadline()),
                    Some(self.timers.keepalive_deadline()),
                    self.timers.idle_release_deadline(),
                    self.timers.progress_due,
                    self.acks.deadline(),
                    self.sent.loss_deadline(&self.rtt),
                    self.probe_deadline(),
                    self.repair_deadline(),
                    self.paths.deadline(),
                    self.datagram_size.deadline(),
                    self.pacing_deadline(),
                ];
                deadlines.into_iter().flatten().min()
            }
        }
    }

    /// Does what is due at `now`. Received packets must be handled first, since they may settle it.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Closed => {}
            State::Closing(closing) => {
                if now >= closing.until {
                    self.state = State::Closed;
                }
            }
            State::Open => self.handle_open_timeout(now),
        }
    }

    fn handle_open_timeout(&mut self, now: Timestamp) {
        if now >= self.timers.idle_deadline() {
            // spec: CON-3
            self.begin_close(now, CloseCode::IdleTimeout, "", Closed::TimedOut);
            return;
        }
        if self.timers.progress_due.is_some_and(|due| now >= due) {
            self.timers.progress_due = None;
            if self.outbox.is_stuck() {
                // spec: CON-9
                self.begin_close(now, CloseCode::IdleTimeout, "", Closed::TimedOut);
                return;
            }
            if self.outbox.has_reliable() {
                self.timers.on_reliable(now);
            }
        }
        self.paths.handle_timeout(now);
        self.datagram_size.handle_timeout(now);
        self.resend_lost(now);
        if self.probe_deadline().is_some_and(|deadline| now >= deadline) {
            self.probe(now);
            self.trace_event(now, TraceEvent::Probe { count: self.timers.probes });
        }
        if now >= self.timers.keepalive_deadline() {
            // spec: CON-4
            self.timers.ask_for_ack();
        }
        if self.timers.idle_release_deadline().is_some_and(|deadline| now >= deadline) {
            let has_stopped = self.timers.on_silence();
            if has_stopped && self.role != Role::Server {
                // spec: CON-10
                self.timers.ask_for_ack();
            } else {
                self.release_idle_memory(now);
            }
        }
    }

    /// Releases the memory used for traffic after a time of silence.
    fn release_idle_memory(&mut self, now: Timestamp) {
        self.timers.idle_release_due = false;
        if self.sent.bytes_in_flight() == 0 && !self.outbox.is_waiting() {
            self.repair_encoder.go_idle();
            self.sent.shrink();
            self.outbox.shrink();
            self.acks.shrink();
            self.keys.release_idle_memory(now);
            self.replay.collapse();
            // Everything older than the newest packet counts as received, so nothing is left to repair.
            self.repair_decoder = RepairDecoder::default();
            self.events.shrink_to_fit();
        }
    }

    /// Returns the time from one CLOSE to the next, when it was sent `said` times before.
    // spec: CON-6
    pub(super) fn close_interval(&self, said: u32) -> Duration {
        let (min, max) = CLOSE_INTERVAL;
        let first = self.rtt.probe_timeout(Duration::ZERO).clamp(min, max);
        (first * (1 << said.min(8))).min(MAX_CLOSE_INTERVAL)
    }

    /// Schedules CLOSE again, at most as often as at first: the peer still sends, so it has not received it.
    // spec: CON-6
    pub(super) fn close_again(&mut self, now: Timestamp) {
        let interval = self.close_interval(0);
        if let Some(closing) = self.closing().filter(|closing| (1..MAX_CLOSES).contains(&closing.said)) {
            closing.due = closing.due.min(now.max(closing.said_at + interval));
        }
    }

    pub(super) fn closing(&mut self) -> Option<&mut Closing> {
        match &mut self.state {
            State::Closing(closing) => Some(closing),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rudp::ConnectionConfig;

    /// An ack may come between the time at which a probe is due and the packet that it asks for.
    // spec-test: REL-7
    #[test]
    fn a_probe_after_an_ack_carries_messages() {
        let config = ConnectionConfig::default();
        let mut timers = Timers::new(Timestamp::ZERO, &config, &config.parameters());
        timers.on_probe(Timestamp::ZERO);
        timers.on_acked();
        assert!(timers.is_probe_due() && !timers.is_bare_probe_due());
    }
}
