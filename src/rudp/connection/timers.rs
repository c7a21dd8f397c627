//! A connection's clocks: idle, keepalive, probe, close.

use std::time::Duration;

use super::controller::Lost;
use super::sent::{LossOutcome, SentFrame};
use super::{Closed, Closing, Connection, State, TraceEvent};
use crate::base::Timestamp;
use crate::wire::{CloseCode, TransportParameters};

use super::config::ConnectionConfig;

/// Times that are not a part's own business.
#[derive(Debug)]
pub struct Timers {
    idle_timeout: Duration,
    keepalive: Duration,
    last_received: Timestamp,
    /// When this end last asked for a sign of life, or heard one.
    last_lively: Timestamp,
    /// Probes since the last ack, and when the last of them was due.
    probes: u32,
    probed_at: Timestamp,
    /// A packet that asks for an ack must leave, whatever it carries.
    ping_due: bool,
    /// Packets came or left since the connection last rested.
    rest_due: bool,
}

/// Probes come at least so often while something is under way. Spec: REL-6.
const MAX_PROBE_INTERVAL: Duration = Duration::from_millis(300);
/// A shorter keepalive would be a flood.
const MIN_KEEPALIVE: Duration = Duration::from_millis(100);
/// A probe carries unacked messages of up to so many bytes each.
const PROBE_MESSAGE_BYTES: usize = 512;
/// What the first probe carries of them in all, if it is not the oldest alone; each that follows carries
/// twice as many bytes.
const FIRST_PROBE_BYTES: usize = 128;
/// Of a series of probes the sixth, the twelfth and so on carry no messages.
const BARE_PROBE: u32 = 6;
/// Messages that a probe queues at most; more than a packet holds.
const PROBE_MESSAGES: usize = 32;
/// A connection that neither heard of its peer nor asked for it for so long is at rest.
const SILENCE: Duration = Duration::from_millis(250);
/// Losing everything for so many probe timeouts is persistent congestion. RFC 9002 §7.6.1.
const PERSISTENT_PROBE_TIMEOUTS: u32 = 3;
/// CLOSE is said again after a probe timeout within these bounds, and after twice as long each further time.
const CLOSE_INTERVAL: (Duration, Duration) = (Duration::from_millis(30), Duration::from_millis(300));
/// CLOSE is said again at least so often.
const MAX_CLOSE_INTERVAL: Duration = Duration::from_secs(1);

impl Timers {
    /// Starts the clocks at `now`.
    pub fn new(now: Timestamp, config: &ConnectionConfig, peer: &TransportParameters) -> Self {
        // spec: CON-3
        let idle_timeout = config.idle_timeout.min(peer.idle_timeout());
        Self {
            idle_timeout,
            keepalive: config.keepalive.max(MIN_KEEPALIVE).min(idle_timeout / 3),
            last_received: now,
            last_lively: now,
            probes: 0,
            probed_at: now,
            ping_due: false,
            rest_due: true,
        }
    }

    /// A packet of the peer opened.
    pub fn on_received(&mut self, now: Timestamp) {
        self.last_received = self.last_received.max(now);
        self.last_lively = self.last_lively.max(now);
        self.rest_due = true;
    }

    /// The peer acked something new.
    pub fn on_acked(&mut self) {
        self.probes = 0;
    }

    /// Probes since the last ack.
    pub fn probes(&self) -> u32 {
        self.probes
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
        self.last_received + self.idle_timeout
    }

