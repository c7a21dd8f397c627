//! Competing with a flow that keeps the queue full, and finding out that there is none.

use std::time::Duration;

use crate::base::Timestamp;
use crate::rudp::connection::controller::{Controller, NewReno};

/// The queue may have drained without a round that shows it.
const LONGEST: Duration = Duration::from_secs(5);

/// A single round may be poor by chance.
const ROUNDS_TO_BE_SURE: u32 = 3;

/// On a line of 1 Mbit/s each trial costs a session a second of full queue; a flow that comes is noticed by its share.
const STAYS_ALONE: Duration = Duration::from_secs(300);

/// What takes the place of the delay until the queue drains, for a while at most.
#[derive(Debug)]
pub(super) struct Competing {
    pub reno: NewReno,
    until: Timestamp,
    before: Before,
    /// Rounds in a row that had hardly more for three times as much under way.
    rounds_in_vain: u32,
}

/// What there was when competing began.
#[derive(Debug)]
struct Before {
    window: usize,
    /// Bytes that could be under way with it.
    in_flight: usize,
    /// Bytes a second that were acked.
    rate: u64,
}

impl Competing {
    /// Goes on from a `window` with which `in_flight` bytes could be under way, of which `rate` a second were acked.
    pub fn new(now: Timestamp, datagram: usize, window: usize, in_flight: usize, rate: u64) -> Self {
        Self {
            reno: NewReno::at(datagram, window),
            until: now + LONGEST,
            before: Before { window, in_flight, rate },
            rounds_in_vain: 0,
        }
    }

    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    pub fn window_before(&self) -> usize {
        self.before.window
    }

    /// Takes note of the `rate` of a round; true when it is clear that nobody else is there. Only where about the
    /// `least` window is a queue by itself: on other lines the delay tells.
    pub fn is_in_vain(&mut self, rate: u64, least: usize) -> bool {
        let has_grown = self.reno.window_bytes() >= 3 * self.before.in_flight;
        let gains_little = rate * 4 < self.before.rate * 5;
        let is_vain = self.before.window <= 2 * least && has_grown && gains_little;
        self.rounds_in_vain = if is_vain { self.rounds_in_vain + 1 } else { 0 };
        self.rounds_in_vain >= ROUNDS_TO_BE_SURE
    }
}

/// That a flow has a slow line for itself, as far as it knows.
#[derive(Debug, Default)]
pub(super) struct Alone {
    until: Timestamp,
    /// Bytes a second that it had then.
    rate: u64,
}

impl Alone {
    pub fn found(now: Timestamp, rate: u64) -> Self {
        Self { until: now + STAYS_ALONE, rate }
    }

    /// Not for ever, nor once the flow has less than three quarters of what it had: somebody may have come.
    pub fn holds(&self, now: Timestamp, rate: u64) -> bool {
        now < self.until && rate * 4 >= self.rate * 3
    }
}
