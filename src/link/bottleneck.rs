//! A line of limited rate with a queue before it.

use std::time::Duration;

use crate::base::Timestamp;

/// Sends one datagram after another at a fixed rate. A datagram that would wait too long is dropped (tail
/// drop); one that waits long is congested.
#[derive(Debug)]
pub(super) struct Bottleneck {
    bits_per_second: u64,
    queue: Duration,
    mark_after: Duration,
    /// When the last datagram accepted has left.
    free_at: Timestamp,
}

impl Bottleneck {
    /// IPv4 and UDP headers, which also use the line's time.
    const HEADER_BYTES: u64 = 28;

    /// Creates a line. `queue` bounds the time that a datagram waits before it begins to leave; one that
    /// waits longer than `mark_after` is congested.
    pub(super) fn new(bits_per_second: u64, queue: Duration, mark_after: Duration) -> Self {
        Self { bits_per_second: bits_per_second.max(1), queue, mark_after, free_at: Timestamp::ZERO }
    }

    /// Returns when a datagram of `bytes` that comes at `now` has left, and whether it is congested; `None`
    /// when the queue is full.
    pub(super) fn pass(&mut self, now: Timestamp, bytes: usize) -> Option<(Timestamp, bool)> {
        let wait = self.free_at.since(now);
        if wait > self.queue {
            return None;
        }
        let bits =
            u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(Self::HEADER_BYTES).saturating_mul(8);
        let micros = bits.saturating_mul(1_000_000).div_ceil(self.bits_per_second);
        self.free_at = self.free_at.max(now) + Duration::from_micros(micros);
        Some((self.free_at, wait > self.mark_after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Bottleneck {
        Bottleneck::new(8_000_000, Duration::from_millis(10), Duration::from_millis(4))
    }

    #[test]
    fn datagrams_leave_one_after_another_at_the_rate() {
        // 972 + 28 bytes are 8,000 bits: 1 ms at 8 Mbit/s.
        let mut line = line();
        let now = Timestamp::from_millis(5);
        assert_eq!(line.pass(now, 972), Some((Timestamp::from_millis(6), false)));
        assert_eq!(line.pass(now, 972), Some((Timestamp::from_millis(7), false)));
        let (left, _) = line.pass(Timestamp::from_millis(100), 972).unwrap();
        assert_eq!(left, Timestamp::from_millis(101), "an idle line saves nothing up");
    }

    #[test]
    fn what_would_wait_longer_than_the_queue_is_dropped() {
        let mut line = line();
        let taken = (0..100).filter(|_| line.pass(Timestamp::ZERO, 972).is_some()).count();
        assert_eq!(taken, 11, "one on the line and 10 ms of queue behind it");
        assert!(line.pass(Timestamp::from_millis(1), 972).is_some(), "and there is room again in time");
    }

    #[test]
    fn what_waits_longer_than_the_threshold_is_congested() {
        let mut line = line();
        let congested: Vec<bool> = (0..8).map(|_| line.pass(Timestamp::ZERO, 972).unwrap().1).collect();
        assert_eq!(congested, [false, false, false, false, false, true, true, true]);
    }
}