    fn keepalive_deadline(&self) -> Timestamp {
        self.last_lively + self.keepalive
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
            self.rest(now);
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
            self.events.shrink_to_fit();
        }
    }

    /// Detects losses and queues what they carried.
    pub(super) fn resend_lost(&mut self, now: Timestamp) {
        let mut lost = LossOutcome::default();
        let again = self.sent.detect_lost(now, self.paths.since(), &self.rtt, &mut lost);
        if !lost.packets.is_empty() {
            self.repair_encoder.on_lost(lost.packets.len());
            self.stats.packets_lost += lost.packets.len() as u64;
            self.tell_lost(now, &lost);
        }
        lost.marked.iter().for_each(|number| self.marks.on_lost(*number));
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
        self.trace_recovery(now, &lost.numbers, again);
    }

    /// Tells the controller of losses, but for those on a former path.
    // spec: PTH-8
    fn tell_lost(&mut self, now: Timestamp, lost: &LossOutcome) {
        let sent_at = lost.packets.iter().map(|(_, sent_at)| *sent_at);
        let on_this_path = sent_at.filter(|sent_at| *sent_at >= self.paths.since());
        let Some(newest_sent_at) = on_this_path.clone().max() else { return };
        let packets = u32::try_from(on_this_path.count()).unwrap_or(u32::MAX);
        let app_limited = is_app_limited(self.held_back_at, newest_sent_at);
        // RFC 9002 §7.6.1
        let persistent = self.rtt.probe_timeout(self.peer.max_ack_delay()) * PERSISTENT_PROBE_TIMEOUTS;
        self.congestion.tell(self.rtt.smoothed(), |controller| {
            controller.on_lost(now, &Lost { packets, newest_sent_at, app_limited });
            if lost.longest_run > persistent {
                controller.on_persistent_congestion();
            }
        });
    }

    /// When what left after the newest acked packet has waited too long for an ack. Spec: REL-6.
    // spec: REL-6
    fn probe_deadline(&self) -> Option<Timestamp> {
        let since = self.sent.unanswered_since()?;
        let first = self.rtt.answer_timeout();
        if self.timers.probes == 0 && first <= MAX_PROBE_INTERVAL {
            return Some(since + first);
        }
        let base = self.rtt.probe_timeout(self.peer.max_ack_delay());
        let cap = MAX_PROBE_INTERVAL.max(base);
        let (since, interval) = match self.timers.probes {
            0 => (since, first),
            1 => (self.timers.probed_at, base / 4),
            2 => (self.timers.probed_at, base / 2),
            probes => (self.timers.probed_at, base * (1 << (probes - 3).min(16))),
        };
        Some(since + interval.min(cap))
    }

    /// Makes a packet leave that asks for an ack, and mostly carries the oldest small messages under way again:
    /// the more of them, the more probes went unanswered.
    // spec: REL-7
    pub(super) fn probe(&mut self, now: Timestamp) {
        let room = FIRST_PROBE_BYTES << self.timers.probes.min(8);
        self.stats.probes += 1;
        self.timers.probes = self.timers.probes.saturating_add(1);
        self.timers.probed_at = now;
        self.timers.ask_for_ack();
        if self.timers.is_bare_probe_due() {
            return;
        }
        let (mut queued, mut count) = (0, 0);
        for message in self.sent.frames_in_flight().flat_map(SentFrame::messages) {
            let most = if queued == 0 { PROBE_MESSAGE_BYTES } else { room.saturating_sub(queued) };
            if most == 0 || count == PROBE_MESSAGES {
                break;
            }
            let bytes = self.outbox.probe(message, most.min(PROBE_MESSAGE_BYTES));
            (queued, count) = (queued + bytes, count + usize::from(bytes > 0));
        }
    }

    /// From a CLOSE to the next, when it was said so many times before.
    // spec: CON-6
    pub(super) fn close_interval(&self, said: u32) -> Duration {
        let (min, max) = CLOSE_INTERVAL;
        let first = self.rtt.probe_timeout(Duration::ZERO).clamp(min, max);
        (first * (1 << said.min(8))).min(MAX_CLOSE_INTERVAL)
    }

    pub(super) fn closing(&mut self) -> Option<&mut Closing> {
        match &mut self.state {
            State::Closing(closing) => Some(closing),
            _ => None,
        }
    }
}

/// True when neither window nor pacer held anything back since `sent_at`, but did so at `held_back_at` last.
/// RFC 9002 §7.8.
pub(super) fn is_app_limited(held_back_at: Option<Timestamp>, sent_at: Timestamp) -> bool {
    held_back_at.is_none_or(|at| at < sent_at)
}
