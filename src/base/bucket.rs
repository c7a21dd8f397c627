//! [`TokenBucket`]: limits the rate and the burst size of something.

use std::time::Duration;

use super::Timestamp;

/// A bucket that refills at a steady rate up to a burst. A request for more than it holds is refused.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    per_second: u32,
    burst: u32,
    /// Millionths of a token, so that a microsecond's refill is a whole number.
    micro_tokens: u64,
    refilled: Timestamp,
}

const MICRO: u64 = 1_000_000;

impl TokenBucket {
    /// Creates a full bucket: `burst` at once after silence, `per_second` over time, each at most 2^32 − 1.
    pub fn new(now: Timestamp, per_second: u64, burst: u64) -> Self {
        let (per_second, burst) = (narrow(per_second), narrow(burst));
        Self { per_second, burst, micro_tokens: u64::from(burst) * MICRO, refilled: now }
    }

    /// Creates a full bucket of bytes. It holds a quarter of a second's worth, so that a burst does not fill
    /// a buffer that takes a second to drain, and at least `largest`, however low the rate.
    pub fn of_bytes(now: Timestamp, per_second: u64, largest: u64) -> Self {
        Self::new(now, per_second, largest.max(per_second / 4))
    }

    /// Takes `amount` if the bucket holds it, otherwise nothing; returns whether it did.
    pub fn take(&mut self, now: Timestamp, amount: u64) -> bool {
        let is_there = self.has(now, amount);
        if is_there {
            self.charge(amount);
        }
        is_there
    }

    /// Returns true if the bucket holds `amount`.
    pub fn has(&mut self, now: Timestamp, amount: u64) -> bool {
        self.refill(now);
        amount.saturating_mul(MICRO) <= self.micro_tokens
    }

    /// Takes `amount` even if the bucket holds less; the deficit is deducted from later refills.
    pub fn charge(&mut self, amount: u64) {
        let amount = amount.saturating_mul(MICRO);
        let missing = amount.saturating_sub(self.micro_tokens);
        self.micro_tokens = self.micro_tokens.saturating_sub(amount);
        self.refilled += Duration::from_micros(missing.div_ceil(self.per_second().max(1)));
    }

    /// Takes `amount` if a full bucket divided by `part` is left afterwards; `part` is at least 1.
    pub fn take_above(&mut self, now: Timestamp, amount: u64, part: u64) -> bool {
        let kept = self.burst() / part.max(1);
        self.has(now, amount.saturating_add(kept)) && self.take(now, amount)
    }

    /// Returns true if the bucket is full.
    pub fn is_full(&mut self, now: Timestamp) -> bool {
        self.has(now, self.burst())
    }

    /// Empties the bucket.
    pub fn empty(&mut self) {
        self.micro_tokens = 0;
    }

    /// Returns the refill per second.
    pub fn per_second(&self) -> u64 {
        self.per_second.into()
    }

    /// Changes the refill to `per_second` and the capacity to `burst` from now on.
    pub fn resize(&mut self, now: Timestamp, per_second: u64, burst: u64) {
        self.refill(now);
        (self.per_second, self.burst) = (narrow(per_second), narrow(burst));
        self.micro_tokens = self.micro_tokens.min(self.burst() * MICRO);
    }

    /// Returns the contents, in millionths of a token.
    #[cfg(test)]
    pub fn micro_tokens(&self) -> u64 {
        self.micro_tokens
    }

    /// Returns the tokens of a full bucket.
    pub fn burst(&self) -> u64 {
        self.burst.into()
    }

    fn refill(&mut self, now: Timestamp) {
        let micros = now.as_micros().saturating_sub(self.refilled.as_micros());
        self.refilled = self.refilled.max(now);
        let full = self.burst() * MICRO;
        self.micro_tokens =
            micros.saturating_mul(self.per_second()).saturating_add(self.micro_tokens).min(full);
    }
}

fn narrow(amount: u64) -> u32 {
    u32::try_from(amount).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_steady_excess_does_not() {
        let mut now = Timestamp::from_millis(5);
        let mut bucket = TokenBucket::new(now, 100, 100);
        assert_eq!((0..200).filter(|_| bucket.take(now, 1)).count(), 100);
        let mut taken = 0;
        for _ in 0..1_000 {
            now += Duration::from_millis(1);
            taken += u32::from(bucket.take(now, 1));
        }
        assert_eq!(taken, 100, "ten times the rate: one in ten passes");
    }

    #[test]
    fn what_does_not_fit_takes_nothing() {
        let mut bucket = TokenBucket::new(Timestamp::ZERO, 10, 10);
        assert!(!bucket.take(Timestamp::ZERO, 11));
        assert!(bucket.take(Timestamp::ZERO, 10));
    }

    #[test]
    fn a_part_is_kept_of_what_is_taken_above_it() {
        let mut bucket = TokenBucket::new(Timestamp::ZERO, 8, 8);
        assert_eq!((0..20).filter(|_| bucket.take_above(Timestamp::ZERO, 1, 4)).count(), 6);
        assert!(!bucket.take_above(Timestamp::ZERO, u64::MAX, 4));
        assert_eq!((0..20).filter(|_| bucket.take(Timestamp::ZERO, 1)).count(), 2);
    }

    #[test]
    fn what_is_charged_beyond_what_is_there_comes_off_the_refills() {
        let mut bucket = TokenBucket::new(Timestamp::ZERO, 10, 10);
        bucket.charge(15);
        assert!(!bucket.has(Timestamp::from_millis(500), 1));
        assert!(!bucket.has(Timestamp::from_millis(599), 1));
        assert!(bucket.has(Timestamp::from_millis(600), 1));
        assert!(!bucket.has(Timestamp::from_millis(600), 2));
    }

    #[test]
    fn a_new_size_holds_from_then_on() {
        let at = Timestamp::from_millis;
        let mut bucket = TokenBucket::new(Timestamp::ZERO, 10, 100);
        bucket.empty();
        bucket.resize(at(1_000), 20, 100);
        assert!(bucket.has(at(1_000), 10), "it came at the rate before");
        assert!(bucket.has(at(2_000), 30) && !bucket.has(at(2_000), 31));
        bucket.resize(at(2_000), 20, 15);
        assert!(bucket.has(at(2_000), 15) && !bucket.has(at(9_000), 16));
    }

    #[test]
    fn of_bytes_a_quarter_comes_at_once_and_all_in_a_second() {
        let mut bucket = TokenBucket::of_bytes(Timestamp::ZERO, 4_000, 10);
        assert!(!bucket.take(Timestamp::ZERO, 1_001));
        assert!(bucket.take(Timestamp::ZERO, 1_000));
        let second = (1..=1_000).map(Timestamp::from_millis);
        assert_eq!(second.filter(|now| bucket.take(*now, 10)).count(), 400);
        assert!(TokenBucket::of_bytes(Timestamp::ZERO, 4, 10).take(Timestamp::ZERO, 10));
    }

    #[test]
    fn extremes_of_time_and_rate_do_not_overflow() {
        let mut bucket = TokenBucket::new(Timestamp::ZERO, u64::MAX, u64::MAX);
        assert!(bucket.take(Timestamp::MAX, 1_000_000));
        assert!(!bucket.take(Timestamp::ZERO, u64::MAX));
        bucket.charge(u64::MAX);
        assert!(!bucket.has(Timestamp::ZERO, 1));
    }
}
