//! [`Pacer`]: a token bucket that keeps a window from leaving in one burst. RFC 9002 §7.7.

use std::time::Duration;

use crate::base::Timestamp;

/// The bytes that may leave now. The caller passes the rate, which may change between calls.
#[derive(Debug)]
pub struct Pacer {
    /// In millionths of a byte, so that a microsecond's refill is a whole number. Below zero after a packet
    /// that was larger than what was left, or that was sent without asking the pacer.
    micro_bytes: i64,
    burst: i64,
    refilled: Timestamp,
}

const MICRO: i64 = 1_000_000;
/// Minimum wait of a packet that is held back: its owner's timer is hardly finer.
const QUANTUM: Duration = Duration::from_millis(1);
/// Burst allowed on a fast path, in microseconds of its rate. With less, its sender would wait for a timer
/// most of the time, since a timer hardly finer than this is late by as much.
const BURST_MICROS: i64 = 2_000;
/// Upper limit of that burst, as a multiple of the initial one.
const MAX_BURSTS: i64 = 16;

impl Pacer {
    /// Lets `burst` bytes pass at once, at first and after a silence; on a fast path the bytes of 2 ms, up to
    /// 16 times `burst`.
    pub fn new(now: Timestamp, burst: usize) -> Self {
        let burst = i64::try_from(burst).unwrap_or(i64::MAX).min(i64::MAX / MICRO / MAX_BURSTS) * MICRO;
        Self { micro_bytes: burst, burst, refilled: now }
    }

    /// Returns whether a packet may leave at `now`.
    pub fn is_ready(&mut self, now: Timestamp, bytes_per_second: u64) -> bool {
        let micros = i64::try_from(now.since(self.refilled).as_micros()).unwrap_or(i64::MAX);
        let rate = i64::try_from(bytes_per_second).unwrap_or(i64::MAX);
        self.refilled = self.refilled.max(now);
        let burst = rate.saturating_mul(BURST_MICROS).clamp(self.burst, self.burst * MAX_BURSTS);
        self.micro_bytes = self.micro_bytes.saturating_add(micros.saturating_mul(rate)).min(burst);
        self.micro_bytes > 0
    }

    /// Notes that a packet of `bytes` bytes has left.
    pub fn on_sent(&mut self, bytes: usize) {
        let cost = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(MICRO);
        self.micro_bytes = self.micro_bytes.saturating_sub(cost).max(-self.burst);
    }

    /// Returns when [`Self::is_ready`], false just now, will be true; always later than that call.
    pub fn deadline(&self, bytes_per_second: u64) -> Timestamp {
        let missing = u64::try_from(1 - self.micro_bytes).unwrap_or(0);
        let wait = Duration::from_micros(missing.div_ceil(bytes_per_second.max(1)));
        self.refilled + wait.max(QUANTUM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A burst of ten packets, then one of 1,200 bytes per millisecond at 1.2 MB/s, without drift.
    #[test]
    fn a_burst_passes_and_then_the_rate_holds_exactly() {
        let (mut now, rate) = (Timestamp::from_millis(5), 1_200_000);
        let mut pacer = Pacer::new(now, 12_000);
        let begin = now;
        let mut sent = 0;
        while now < begin + Duration::from_secs(10) {
            while pacer.is_ready(now, rate) {
                pacer.on_sent(1_200);
                sent += 1;
            }
            let next = pacer.deadline(rate);
            assert!(next > now, "a timer that is due must make progress");
            now = next;
        }
        assert!((10_009..=10_011).contains(&sent), "{sent}");
    }

    #[test]
    fn a_silence_brings_no_more_than_the_burst_back() {
        let sent_after_silence = |rate| {
            let mut pacer = Pacer::new(Timestamp::ZERO, 2_400);
            let later = Timestamp::from_millis(1_000_000);
            let mut sent = 0;
            while pacer.is_ready(later, rate) {
                pacer.on_sent(1_200);
                sent += 1;
            }
            assert!(pacer.deadline(0) > later && pacer.deadline(u64::MAX) > later);
            sent
        };
        assert_eq!(sent_after_silence(1_200_000), 2, "2,400 bytes are what it is sent in 2 ms");
        assert_eq!(sent_after_silence(6_000_000), 10, "12,000 bytes in 2 ms");
        assert_eq!(sent_after_silence(u64::MAX), 32, "16 bursts");
    }

    #[test]
    fn the_largest_burst_is_bounded() {
        let mut pacer = Pacer::new(Timestamp::ZERO, usize::MAX);
        pacer.on_sent(usize::MAX);
        pacer.on_sent(usize::MAX);
        assert!(!pacer.is_ready(Timestamp::ZERO, u64::MAX));
    }
}
