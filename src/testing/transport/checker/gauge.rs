//! A connection's externally visible state after each turn: timers are armed, and buffers are within limits.

use std::time::Duration;

use crate::base::Timestamp;
use crate::rudp::{Connection, ConnectionConfig};

/// A connection's state after its outputs were drained.
#[derive(Debug, Clone, Copy)]
pub(in crate::testing::transport) struct Gauge {
    pub(in crate::testing::transport) timeout: Option<Timestamp>,
    pub(in crate::testing::transport) is_closed: bool,
    pub(in crate::testing::transport) is_drained: bool,
    pub(in crate::testing::transport) queued_bytes: usize,
    /// Maximum number of bytes that its buffers may hold by its configuration.
    pub(in crate::testing::transport) max_queued_bytes: usize,
    pub(in crate::testing::transport) rtt: Duration,
    pub(in crate::testing::transport) idle_timeout: Duration,
}

impl Gauge {
    /// Reads the state of `connection`.
    pub(in crate::testing::transport) fn of(
        connection: &Connection,
        config: &ConnectionConfig,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            timeout: connection.poll_timeout(),
            is_closed: connection.is_closed(),
            is_drained: connection.is_drained(),
            queued_bytes: connection.queued_bytes(),
            max_queued_bytes: config.send_buffer_bytes + config.unreliable_buffer_bytes,
            rtt: connection.rtt(),
            idle_timeout,
        }
    }

    /// Returns what is wrong with the state at `now`.
    pub(super) fn objection(&self, now: Timestamp) -> Option<String> {
        let Self { queued_bytes, max_queued_bytes, .. } = *self;
        if queued_bytes > max_queued_bytes {
            return Some(format!("{queued_bytes} bytes wait, at most {max_queued_bytes} may"));
        }
        let Some(timeout) = self.timeout else {
            return (!self.is_drained).then(|| format!("no timer is armed: {self:?}"));
        };
        let wait = timeout.since(now);
        if wait > self.idle_timeout {
            return Some(format!("the next timer is {wait:?} away, beyond the idle timeout"));
        }
        if queued_bytes > 0 && !self.is_closed && wait > self.longest_wait() {
            return Some(format!("{queued_bytes} bytes wait, and the next timer is {wait:?} away: {self:?}"));
        }
        None
    }

    /// Returns the longest wait for the next timer while data is outstanding: probes are at most 300 ms or
    /// one probe timeout apart. One outlier sample moves the smoothed RTT by an eighth of the sample and the
    /// variation by a quarter, so a probe timeout is at most about nine smoothed RTTs.
    fn longest_wait(&self) -> Duration {
        self.rtt * 10 + Duration::from_millis(400)
    }
}

/// Counts steps that happen without time passing.
#[derive(Debug, Default)]
pub(super) struct Pace {
    at: Timestamp,
    steps: u32,
    is_stopped: bool,
}

/// Number of steps in one instant beyond which a timer counts as spinning.
const MAX_STEPS: u32 = 2_000;

impl Pace {
    /// Counts one step; returns false if there are too many in this instant.
    pub(super) fn step(&mut self, now: Timestamp) -> bool {
        if now > self.at {
            (self.at, self.steps) = (now, 0);
        }
        self.steps += 1;
        self.steps <= MAX_STEPS && !self.is_stopped
    }

    /// Permits no further steps.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }
}
