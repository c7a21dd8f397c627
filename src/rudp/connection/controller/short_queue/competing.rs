//! Competing with a flow that fills the queue, and detecting that there is no such flow.

use std::time::Duration;

use crate::base::Timestamp;
use crate::rudp::connection::controller::{Controller, NewReno};

/// Longest time of competing: the queue may have drained without a round that shows it.
const LONGEST: Duration = Duration::from_secs(5);

/// Successive rounds that a finding needs, since one may be slow by chance.
const ROUNDS_TO_BE_SURE: u32 = 3;

/// How long a flow assumes that it is alone. On a line of 1 Mbit/s, each trial costs a session a second of full
/// queue, and a flow that joins is noticed earlier by its share of the rate.
const STAYS_ALONE: Duration = Duration::from_secs(300);

/// The mode that ignores the delay until the queue drains.
#[derive(Debug)]
pub(super) struct Competing {
    pub reno: NewReno,
    until: Timestamp,
    before: Before,
    /// Successive rounds in which three times as much in flight brought hardly more.
    rounds_in_vain: u32,
}

/// The state when competing began.
#[derive(Debug)]
struct Before {
    window: usize,
    /// Bytes that the window allowed in flight, delayed acks included.
    in_flight: usize,
    /// Bytes acked per second.
    rate: u64,
}

impl Competing {
    /// Continues as `reno` after a `window` that allowed `in_flight` bytes in flight, of which `rate` per second
    /// were acked.
    pub fn new(now: Timestamp, reno: NewReno, window: usize, in_flight: usize, rate: u64) -> Self {
        Self { reno, until: now + LONGEST, before: Before { window, in_flight, rate }, rounds_in_vain: 0 }
    }

    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    pub fn window_before(&self) -> usize {
        self.before.window
    }

    /// Notes the `rate` of a round. Returns true when it is clear that no other flow is there. This is judged
    /// only where about the `least` window is a queue by itself; on other lines the delay shows it.
    pub fn on_round(&mut self, rate: u64, least: usize) -> bool {
        let has_grown = self.reno.window_bytes() >= 3 * self.before.in_flight;
        let gains_little = rate * 4 < self.before.rate * 5;
        let is_vain = self.before.window <= 2 * least && has_grown && gains_little;
        self.rounds_in_vain = if is_vain { self.rounds_in_vain + 1 } else { 0 };
        self.rounds_in_vain >= ROUNDS_TO_BE_SURE
    }
}

/// The finding that a flow has a slow line to itself.
#[derive(Debug, Default)]
pub(super) struct Alone {
    until: Timestamp,
    /// Bytes acked per second at that time.
    rate: u64,
    /// Successive rounds below three quarters of that.
    slow_rounds: u32,
}

impl Alone {
    pub fn found(now: Timestamp, rate: u64) -> Self {
        Self { until: now + STAYS_ALONE, rate, slow_rounds: 0 }
    }

    /// Notes the `rate` of a round. The finding ends when that stays below three quarters of the former one,
    /// because another flow may have joined. It stays ended when the rate recovers.
    pub fn on_rate(&mut self, rate: u64) {
        self.slow_rounds = if rate * 4 < self.rate * 3 { self.slow_rounds + 1 } else { 0 };
        if self.slow_rounds >= ROUNDS_TO_BE_SURE {
            *self = Self::default();
        }
    }

    /// Returns whether the finding still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_below_three_quarters_ends_the_finding_for_good() {
        let now = Timestamp::from_millis(7);
        let mut alone = Alone::found(now, 100_000);
        assert!(!alone.holds(now + STAYS_ALONE) && !Alone::default().holds(now));
        let mut notes = |rates: &[u64]| {
            rates.iter().for_each(|rate| alone.on_rate(*rate));
            alone.holds(now + STAYS_ALONE / 2)
        };
        assert!(notes(&[75_000; 9]));
        assert!(notes(&[74_999, 74_999, 75_000, 74_999, 74_999, 75_000]), "now and then");
        assert!(!notes(&[74_999; 3]) && !notes(&[100_000]));
    }
}
