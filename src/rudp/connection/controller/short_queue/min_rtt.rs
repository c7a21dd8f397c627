//! [`MinRtt`]: the smallest round-trip time of the last seconds.

use std::time::Duration;

use crate::base::{Span, Timestamp};

/// The minimum over two periods of 5 s: the current one and the one before.
#[derive(Debug)]
pub struct MinRtt {
    current: Option<Span>,
    previous: Option<Span>,
    since: Timestamp,
}

const PERIOD: Duration = Duration::from_secs(5);

impl MinRtt {
    /// Starts without a sample.
    pub fn new(now: Timestamp) -> Self {
        Self { current: None, previous: None, since: now }
    }

    /// Takes a sample.
    pub fn on_sample(&mut self, sample: Duration) {
        let sample = Span::from(sample);
        self.current = Some(self.current.map_or(sample, |minimum| minimum.min(sample)));
    }

    /// Returns the minimum; `None` before any sample.
    pub fn minimum(&self) -> Option<Duration> {
        self.current.into_iter().chain(self.previous).min().map(Span::get)
    }

    /// Returns whether the current period is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.since + PERIOD
    }

    /// Returns whether the current period has not come within `tolerance` of the one before: its samples may
    /// include this end's own queue.
    pub fn is_stale(&self, tolerance: Duration) -> bool {
        match (self.current, self.previous) {
            (Some(current), Some(previous)) => current.get() > previous.get() + tolerance,
            _ => false,
        }
    }

    /// Begins the next period and forgets the one before the last.
    pub fn rotate(&mut self, now: Timestamp) {
        self.previous = self.current.take().or(self.previous);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_minimum_is_forgotten_after_two_periods() {
        let mut rtt = MinRtt::new(Timestamp::ZERO);
        rtt.on_sample(ms(40));
        assert!(!rtt.is_over(Timestamp::from_millis(4_999)) && rtt.is_over(Timestamp::from_millis(5_000)));
        rtt.rotate(Timestamp::from_millis(5_000));
        rtt.on_sample(ms(60));
        assert_eq!(rtt.minimum(), Some(ms(40)));
        assert!(rtt.is_stale(ms(5)) && !rtt.is_stale(ms(20)));
        rtt.rotate(Timestamp::from_millis(10_000));
        assert_eq!(rtt.minimum(), Some(ms(60)));
    }
}
