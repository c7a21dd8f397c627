//! A connection's timers: idle, keepalive, rest.

use std::time::Duration;

use super::repair::RepairDecoder;
use super::{Closed, Connection, Role, State, TraceEvent};
use crate::base::{Span, Timestamp};
use crate::wire::{CloseCode, TransportParameters};

use super::config::ConnectionConfig;

/// Timers that belong to no other part of the connection.
#[derive(Debug)]
pub struct Timers {
    idle_timeout: Span,
    /// Silence after which this end asks for an ack.
    keepalive: Span,
    last_received: Timestamp,
    /// When this end last sent a packet that asks for an ack, or received a packet.
    last_lively: Timestamp,
    /// When to check the peer's progress with the reliable messages sent to it; `None` while there are none.
    progress_due: Option<Timestamp>,
    activity: Activity,
}

/// Whether anything has happened since the last silence.
#[derive(Debug)]
enum Activity {
    /// Packets have left or arrived, of which `heard` arrived, up to [`STREAM`].
    Recent { heard: u8 },
    /// Nothing has, and idle memory is released.
    Resting,
}

/// What a silence means.
enum Silence {
    /// A stream of packets has stopped: the path may be broken.
    StreamStopped,
    /// The connection rests, and needs no memory for traffic.
    Rest,
}

/// Minimum time between two checks of the peer's progress. On a slow line, the oldest of many large messages
/// makes little progress beside a flood of small ones.
const MIN_PROGRESS_INTERVAL: Duration = Duration::from_secs(20);
/// Minimum keepalive; a shorter one would be a flood.
const MIN_KEEPALIVE: Duration = Duration::from_millis(100);
/// A connection that has neither heard from its peer nor asked for an ack for this long is idle.
const SILENCE: Duration = Duration::from_millis(250);
/// Packets received without silence in between, after which silence may mean that the path is broken.
const STREAM: u8 = 8;

impl Timers {
    /// Starts the timers at `now`.
    pub fn new(now: Timestamp, role: Role, config: &ConnectionConfig, peer: &TransportParameters) -> Self {
        // spec: CON-3
        let idle_timeout = config.idle_timeout.min(peer.idle_timeout());
        let keepalive = config.keepalive.max(MIN_KEEPALIVE).min(idle_timeout / 3);
        // spec: CON-4
        let clients_turn = if role == Role::Server { keepalive / 4 } else { Duration::ZERO };
        Self {
            idle_timeout: idle_timeout.into(),
            keepalive: (keepalive + clients_turn).into(),
            last_received: now,
            last_lively: now,
            progress_due: None,
            activity: Activity::Recent { heard: 0 },
        }
    }

    /// Notes that a packet from the peer opened.
    pub fn on_received(&mut self, now: Timestamp) {
        self.last_received = self.last_received.max(now);
        self.last_lively = self.last_lively.max(now);
        self.activity = Activity::Recent { heard: self.heard().saturating_add(1).min(STREAM) };
    }

    /// Notes a silence. Only an end that `may_ask` whether the peer is there needs to know that a stream
    /// stopped.
    fn on_silence(&mut self, may_ask: bool) -> Silence {
        if may_ask && self.heard() == STREAM {
            self.activity = Activity::Recent { heard: 0 };
            return Silence::StreamStopped;
        }
        self.activity = Activity::Resting;
        Silence::Rest
    }

    fn heard(&self) -> u8 {
        match self.activity {
            Activity::Recent { heard } => heard,
            Activity::Resting => 0,
        }
    }

    /// Notes that a reliable message was sent.
    pub fn on_reliable(&mut self, now: Timestamp) {
        self.progress_due.get_or_insert(now + self.idle_timeout.get().max(MIN_PROGRESS_INTERVAL));
    }

    /// Notes that a packet left; `eliciting` when it asks for an ack.
    pub fn on_sent(&mut self, now: Timestamp, eliciting: bool) {
        self.activity = Activity::Recent { heard: self.heard() };
        if eliciting {
            self.last_lively = self.last_lively.max(now);
        }
    }

    fn idle_deadline(&self) -> Timestamp {
        self.last_received + self.idle_timeout.get()
    }

    fn keepalive_deadline(&self) -> Timestamp {
        self.last_lively + self.keepalive.get()
    }

    fn silence_deadline(&self) -> Option<Timestamp> {
        matches!(self.activity, Activity::Recent { .. }).then(|| self.last_lively + SILENCE)
    }
}

impl Connection {
    /// Returns when [`Self::handle_timeout`] must be called next; `None` once there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.state {
            State::Closed => None,
            State::Closing(closing) => Some(closing.deadline()),
            State::Open => {
                let deadlines = [
                    Some(self.timers.idle_deadline()),
                    Some(self.timers.keepalive_deadline()),
                    self.timers.silence_deadline(),
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
                if closing.is_over(now) {
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
            if !self.outbox.check_progress() {
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
            self.trace_event(now, TraceEvent::Probe { count: self.probes.unanswered() });
        }
        if now >= self.timers.keepalive_deadline() {
            // spec: CON-4
            self.probes.ask_for_ack();
        }
        if self.timers.silence_deadline().is_some_and(|deadline| now >= deadline) {
            match self.timers.on_silence(self.role != Role::Server) {
                // spec: CON-10
                Silence::StreamStopped => self.probes.ask_for_ack(),
                Silence::Rest => self.release_idle_memory(now),
            }
        }
    }

    /// Releases the memory used for traffic after a time of silence.
    fn release_idle_memory(&mut self, now: Timestamp) {
        if !self.sent.has_in_flight() && !self.outbox.is_waiting() {
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
}
