//! [`Span`]: a length of time in half the memory of a [`Duration`], for state kept per connection.

use std::num::NonZeroU64;
use std::time::Duration;

/// Whole nanoseconds, up to 584 years. An `Option` of it is no larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(NonZeroU64);

impl Span {
    /// Zero time.
    pub const ZERO: Self = Self(NonZeroU64::MIN);

    /// Returns the duration.
    pub fn get(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_the_duration_that_it_was_made_of_in_eight_bytes() {
        for nanos in [0, 1, 999_999_999, 3_600_000_000_000, u64::MAX - 1] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(Span::from(duration).get(), duration);
        }
        assert_eq!(Span::from(Duration::MAX).get(), Duration::from_nanos(u64::MAX - 1));
        assert_eq!(Span::ZERO.get(), Duration::ZERO);
        assert_eq!(size_of::<Option<Span>>(), 8);
    }
}
