//! [`QueueDelay`]: how much of a round trip is spent in queues, and how much of that is too much.

use std::time::Duration;

use super::min_rtt::MinRtt;
use crate::base::{Span, Timestamp};

/// The delay that is aimed at, without allowances.
const TARGET: Duration = Duration::from_millis(5);
/// Upper bound of the target with the allowance for noise.
const MAX_TARGET: Duration = Duration::from_millis(20);
/// Longest delay that is taken for the path's own.
const MAX_ALLOWANCE: Duration = Duration::from_millis(40);

/// The RTT samples of a path, and what they say about queues.
#[derive(Debug)]
pub(super) struct QueueDelay {
    minimum: MinRtt,
    latest: Option<Span>,
    /// Mean difference of two samples in a row.
    noise: Span,
    /// Successive samples beyond the target.
    over_target: u32,
    /// Delay beyond the minimum that the path has without a queue of this end.
    allowance: Span,
}

impl QueueDelay {
    /// Starts without a sample.
    pub fn new(now: Timestamp) -> Self {
        Self {
            minimum: MinRtt::new(now),
            latest: None,
            noise: Span::ZERO,
            over_target: 0,
            allowance: Span::ZERO,
        }
    }

    /// Takes a sample.
    pub fn on_sample(&mut self, rtt: Duration) {
        self.minimum.on_sample(rtt);
        let difference = self.latest.map_or(Duration::ZERO, |latest| latest.get().abs_diff(rtt));
        self.noise = ((self.noise.get() * 15 + difference) / 16).into();
        self.latest = Some(rtt.into());
        self.over_target = if self.of(rtt) > self.target() { self.over_target + 1 } else { 0 };
    }

    /// Returns the part of `rtt` that was spent in queues.
    pub fn of(&self, rtt: Duration) -> Duration {
        rtt.saturating_sub(self.minimum.minimum().unwrap_or(rtt))
    }

    /// Returns the delay that is aimed at.
    pub fn target(&self) -> Duration {
        (TARGET + self.noise.get() / 2).min(MAX_TARGET) + self.allowance.get()
    }

    /// Takes a queueing `delay` for the path's own from now on. Returns false if it is too long for that, or
    /// is allowed already.
    pub fn allow(&mut self, delay: Duration) -> bool {
        let is_new = delay > self.allowance.get() && delay <= MAX_ALLOWANCE;
        if is_new {
            self.allowance = delay.into();
        }
        is_new
    }

    /// Returns how many of the latest samples in a row were beyond the target of their time.
    pub fn samples_over_target(&self) -> u32 {
        self.over_target
    }

    /// Returns the latest sample; zero before the first.
    pub fn round_trip(&self) -> Duration {
        self.latest.map_or(Duration::ZERO, Span::get)
    }

    /// Returns whether the next period of the minimum is to begin.
    pub fn is_period_over(&self, now: Timestamp) -> bool {
        self.minimum.is_over(now)
    }

    /// Returns whether the samples of this period are all clearly longer than the minimum of the one before:
    /// this end's own queue may be part of each.
    pub fn may_hide_a_queue(&self) -> bool {
        self.minimum.is_stale(TARGET / 4)
    }

    /// Begins the next period of the minimum.
    pub fn begin_period(&mut self, now: Timestamp) {
        self.minimum.rotate(now);
        self.allowance = (self.allowance.get() * 3 / 4).into();
    }

    /// Forgets the minimum: the path may be another.
    pub fn forget_minimum(&mut self, now: Timestamp) {
        self.minimum = MinRtt::new(now);
        self.allowance = Span::ZERO;
    }

    /// Behaves as if all samples had been the same.
    #[cfg(test)]
    pub fn without_noise(&mut self) {
        self.noise = Span::ZERO;
    }

    /// Behaves as if the latest sample had been `rtt`.
    #[cfg(test)]
    pub fn with_latest(&mut self, rtt: Option<Duration>) {
        self.latest = rtt.map(Span::from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_target_grows_by_half_the_noise_up_to_a_bound() {
        let mut delay = QueueDelay::new(Timestamp::ZERO);
        assert_eq!(delay.target(), ms(5));
        delay.on_sample(ms(40));
        assert_eq!(delay.target(), ms(5), "one sample has no difference");
        delay.on_sample(ms(56));
        assert_eq!(delay.target(), Duration::from_micros(5_500), "a sixteenth of 16 ms, halved");
        for k in 0..200 {
            delay.on_sample(ms(40 + 100 * (k % 2)));
        }
        assert_eq!(delay.target(), ms(20));
    }

    #[test]
    fn the_paths_own_delay_is_added_and_fades() {
        let mut delay = QueueDelay::new(Timestamp::ZERO);
        assert!(delay.allow(ms(20)) && !delay.allow(ms(20)) && !delay.allow(ms(41)));
        assert_eq!(delay.target(), ms(25));
        delay.begin_period(Timestamp::ZERO);
        assert_eq!(delay.target(), ms(20));
        assert!(delay.allow(ms(40)));
        assert_eq!(delay.target(), ms(45));
        delay.forget_minimum(Timestamp::ZERO);
        assert_eq!(delay.target(), ms(5));
    }

    #[test]
    fn successive_samples_beyond_the_target_are_counted() {
        let mut delay = QueueDelay::new(Timestamp::ZERO);
        let mut count = |samples: &[u64]| {
            samples.iter().for_each(|rtt| delay.on_sample(ms(*rtt)));
            delay.samples_over_target()
        };
        assert_eq!(count(&[40, 45]), 0);
        assert_eq!(count(&[50, 50]), 2);
        assert_eq!(count(&[41]), 0, "not in a row");
        assert_eq!(count(&[60]), 1);
    }

    #[test]
    fn a_round_trip_is_queueing_beyond_the_minimum() {
        let mut delay = QueueDelay::new(Timestamp::ZERO);
        assert_eq!((delay.of(ms(90)), delay.round_trip()), (ms(0), ms(0)), "nothing is known yet");
        delay.on_sample(ms(40));
        delay.on_sample(ms(70));
        assert_eq!((delay.of(ms(90)), delay.round_trip()), (ms(50), ms(70)));
        delay.forget_minimum(Timestamp::ZERO);
        assert_eq!((delay.of(ms(90)), delay.round_trip()), (ms(0), ms(70)));
    }
}
