//! A connection's clocks: idle, keepalive, rest, close.

use std::time::Duration;

use super::repair::RepairDecoder;
use super::{Closed, Closing, Connection, Role, State, TraceEvent};
use crate::base::{Span, Timestamp};
use crate::wire::{CloseCode, TransportParameters};

use super::config::ConnectionConfig;

/// Times that are not a part's own business.
#[derive(Debug)]
pub struct Timers {
    idle_timeout: Span,
    keepalive: Span,
    last_received: Timestamp,
    /// When this end last asked for a sign of life, or heard one.
    last_lively: Timestamp,
    /// Probes since the last ack, and when the last of them was due.
    probes: u32,
    probed_at: Timestamp,
    /// A packet that asks for an ack must leave, whatever it carries.
    ping_due: bool,
    /// When to look whether the peer takes the reliable messages that it is sent; `None` while there are none.
    progress_due: Option<Timestamp>,
    /// Packets came or left since the connection last rested.
    rest_due: bool,
    /// Packets that came since there was silence, up to [`STREAM`].
    heard: u8,
}

/// From one look at the peer's progress to the next at least. The oldest of many large messages beside a flood of
/// small ones makes little on a slow line.
const MIN_PROGRESS_INTERVAL: Duration = Duration::from_secs(20);
/// A shorter keepalive would be a flood.
const MIN_KEEPALIVE: Duration = Duration::from_millis(100);
/// Of a series of probes the sixth, the twelfth and so on carry no messages.
const BARE_PROBE: u32 = 6;
/// A connection that neither heard of its peer nor asked for it for so long is at rest.
const SILENCE: Duration = Duration::from_millis(250);
/// Packets without silence between them after which silence may mean that the path has broken.
const STREAM: u8 = 8;
/// CLOSE is said again after a probe timeout within these bounds, and after twice as long each further time.
const CLOSE_INTERVAL: (Duration, Duration) = (Duration::from_millis(30), Duration::from_millis(300));
/// Once it was said so many times no packet of the peer makes it come sooner.
const MAX_CLOSES: u32 = 32;
/// CLOSE is said again at least so often.
const MAX_CLOSE_INTERVAL: Duration = Duration::from_secs(1);

impl Timers {
    /// Starts the clocks at `now`.
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
            progress_due: None,
            rest_due: true,
            heard: 0,
        }
    }

    /// A packet of the peer opened.
    pub fn on_received(&mut self, now: Timestamp) {
        self.last_received = self.last_received.max(now);
        self.last_lively = self.last_lively.max(now);
        self.rest_due = true;
        self.heard = self.heard.saturating_add(1).min(STREAM);
    }

    /// There is silence; true when a stream of packets has ended with it.
    fn on_silence(&mut self) -> bool {
        std::mem::take(&mut self.heard) == STREAM
    }

    /// A reliable message was sent.
    pub fn on_reliable(&mut self, now: Timestamp) {
        self.progress_due.get_or_insert(now + self.idle_timeout.get().max(MIN_PROGRESS_INTERVAL));
    }

    /// The peer acked something new.
    pub fn on_acked(&mut self) {
        self.probes = 0;
    }

    /// Probes since the last ack.
    pub fn probes(&self) -> u32 {
        self.probes
    }

    /// When the last of them was due.
    pub fn probed_at(&self) -> Timestamp {
        self.probed_at
    }

    /// A probe is due: a packet must leave that asks for an ack.
    pub fn on_probe(&mut self, now: Timestamp) {
        self.probes = self.probes.saturating_add(1);
        self.probed_at = now;
        self.ping_due = true;
    }

    /// A packet left; `eliciting` when it asks for an ack.
    pub fn on_sent(&mut self, now: Timestamp, eliciting: bool) {
        self.rest_due = true;
        if eliciting {
            self.ping_due = false;
            self.last_lively = self.last_lively.max(now);
        }
    }

    /// Makes a packet leave that asks for an ack.
    pub fn ask_for_ack(&mut self) {
        self.ping_due = true;
    }

    /// True when one must leave.
    pub fn is_ping_due(&self) -> bool {
        self.ping_due
    }

    /// True when it must leave without messages: a peer that has no memory for what a probe carries drops it,
    /// and with it the ack that the packet holds.
    // spec: REL-7
    pub fn is_bare_probe_due(&self) -> bool {
        self.ping_due && self.probes > 0 && self.probes.is_multiple_of(BARE_PROBE)
    }

    fn idle_deadline(&self) -> Timestamp {
        self.last_received + self.idle_timeout.get()
    }

    fn keepalive_deadline(&self) -> Timestamp {
        self.last_lively + self.keepalive.get()
    }

    fn rest_deadline(&self) -> Option<Timestamp> {
        self.rest_due.then(|| self.last_lively + SILENCE)
    }
}

impl Connection {
    /// When [`Self::handle_timeout`] must be called next; `None` once there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.state {
            State::Closed => None,
            State::Closing(closing) => Some(closing.due),
            State::Open => {
                let deadlines = [
                    Some(self.timers.idle_deadline()),
                    Some(self.timers.keepalive_deadline()),
                    self.timers.rest_deadline(),
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

    /// Does what is due at `now`. Handle received packets first: they may settle it.
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
        if self.timers.rest_deadline().is_some_and(|deadline| now >= deadline) {
            let has_stopped = self.timers.on_silence();
            if has_stopped && self.role != Role::Server {
                // spec: CON-10
                self.timers.ask_for_ack();
            } else {
                self.rest(now);
            }
        }
    }

    /// Nothing was said for a while: gives back the memory that traffic took.
    fn rest(&mut self, now: Timestamp) {
        self.timers.rest_due = false;
        if self.sent.bytes_in_flight() == 0 && !self.outbox.is_waiting() {
            self.repair_encoder.rest();
            self.sent.shrink();
            self.outbox.shrink();
            self.acks.shrink();
            self.keys.rest(now);
            self.replay.rest();
            // What is older than the newest counts as come: nothing is left to be repaired.
            self.repair_decoder = RepairDecoder::default();
            self.events.shrink_to_fit();
        }
    }

    /// From a CLOSE to the next, when it was said so many times before.
    // spec: CON-6
    pub(super) fn close_interval(&self, said: u32) -> Duration {
        let (min, max) = CLOSE_INTERVAL;
        let first = self.rtt.probe_timeout(Duration::ZERO).clamp(min, max);
        (first * (1 << said.min(8))).min(MAX_CLOSE_INTERVAL)
    }

    /// The peer says something, and so has not heard CLOSE: it is said again, but not more often than at first.
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
